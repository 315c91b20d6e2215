package kame

import (
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

const sockRaw = 3

// maxSockets is a limit that the originals leave to memory.
const maxSockets = 1024

// client is what the kernel keeps of a socket, guarded by the control lock.
type client struct {
	k                *Kernel
	s                *engine.Socket
	recvBuf, sendBuf int
	loopback         bool // SO_USELOOPBACK

	// What calls have made of the socket: nothing may be written any more, reads end behind what is queued, nothing may
	// be queued.
	unwritable, ended, deaf bool
}

// Open implements [engine.Kernel].
func (k *Kernel) Open(s *engine.Socket, c pfkey.Cred, typ, proto int) (engine.Endpoint, pfkey.Errno) {
	switch {
	case typ != sockRaw && proto == 0:
		return nil, wire.EPROTOTYPE
	case typ != sockRaw || proto != 0 && proto != wire.Version:
		return nil, wire.EPROTONOSUPPORT
	case !c.Privileged:
		return nil, wire.EPERM
	case len(k.e.Sockets()) >= maxSockets:
		return nil, wire.ENOBUFS
	}
	b := &k.page.Buffers
	return &client{k: k, s: s, recvBuf: b.Recv, sendBuf: b.Send, loopback: true}, wire.OK
}

// maySend says whether a message of n bytes may be written.
func (c *client) maySend(n int) wire.Errno {
	switch {
	case c.unwritable:
		return wire.EPIPE
	case n > c.sendBuf:
		return wire.EMSGSIZE
	}
	return wire.OK
}

// Buffers are the sizes of a socket's buffers, and what messages count for in them, in bytes.
type Buffers struct {
	Recv, Send int // by default
	Most       int // the largest size that may be asked for
	Factor     int // so many times the size of a buffer is the memory that its messages may take, MostMemory at most
	MostMemory int
	Mbuf       int // memory of one mbuf
	// Made is how much memory a message of n bytes takes that the kernel has made, and Written one that is a request
	// itself; both with the address of the sender.
	Made, Written func(n int) int
}

// addressCost is what the address of the sender counts for beside each message.
const addressCost = 2

// deliver puts a message into the socket's queue (key_sendup0, sbappendaddr); false if there is no room.
func (c *client) deliver(p parcel) bool {
	switch {
	case c.deaf:
		return false
	case !p.always && len(p.msg)+addressCost > c.space():
		c.s.Lose()
		return false
	}
	return c.s.DeliverAs(p.msg, p.memory, false)
}

// space is how much room there is for messages (sbspace).
func (c *client) space() int {
	b := &c.k.page.Buffers
	return min(c.recvBuf-c.queuedBytes(), min(c.recvBuf*b.Factor, b.MostMemory)-c.s.Queued())
}

// queuedBytes is what FIONREAD tells: the bytes of all messages that wait and of the addresses beside them.
func (c *client) queuedBytes() int { return c.s.Bytes() + addressCost*c.s.Messages() }

// Room implements [engine.Endpoint]: whoever delivers has looked.
func (c *client) Room(int, bool) bool { return true }

// Receive implements [engine.Endpoint].
func (c *client) Receive(flags pfkey.RecvFlags) pfkey.Errno {
	if flags&pfkey.RecvOOB != 0 {
		return wire.EOPNOTSUPP
	}
	return wire.OK
}

// Reading implements [engine.Endpoint].
func (c *client) Reading() {}

// Closed implements [engine.Endpoint]. What the socket has made stays.
func (c *client) Closed() {}

// SetOption implements [engine.Endpoint].
func (c *client) SetOption(o pfkey.Option, value int) pfkey.Errno {
	size := &c.recvBuf
	switch o {
	case pfkey.OptionRecvBuffer:
	case pfkey.OptionSendBuffer:
		size = &c.sendBuf
	case pfkey.OptionUseLoopback: // which these sockets do not ask
		c.loopback = value != 0
		return wire.OK
	default:
		return wire.ENOPROTOOPT
	}
	switch {
	case value < 1:
		return wire.EINVAL
	case value > c.k.page.Buffers.Most:
		return wire.ENOBUFS
	}
	*size = value
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
	case pfkey.OptionUseLoopback:
		if c.loopback {
			return 1, wire.OK
		}
		return 0, wire.OK
	case pfkey.OptionReadable:
		return c.queuedBytes(), wire.OK
	}
	return 0, wire.ENOPROTOOPT
}

// Call implements [pfkey.Caller].
func (c *client) Call(call pfkey.Call) pfkey.Errno {
	errno, ok := c.k.page.Calls[call]
	if !ok {
		return wire.EOPNOTSUPP
	}
	if call == pfkey.CallShutdownRead || call == pfkey.CallShutdownBoth {
		c.s.Discard()
		c.ended, c.deaf = true, true
	}
	if call == pfkey.CallShutdown || call == pfkey.CallShutdownBoth {
		c.unwritable = true
	}
	if call == pfkey.CallConnect && c.k.page.ConnectEnds {
		c.ended, c.unwritable = true, true
	}
	return errno
}

// Ended implements [engine.Ending].
func (c *client) Ended() bool { return c.ended }
