package openbsd

import "github.com/pfkeyd/pfkeyd/wire"

// get handles GET. The answer has the keys, and goes to everybody as any other.
func (k *Kernel) get(r *request) wire.Errno {
	s := k.subject(r)
	if s == nil {
		return wire.ESRCH
	}
	r.describe(s)
	return wire.OK
}
