package engine

import (
	"time"

	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Kernel is the key engine of an operating system: what every one of them has. What only some have are interfaces of
// their own: [Packets], [Timed], [PolicyTaker], [Lister]. Methods are called with the control lock held unless they
// say otherwise.
type Kernel interface {
	Dialect() *wire.Dialect
	// Open admits a new socket, or refuses it with an errno.
	Open(s *Socket, c pfkey.Cred, typ, proto int) (Endpoint, pfkey.Errno)
	// Describe adds SAs and acquire records (at most limit of each, but 0 is all), the number of both, and counters to
	// st.
	Describe(st *status.Engine, limit int)
	// Stop gives up every packet that waits, with reason shutdown.
	Stop()
}

// Endpoint is one socket as its kernel sees it. One that is a [pfkey.Caller] as well has an answer to calls for which
// PF_KEY has no use; on others they are not supported. Methods are called with the control lock held.
type Endpoint interface {
	// Request handles one message. msg is the kernel's own copy, to edit and to deliver, not to keep: see
	// [Engine.Forget]. What send() returns and what is delivered are independent of each other.
	Request(msg []byte, from pfkey.Cred) pfkey.Errno
	// Room says whether a message that counts for n still fits into the receive queue. dump tells the messages of a
	// DUMP, which some kernels treat differently.
	Room(n int, dump bool) bool
	// Receive says whether the socket may be read with these flags.
	Receive(flags pfkey.RecvFlags) pfkey.Errno
	// Reading is told of each message that is read, or peeked at, while it still counts as queued. A DUMP that had to
	// stop goes on from here.
	Reading()
	SetOption(o pfkey.Option, value int) pfkey.Errno
	GetOption(o pfkey.Option) (int, pfkey.Errno)
	// Closed says that the socket is gone; nothing may be delivered to it any more.
	Closed()
}

// Ending is an [Endpoint] whose reads can come to the end of file. The control lock is held.
type Ending interface {
	Ended() bool // nothing will come behind what is queued
}

// Flagged is an [Endpoint] whose flags the status of its socket shows, by the kernel's own names. The control lock is
// held.
type Flagged interface{ Flags() []string }

// Packets is a kernel that packets pass through. Where there is none, they are dropped.
type Packets interface {
	// Inbound and Outbound drive a packet that has just been injected, each to its verdict or into a queue. The control
	// lock is NOT held, and must not be taken.
	Inbound(p *packet.Packet)
	Outbound(p *packet.Packet, tunnel string)
}

// Timed is a kernel for which time passes as the engine is told. Where it is not, nothing is ever due.
type Timed interface {
	// Next is the time of the next thing that Age has to do.
	Next() (time.Time, bool)
	// Age runs what is due at now, which is what the engine's clock shows. force runs a pass whatever is due.
	Age(now time.Time, force bool)
}

// noPackets stands where a kernel has no [Packets].
type noPackets struct{}

func (noPackets) Inbound(p *packet.Packet) {
	p.End(packet.Verdict{Kind: packet.Dropped, Reason: packet.NoPackets})
}

func (n noPackets) Outbound(p *packet.Packet, _ string) { n.Inbound(p) }

// noTime stands where a kernel has no [Timed].
type noTime struct{}

func (noTime) Next() (time.Time, bool) { return time.Time{}, false }

func (noTime) Age(time.Time, bool) {}
