package openbsd

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A request is one message on its way through the kernel. Nobody keeps it once it has been handled. The answer is made
// of it: its header, and whatever extensions it has then.
type request struct {
	k       *Kernel
	client  *client     // the sender
	header  wire.Header // as it came
	msg     []byte      // the kernel's own copy; its header is that of the answer, too, whose length is made right
	exts    [maxExt + 1][]byte
	rdomain int  // that it is about, which need not be its sender's
	quiet   bool // there is no answer

	described []byte // what the answer has of an SA, see forget
}

// ext is a whole extension with its header; nil: there is none. Of those that came it is a view into the message.
func (r *request) ext(t wire.ExtType) []byte { return r.exts[r.k.number(t)] }

// answer puts extensions into the answer, one behind the other in raw.
func (r *request) answer(raw []byte) {
	for len(raw) >= extHeaderLen {
		n := int(r.k.d.Order.Uint16(raw)) * 8
		r.exts[r.k.d.Order.Uint16(raw[2:])] = raw[:n:n]
		raw = raw[n:]
	}
}

// drop takes extensions out of the answer.
func (r *request) drop(types ...wire.ExtType) {
	for _, t := range types {
		r.exts[r.k.number(t)] = nil
	}
}

// silent: there is no answer.
func (r *request) silent() { r.quiet = true }

// satype is the number of the SA type.
func (r *request) satype() uint8 { return r.msg[3] }

// A handler does what a message asks for, and leaves in the request what the answer holds. EINVAL, ENOMEM and ENOBUFS
// are what send() returns; other errors are told to everybody.
type handler func(*Kernel, *request) wire.Errno

// handlers are those of the messages, by their numbers; nil: EINVAL.
var handlers [len(messages)]handler

func init() { // not in the declaration: handlers look at messages
	handlers = [len(messages)]handler{
		1:  (*Kernel).getSPI,
		2:  (*Kernel).update,
		3:  (*Kernel).add,
		4:  (*Kernel).delete,
		5:  (*Kernel).get,
		6:  (*Kernel).acquireByUser,
		7:  (*Kernel).register,
		8:  (*Kernel).expireByUser,
		9:  (*Kernel).flush,
		10: (*Kernel).dump,
		11: (*Kernel).promisc,
		12: (*Kernel).addFlow,
		13: (*Kernel).delFlow,
		14: (*Kernel).groupSPIs,
		15: (*Kernel).askPolicy,
	}
}

// Request implements [engine.Endpoint]. It follows pfkeyv2_output and pfkeyv2_dosend.
func (c *client) Request(msg []byte, from pfkey.Cred) pfkey.Errno {
	if errno := c.maySend(len(msg)); errno != wire.OK {
		return errno
	}
	k := c.k
	r := &request{k: k, client: c, msg: msg, rdomain: c.rdomain}
	if !k.parse(r, uint32(from.PID)) {
		return wire.EINVAL
	}
	k.copyRequest(r)
	if raw := r.ext(wire.OpenBSDExtXRDomain); raw != nil {
		v, _ := k.d.ParseRDomain(raw)
		if !k.hasRDomain(int(v.Domain)) || !k.hasRDomain(int(v.After)) {
			return wire.EINVAL
		}
		r.rdomain = int(v.Domain)
	}
	h := handlers[r.msg[1]]
	if h == nil {
		return wire.EINVAL
	}
	defer r.forget()
	switch errno := h(k, r); errno {
	case wire.OK:
	case wire.EINVAL, wire.ENOMEM, wire.ENOBUFS:
		return errno
	default:
		clear(r.exts[:])
		r.msg[2] = k.d.ErrnoNumber(errno)
		k.tellAll(c.rdomain, k.compose(r))
		return wire.OK
	}
	if r.quiet {
		return wire.OK
	}
	if rules := &messages[r.msg[1]]; r.has()&^rules.out != 0 || rules.gives&^r.has() != 0 {
		return wire.EPERM // though all has been done
	}
	k.tellAll(c.rdomain, k.compose(r))
	return wire.OK
}

// has are the extensions that a request has, or its answer.
func (r *request) has() (s extSet) {
	for n, raw := range r.exts {
		if raw != nil {
			s |= exts(n)
		}
	}
	return s
}

// parse checks a message and finds its extensions (pfkeyv2_parsemessage).
func (k *Kernel) parse(r *request, pid uint32) bool {
	o := k.d.Order
	if len(r.msg) < wire.HeaderLen {
		return false
	}
	r.header, _ = k.d.Header(r.msg)
	h := r.msg[:wire.HeaderLen]
	if int(o.Uint16(h[4:]))*8 != len(r.msg) || o.Uint16(h[6:]) != 0 || h[1] == 0 || int(h[1]) >= len(messages) ||
		o.Uint32(h[12:]) != pid || h[2] != 0 {
		return false
	}
	rules := &messages[h[1]]
	for rest := r.msg[wire.HeaderLen:]; len(rest) > 0; {
		if len(rest) < extHeaderLen {
			return false
		}
		size, n := int(o.Uint16(rest))*8, int(o.Uint16(rest[2:]))
		if size < extHeaderLen || size > len(rest) || n > maxExt || !rules.in.has(n) || r.exts[n] != nil ||
			!k.checkExt(n, rest[:size], h[3]) {
			return false
		}
		r.exts[n] = rest[:size:size]
		rest = rest[size:]
	}
	if rules.needs&^r.has() != 0 {
		return false
	}
	const stateAt, mature = 9, 1
	makesSA := h[1] == addNumber || h[1] == updateNumber
	return !makesSA || r.ext(wire.ExtSA)[stateAt] == mature
}

// compose is the answer: the header, and the extensions in the order of their numbers.
func (k *Kernel) compose(r *request) []byte {
	n := wire.HeaderLen
	for _, raw := range r.exts {
		n += len(raw)
	}
	b := append(make([]byte, 0, n), r.msg[:wire.HeaderLen]...)
	for _, raw := range r.exts {
		b = append(b, raw...)
	}
	return k.d.Finish(b)
}

// Numbers of messages and of SA types.
const (
	updateNumber  = 2
	addNumber     = 3
	addFlowNumber = 12

	ahNumber     = 1
	espNumber    = 2
	ipipNumber   = 7
	tcpSigNumber = 8
	ipcompNumber = 9
)

// copyRequest sends a copy of a request to promiscuous sockets, the sender's included, with its process's number.
func (k *Kernel) copyRequest(r *request) {
	if k.e.Promiscuous() == 0 {
		return
	}
	b := k.wrap(r.msg, wire.Seq(k.d.Order.Uint32(r.msg[12:])))
	k.sendUp(b, func(c *client) bool { return c.rdomain == r.client.rdomain && c.s.Promisc() })
}

// wrap is what promiscuous sockets get of a message.
func (k *Kernel) wrap(msg []byte, seq wire.Seq) []byte {
	b := k.d.AppendHeader(make([]byte, 0, wire.HeaderLen+len(msg)), wire.Header{Version: wire.Version,
		Type: wire.MsgXPromisc, Len: uint16((wire.HeaderLen + len(msg)) / 8), Seq: seq})
	return append(b, msg...)
}

// sendUp gives a message to the sockets that hear it. Who has no room for it loses it. Nobody changes msg any more.
func (k *Kernel) sendUp(msg []byte, hears func(*client) bool) {
	for _, s := range slices.Backward(k.e.Sockets()) {
		if c := s.Endpoint().(*client); hears(c) {
			c.deliver(msg)
		}
	}
	k.e.Forget(msg)
}

// tellAll tells every socket of a routing domain.
func (k *Kernel) tellAll(rdomain int, msg []byte) {
	k.sendUp(msg, func(c *client) bool { return c.rdomain == rdomain })
}

// tellRegistered tells the sockets of a routing domain that have registered an SA type; type 0: those that have
// registered any. Promiscuous ones that have registered none get a copy.
func (k *Kernel) tellRegistered(rdomain int, t wire.SAType, msg []byte) {
	var wrapped []byte
	if k.e.Promiscuous() > 0 {
		wrapped = k.wrap(msg, 0)
	}
	k.sendUp(msg, func(c *client) bool {
		return c.rdomain == rdomain && (c.s.Registered(t) || t == wire.SATypeUnspec && c.s.RegisteredAny())
	})
	if wrapped != nil {
		k.sendUp(wrapped, func(c *client) bool {
			return c.rdomain == rdomain && c.s.Promisc() && !c.s.RegisteredAny()
		})
	}
}

// answerOne gives the sender of a request a message beside the answer, and other promiscuous sockets a copy. Who has no
// room for it loses it.
func (k *Kernel) answerOne(r *request, msg []byte) {
	var wrapped []byte
	if k.e.Promiscuous() > 0 {
		wrapped = k.wrap(msg, 0)
	}
	r.client.deliver(msg)
	k.e.Forget(msg)
	if wrapped != nil {
		k.sendUp(wrapped, func(c *client) bool {
			return c.rdomain == r.client.rdomain && c.s.Promisc() && c != r.client
		})
	}
}
