package kame

import (
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// flush ends all SAs of a type, and their heads (key_api_flush, key_flush).
func (k *Kernel) flush(r *Request) wire.Errno {
	for h := range k.db.all {
		if r.Header.SAType != wire.SATypeUnspec && h.Proto != r.proto {
			continue
		}
		for st := range sadb.Dead {
			for s := range h.List(st) {
				k.unlink(s)
			}
		}
		k.dropHead(h)
	}
	k.Answer(r, ToAll, k.Echo(r, nil))
	return wire.OK
}
