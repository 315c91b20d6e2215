package afkey

import (
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// get answers with an SA, keys included.
func (k *Manager) get(r *request) wire.Errno {
	name, errno := k.named(r)
	if errno != wire.OK {
		return errno
	}
	if errno := k.transforms.Get(name, &k.state); errno != wire.OK {
		return errno
	}
	return k.answer(r, &k.state, true)
}

// answer describes an SA to the sender.
func (k *Manager) answer(r *request, s *transform.State, keys bool) wire.Errno {
	if !showable(s) {
		return wire.EINVAL
	}
	k.broadcast(k.saMessage(resultHeader(r), s, keys), toOne, r.sender)
	return wire.OK
}
