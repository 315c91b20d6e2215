package afkey

import (
	"math/bits"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// client is what af_key keeps of a socket, guarded by the control lock.
type client struct {
	k                *Manager
	s                *engine.Socket
	recvBuf, sendBuf int // bytes, as getsockopt shows them
	dump             *dump
}

// Buffers read the sizes of sockets' buffers in bytes, under the control lock: net.core.rmem_default and rmem_max,
// wmem_default and wmem_max.
type Buffers struct{ RecvDefault, RecvMax, SendDefault, SendMax func() int }

func (k *Manager) newClient(s *engine.Socket) *client {
	return &client{k: k, s: s, recvBuf: k.buffers.RecvDefault(), sendBuf: k.buffers.SendDefault()}
}

// Closed implements [engine.Endpoint].
func (c *client) Closed() {
	c.endDump()
	c.k.ask()
}

// Who hears a message.
const (
	toOne         = engine.ToOne
	toAll         = engine.ToAll
	toRegistered  = engine.ToRegistered
	toPromiscuous = engine.ToPromiscuous
)

// message is what sockets get, and how much memory it takes there.
type message struct {
	bytes []byte
	size  int  // bytes allocated for it, without the spare room of messages that the kernel makes
	raw   bool // it is a client's own
}

// cost is what a message counts for in a receive buffer: the data area with what the kernel keeps behind it, in a power
// of two, and its head.
func (m *message) cost() int {
	const (
		spare  = 16
		align  = 64
		shared = 320
		head   = 256
		least  = 512
	)
	n := m.size
	if !m.raw {
		n += spare
	}
	n = (n+align-1)&^(align-1) + shared
	return max(least, 1<<bits.Len(uint(n-1))) + head
}

// broadcast delivers a message and says whether those it is meant for got it: for registered sockets one of them, for
// one socket that one. The message must not be changed any more.
func (k *Manager) broadcast(m message, to engine.Audience, one *client) (heard bool) {
	cost := m.cost()
	var sender *engine.Socket
	if one != nil {
		sender = one.s
	}
	k.e.Hearers(to, sender, func(s *engine.Socket, extra bool) bool {
		if s.DeliverAs(m.bytes, cost, false) && !extra {
			heard = true
		}
		return true
	})
	return heard
}

// Room implements [engine.Endpoint]: the message that crosses the limit still gets in.
func (c *client) Room(int, bool) bool { return c.s.Queued() <= c.recvBuf }

// Receive implements [engine.Endpoint].
func (c *client) Receive(flags pfkey.RecvFlags) pfkey.Errno {
	if flags&^(pfkey.RecvPeek|pfkey.RecvTrunc) != 0 {
		return wire.EINVAL
	}
	return wire.OK
}

// Least sizes of buffers in bytes.
const (
	LeastRecvBuf = 2304
	LeastSendBuf = 4608
)

// SetOption implements [engine.Endpoint]. Buffers become twice as large as asked for, within bounds.
func (c *client) SetOption(o pfkey.Option, value int) pfkey.Errno {
	size := func(most, least int) int {
		if uint32(value) > uint32(most) { // negative ones too
			value = most
		}
		return max(2*value, least)
	}
	switch o {
	case pfkey.OptionRecvBuffer:
		c.recvBuf = size(c.k.buffers.RecvMax(), LeastRecvBuf)
	case pfkey.OptionSendBuffer:
		c.sendBuf = size(c.k.buffers.SendMax(), LeastSendBuf)
	default:
		return wire.ENOPROTOOPT
	}
	return wire.OK
}

// GetOption implements [engine.Endpoint].
func (c *client) GetOption(o pfkey.Option) (int, pfkey.Errno) {
	switch o {
	case pfkey.OptionType:
		return sockRaw, wire.OK
	case pfkey.OptionRecvBuffer:
		return c.recvBuf, wire.OK
	case pfkey.OptionSendBuffer:
		return c.sendBuf, wire.OK
	}
	return 0, wire.ENOPROTOOPT
}

// Call implements [pfkey.Caller]. A send() with an address is a send() without.
func (c *client) Call(call pfkey.Call) pfkey.Errno {
	if call == pfkey.CallSendTo {
		return wire.OK
	}
	return wire.EOPNOTSUPP
}

// Flags implements [engine.Flagged].
func (c *client) Flags() (flags []string) {
	if c.dump != nil {
		flags = append(flags, "dumping")
	}
	return flags
}
