package afkey

import (
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// flush removes SAs. The sender gets its header back, and everybody is told if any was there; if the sender has no room
// for it, nobody is.
func (k *Manager) flush(r *request) wire.Errno {
	proto, ok := protoOf(r.hdr.SAType)
	if !ok {
		return wire.EINVAL
	}
	if !k.echo(r, func() { k.transforms.Flush(proto, r.by()) }) {
		return wire.ENOBUFS
	}
	return wire.OK
}

// echo gives the sender of a flush its header back, before all others hear of it, and says whether that had room.
func (k *Manager) echo(r *request, flush func()) (heard bool) {
	h := r.hdr
	h.Errno = 0
	heard = k.broadcast(k.bare(h), toOne, r.sender)
	k.unheard = !heard
	flush()
	k.unheard = false
	return heard
}

// StatesFlushed implements [transform.Manager].
func (k *Manager) StatesFlushed(proto uint8, by transform.By) {
	if k.unheard {
		return
	}
	h := resultOf(wire.MsgFlush, by)
	h.SAType = SATypeOf(proto)
	k.broadcast(k.bare(h), toAll, nil)
}
