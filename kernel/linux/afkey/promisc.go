package afkey

import "github.com/pfkeyd/pfkeyd/wire"

// promisc turns promiscuous mode on or off if the message is bare. In any case everybody gets the message.
func (k *Manager) promisc(r *request) wire.Errno {
	if r.hdr.Len == wire.HeaderLen/8 {
		if r.hdr.SAType > 1 {
			return wire.EINVAL
		}
		r.sender.s.SetPromisc(r.hdr.SAType == 1)
		h := r.hdr
		h.Errno = 0
		r.msg = append(k.d.AppendHeader(make([]byte, 0, len(r.msg)), h), r.msg[wire.HeaderLen:]...)
	}
	k.broadcast(message{bytes: r.msg, size: len(r.msg), raw: true}, toAll, nil)
	return wire.OK
}
