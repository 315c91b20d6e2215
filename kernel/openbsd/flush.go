package openbsd

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/wire"
)

// flush handles FLUSH: of type 0 the flows go, too, even static ones.
func (k *Kernel) flush(r *request) wire.Errno {
	t := r.satype()
	if t != 0 && protoOf(t) == 0 {
		return wire.EINVAL
	}
	if t == 0 {
		k.flushFlows(r.rdomain)
	}
	for _, s := range slices.Clone(k.tdb.all) {
		if s.RDomain == r.rdomain && (t == 0 || t == s.SAType) {
			k.kill(s)
		}
	}
	return wire.OK
}
