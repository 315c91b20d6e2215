package linux

import "github.com/pfkeyd/pfkeyd/wire"

// protoMatches tells whether an SA's protocol is one that FLUSH or DUMP is about.
func protoMatches(proto, wanted uint8) bool {
	return proto == wanted || wanted == protoAny && saProto(proto)
}

// flush removes SAs. The sender gets its header back, and everybody is told if any was there; if the sender has no room
// for it, nobody is.
func (k *Kernel) flush(r *request) wire.Errno {
	proto, ok := protoOf(r.hdr.SAType)
	if !ok {
		return wire.EINVAL
	}
	any := false
	k.states.all.each(nil, func(n *node) bool {
		if protoMatches(n.s.proto, proto) {
			any = k.remove(n.s) || any
		}
		return true
	})
	if !k.echo(r) {
		return wire.ENOBUFS
	}
	if any {
		h := resultHeader(r)
		h.SAType = satypeOf(proto)
		k.broadcast(k.bare(h), toAll, nil)
	}
	return wire.OK
}

// echo gives the sender of a flush its header back, if that has room.
func (k *Kernel) echo(r *request) bool {
	h := r.hdr
	h.Errno = 0
	return k.broadcast(k.bare(h), toOne, r.sender)
}
