package illumos

import (
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// client is what keysock keeps of a socket, guarded by the control lock.
type client struct {
	k         *Kernel
	s         *engine.Socket
	noLoop    bool // SO_USELOOPBACK off: hears nothing at all
	extended  bool // did an extended REGISTER
	full      bool // the receive queue has reached its limit and not yet been read empty enough
	recvHiwat int  // bytes

	readsWhenFull uint64
	sendHiwat     int
}

func (k *Kernel) newClient(s *engine.Socket) *client {
	return &client{k: k, s: s, recvHiwat: k.keysock(tunRecvHiwat), sendHiwat: k.keysock(tunSendHiwat)}
}

func clientOf(s *engine.Socket) *client { return s.Endpoint().(*client) }

// source is who made a message that goes up to sockets.
type source int

const (
	fromKeysock source = iota
	fromConsumer
	fromUser // a client's own message passed on as it is
)

// passUp delivers a message to every socket that is to hear it and says whether there was any, be its queue full or
// not; keysock_passup. sender is the client whose request it answers, nil for nobody. msg must not be changed any more.
// The control lock is held.
func (k *Kernel) passUp(msg []byte, sender *client, src source) (heard bool) {
	typ, satype := k.d.MsgType(msg[1]), k.d.SAType(msg[3])
	for _, s := range k.e.Sockets() {
		c := clientOf(s)
		// The rule is asked in any case: it may register the socket.
		if hears := k.hears(c, typ, satype, sender, src); c.noLoop || !s.Promisc() && !hears {
			continue
		}
		heard = true
		k.catchUp(c)
		s.Deliver(msg, false)
	}
	return heard
}

// hears is the rule for a socket that is not promiscuous. A REGISTER that comes back from a consumer registers its
// sender here, even when it carries an error.
func (k *Kernel) hears(c *client, typ wire.MsgType, satype wire.SAType, sender *client, src source) bool {
	switch typ {
	case wire.MsgGetSPI, wire.MsgUpdate, wire.IllumosMsgXUpdatePair, wire.MsgAdd, wire.MsgDelete,
		wire.IllumosMsgXDelPair,
		wire.MsgExpire, wire.MsgFlush:
		return true
	case wire.MsgRegister:
		switch {
		case src == fromKeysock:
			return c == sender
		case sender == nil:
			return c.extended || c.s.Registered(satype)
		case c == sender:
			c.s.Register(satype)
			return true
		}
		return !c.extended && c.s.Registered(satype)
	case wire.MsgAcquire:
		switch {
		case src == fromUser:
			return false
		case satype == wire.SATypeUnspec:
			return c.extended || c == sender
		case c == sender:
			return true
		case src == fromKeysock:
			return false
		}
		return !c.extended && c.s.Registered(satype)
	}
	return c == sender
}

// Closed implements [engine.Endpoint].
func (c *client) Closed() {
	c.k.noHearer(c)
	if c.extended {
		c.k.extended--
	}
}

// Room implements [engine.Endpoint] as a stream does: a queue that has reached its high-water mark takes nothing until
// it has been read below the low-water mark. What has the type DUMP is queued regardless, answers that refuse one
// included, as long as all queues together take no more memory than they may; that a DUMP itself comes so far,
// noRoomForDump does not let happen.
func (c *client) Room(n int, dump bool) bool {
	queued := c.s.Queued()
	if c.full {
		c.full = c.s.Reads() == c.readsWhenFull || queued >= c.k.keysock(tunRecvLowat)
	}
	if !c.full && queued >= c.recvHiwat {
		c.full, c.readsWhenFull = true, c.s.Reads()
	}
	return !c.full || dump && c.k.queued() < c.k.limit(limQueued)
}

// Receive implements [engine.Endpoint].
func (c *client) Receive(pfkey.RecvFlags) pfkey.Errno { return wire.OK }

// SetOption implements [engine.Endpoint].
func (c *client) SetOption(o pfkey.Option, value int) pfkey.Errno {
	switch o {
	case pfkey.OptionUseLoopback:
		c.noLoop = value == 0
		return wire.OK
	case pfkey.OptionSendBuffer, pfkey.OptionRecvBuffer:
		if value < 0 || value > c.k.keysock(tunMaxBuf) {
			return wire.ENOBUFS
		}
		if o == pfkey.OptionSendBuffer {
			c.sendHiwat = value
		} else {
			c.recvHiwat = value
		}
		return wire.OK
	}
	return wire.EINVAL
}

// GetOption implements [engine.Endpoint].
func (c *client) GetOption(o pfkey.Option) (int, pfkey.Errno) {
	switch o {
	case pfkey.OptionType:
		return illumosSockRaw, wire.OK
	case pfkey.OptionUseLoopback:
		if c.noLoop {
			return 0, wire.OK
		}
		return 1, wire.OK
	case pfkey.OptionSendBuffer:
		return c.sendHiwat, wire.OK
	case pfkey.OptionRecvBuffer:
		return c.recvHiwat, wire.OK
	}
	return 0, wire.EINVAL
}
