package openbsd

import "github.com/pfkeyd/pfkeyd/wire"

// delete handles DELETE. The source may be any.
func (k *Kernel) delete(r *request) wire.Errno {
	s := k.subject(r)
	if s == nil {
		return wire.ESRCH
	}
	k.kill(s)
	return wire.OK
}
