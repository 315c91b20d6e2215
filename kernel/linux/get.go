package linux

import "github.com/pfkeyd/pfkeyd/wire"

// get answers with an SA, keys included.
func (k *Kernel) get(r *request) wire.Errno {
	s, errno := k.named(r)
	if errno != wire.OK {
		return errno
	}
	if !s.showable() {
		return wire.EINVAL
	}
	k.broadcast(k.saMessage(resultHeader(r), s, true), toOne, r.sender)
	return wire.OK
}
