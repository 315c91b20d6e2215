package xfrm

import "github.com/pfkeyd/pfkeyd/kernel/linux/transform"

// protoMatches tells whether an SA's protocol is one that a flush or a walk is about.
func protoMatches(proto, wanted uint8) bool {
	return proto == wanted || wanted == transform.AnyProto && saProto(proto)
}

// Flush removes the SAs of a protocol, or of [transform.AnyProto], and tells of it if any was there.
func (x *Transforms) Flush(proto uint8, by transform.By) {
	any := false
	x.states.all.each(nil, func(n *node) bool {
		if protoMatches(n.s.Proto, proto) {
			any = x.remove(n.s) || any
		}
		return true
	})
	if any {
		x.manager.StatesFlushed(proto, by)
	}
}
