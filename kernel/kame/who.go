package kame

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Who hears a message.
const (
	ToOne        = engine.ToOne        // the sender of the request
	ToAll        = engine.ToAll        // every socket
	ToRegistered = engine.ToRegistered // every socket that has registered anything, and the sender if there is one
)

// Answer delivers what a request has led to, and notes what send() returns. Nobody changes msg any more.
func (k *Kernel) Answer(r *Request, to engine.Audience, msg []byte) {
	k.answer(r, to, parcel{msg: msg, memory: k.page.Buffers.Made(len(msg))})
}

// answerWith delivers bytes of the request itself.
func (k *Kernel) answerWith(r *Request, to engine.Audience, msg []byte) {
	k.answer(r, to, parcel{msg: msg, memory: k.page.Buffers.Written(len(r.Msg))})
}

func (k *Kernel) answer(r *Request, to engine.Audience, p parcel) {
	if errno := k.sendUp(to, r.sender, p); errno != wire.OK {
		r.sent = errno
	}
}

// Tell delivers what nobody has asked for. Nobody changes msg any more.
func (k *Kernel) Tell(to engine.Audience, msg []byte) {
	k.sendUp(to, nil, parcel{msg: msg, memory: k.page.Buffers.Made(len(msg))})
}

// fail answers with the whole request, and an error in it (key_senderror).
func (k *Kernel) fail(r *Request, errno wire.Errno) {
	r.Msg[2] = k.d.ErrnoNumber(errno)
	k.answerWith(r, ToOne, r.Msg)
}

// A parcel is a message with the memory that it takes in a queue.
type parcel struct {
	msg    []byte
	memory int
	always bool // the sender's buffer has room for it, however full it is
}

// sendUp delivers a message (key_sendup_mbuf): to other sockets first, the newest of them first, and to the sender at
// last. A promiscuous socket gets a wrapped copy of every message, before its own. What nobody has got is overwritten.
func (k *Kernel) sendUp(to engine.Audience, sender *client, p parcel) wire.Errno {
	defer k.e.Forget(p.msg)
	if to != ToOne || k.e.Promiscuous() != 0 {
		var wrapped parcel
		defer func() { k.e.Forget(wrapped.msg) }()
		always := p.always
		p.always = false
		for _, s := range slices.Backward(k.e.Sockets()) {
			c := s.Endpoint().(*client)
			if s.Promisc() {
				if wrapped.msg == nil {
					wrapped = k.wrap(p)
				}
				c.deliver(wrapped)
			}
			in := to == ToAll || to == ToRegistered && s.RegisteredAny()
			if in && c != sender && !c.deliver(p) && k.page.FullEnds {
				return wire.ENOBUFS
			}
		}
		p.always = always
	}
	if sender != nil && !sender.deliver(p) {
		return wire.ENOBUFS
	}
	return wire.OK
}

// wrap is what a promiscuous socket gets of a message.
func (k *Kernel) wrap(p parcel) parcel {
	b := make([]byte, 0, wire.HeaderLen+len(p.msg))
	b = k.d.AppendHeader(b, wire.Header{Version: wire.Version, Type: wire.MsgXPromisc,
		Len: uint16((wire.HeaderLen + len(p.msg) + k.page.WrapExtra) / 8)})
	return parcel{msg: append(b, p.msg...), memory: p.memory + k.page.Buffers.Mbuf}
}
