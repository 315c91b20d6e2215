package engine

import (
	"time"

	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Kernel is an emulated operating system's key engine. Methods are called with the control lock held unless they say
// otherwise.
type Kernel interface {
	Dialect() *wire.Dialect

	// Open admits a new socket, or refuses it with an errno. The kernel may keep its own data in s.Data.
	Open(s *Socket, c pfkey.Cred, typ, proto int) pfkey.Errno
	// Closed says that s is gone; nothing may be delivered to it any more.
	Closed(s *Socket)
	// Request handles one message. msg is the kernel's own copy, to edit and to deliver, not to keep: see
	// [Engine.Forget]. What send() returns and what is delivered are independent of each other.
	Request(s *Socket, msg []byte, from pfkey.Cred) pfkey.Errno
	// Room says whether a message that counts for n still fits into the receive queue of s. dump tells the messages of
	// a DUMP, which some kernels treat differently.
	Room(s *Socket, n int, dump bool) bool
	// Receive says whether s may be read with these flags.
	Receive(s *Socket, flags pfkey.RecvFlags) pfkey.Errno
	// Reading is told of each message that is read, or peeked at, while it still counts as queued. A DUMP that had to
	// stop goes on from here.
	Reading(s *Socket)
	// Call returns what a call does that PF_KEY has no use for.
	Call(s *Socket, c pfkey.Call) pfkey.Errno
	SetOption(s *Socket, o pfkey.Option, value int) pfkey.Errno
	GetOption(s *Socket, o pfkey.Option) (int, pfkey.Errno)

	// Inbound and Outbound drive a packet that has just been injected, each to its verdict or into a queue. The control
	// lock is NOT held, and must not be taken.
	Inbound(p *packet.Packet)
	Outbound(p *packet.Packet, tunnel string)

	// Next is the time of the next thing that Age has to do.
	Next() (time.Time, bool)
	// Age runs what is due at now, which is what the engine's clock shows. force runs a pass whatever is due.
	Age(now time.Time, force bool)

	// Describe adds SAs and acquire records (at most limit of each, but 0 is all), the number of both, and counters to
	// st.
	Describe(st *Status, limit int)
	// Stop gives up every packet that waits, with reason shutdown.
	Stop()
}
