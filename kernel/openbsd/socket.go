package openbsd

import (
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

const sockRaw = 3

// maxSockets is a limit that the original leaves to memory.
const maxSockets = 1024

// Sizes in bytes.
const (
	buffer      = 8192    // of a socket, either way
	maxBuffer   = 2 << 20 // that may be asked for
	maxMessage  = 4096    // that may be written
	leastMemory = 192 << 10
	mbuf        = 256
	inline      = 200 // what one mbuf holds by itself
	cluster     = 2048
	address     = 2 // of the sender, beside each message
)

// client is what the kernel keeps of a socket, guarded by the control lock.
type client struct {
	k                *Kernel
	s                *engine.Socket
	rdomain          int
	recvBuf, sendBuf int

	// What calls have made of the socket: nothing may be written any more, reads end behind what is queued, nothing may
	// be queued.
	unwritable, ended, deaf bool
}

// Open implements [engine.Kernel].
func (k *Kernel) Open(s *engine.Socket, c pfkey.Cred, typ, proto int) (engine.Endpoint, pfkey.Errno) {
	switch {
	case typ != sockRaw || proto != 0 && proto != wire.Version:
		return nil, wire.EPROTONOSUPPORT
	case !c.Privileged:
		return nil, wire.EACCES
	case len(k.e.Sockets()) >= maxSockets:
		return nil, wire.ENOBUFS
	}
	return &client{k: k, s: s, rdomain: k.homes[c.PID], recvBuf: buffer, sendBuf: buffer}, wire.OK
}

// maySend says whether a message of n bytes may be written.
func (c *client) maySend(n int) wire.Errno {
	switch {
	case c.unwritable:
		return wire.EPIPE
	case n > c.sendBuf, n > maxMessage:
		return wire.EMSGSIZE
	case n == 0:
		return wire.EINVAL
	}
	return wire.OK
}

// register notes that the socket hears of SAs of a type. There is a bit for each number, and they repeat after 32.
func (c *client) register(satype uint8) {
	c.s.Register(c.k.d.SAType(satype % 32))
	c.k.countRegistered()
}

// countRegistered has packets know how many sockets have registered anything.
func (k *Kernel) countRegistered() { k.registered.Store(int64(k.e.Registered())) }

// deliver puts a message into the socket's queue (pfkey_sendup). It is lost if there is no room.
func (c *client) deliver(msg []byte) {
	if !c.fits(len(msg)) {
		c.s.Lose()
		return
	}
	memory := 2 * mbuf
	if len(msg) > inline {
		memory += (len(msg) + cluster - 1) / cluster * cluster
	}
	c.s.DeliverAs(msg, memory, false)
}

// fits tells whether there is room for a message of n bytes (sbappendaddr).
func (c *client) fits(n int) bool {
	most := max(leastMemory, 8*c.recvBuf)
	return !c.deaf && n+address <= min(c.recvBuf-c.queuedBytes(), most-c.s.Queued())
}

// queuedBytes are those of all messages that wait and of the addresses beside them.
func (c *client) queuedBytes() int { return c.s.Bytes() + address*c.s.Messages() }

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
func (c *client) Closed() { c.k.countRegistered() }

// SetOption implements [engine.Endpoint].
func (c *client) SetOption(o pfkey.Option, value int) pfkey.Errno {
	size := &c.recvBuf
	switch o {
	case pfkey.OptionRecvBuffer:
	case pfkey.OptionSendBuffer:
		size = &c.sendBuf
	default:
		return wire.ENOPROTOOPT
	}
	if value > maxBuffer {
		return wire.ENOBUFS
	}
	*size = max(value, 1)
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
	case pfkey.OptionReadable:
		return c.s.Bytes(), wire.OK
	}
	return 0, wire.ENOPROTOOPT
}

// calls are what other calls than reading and writing do.
var calls = map[pfkey.Call]pfkey.Errno{
	pfkey.CallBind: wire.EOPNOTSUPP, pfkey.CallConnect: wire.EOPNOTSUPP, pfkey.CallListen: wire.EOPNOTSUPP,
	pfkey.CallAccept: wire.EINVAL, pfkey.CallGetSockName: wire.EINVAL, pfkey.CallGetPeerName: wire.OK,
	pfkey.CallShutdown: wire.OK, pfkey.CallShutdownRead: wire.OK, pfkey.CallShutdownBoth: wire.OK,
	pfkey.CallFIONREAD: wire.OK, pfkey.CallSendTo: wire.EISCONN, pfkey.CallSendOOB: wire.EOPNOTSUPP,
}

// Call implements [pfkey.Caller].
func (c *client) Call(call pfkey.Call) pfkey.Errno {
	errno, ok := calls[call]
	if !ok {
		return wire.EOPNOTSUPP
	}
	switch call {
	case pfkey.CallShutdownRead, pfkey.CallShutdownBoth:
		c.s.Discard()
		c.ended, c.deaf = true, true
	case pfkey.CallConnect: // it fails, and the socket is none any more
		c.ended, c.unwritable = true, true
	}
	if call == pfkey.CallShutdown || call == pfkey.CallShutdownBoth {
		c.unwritable = true
	}
	return errno
}

// Ended implements [engine.Ending].
func (c *client) Ended() bool { return c.ended }
