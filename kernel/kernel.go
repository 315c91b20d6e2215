// Package kernel runs the key engine of an operating system inside a program: [New] makes one by the name of the
// system, such as "linux" or "illumos". Programs speak PF_KEY with it through [Engine.Open], packets go in with
// [Engine.Inbound] and [Engine.Outbound], and time passes when [Engine.Advance] says so.
//
// For tests there is package pfkeytest, which does more with less.
package kernel

import (
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Engine is one running kernel. It is safe for concurrent use. It is a [pfkey.Engine] and a target of package
// packetport, so that their servers can stand in front of it.
type Engine struct {
	ref
	e *engine.Engine
}

// ref lets the packages of this module find the engine behind its face.
type ref = engine.Ref

// Options are what an engine is made of. The zero value is a host without addresses under a virtual clock.
type Options struct {
	Addrs     []netip.Addr      // the host's own addresses
	Broadcast []netip.Addr      // the broadcast addresses of its networks
	Start     time.Time         // the first reading of the virtual clock; zero: the same moment in every run
	Clock     func() time.Time  // reads the time; nil: a virtual clock that only Advance moves
	Rand      io.Reader         // makes SPIs and IVs; nil: crypto/rand
	Tunables  map[string]string // by the kernel's own names
	Fault     string            // a deliberate defect of the larval queue, by name (package sadb); empty: none
	Log       *slog.Logger      // nil: discard

	// Step, for tests, is called at named points of the race, from inside the code that races.
	Step func(point string, p *packet.Packet)
}

// Names lists the kernels there are, in alphabetical order.
func Names() []string { return kernels.Names() }

// New makes an engine that runs the kernel of that name. The error names what is wrong with the name or the options.
func New(name string, o Options) (*Engine, error) {
	e, err := kernels.New(name, engine.Options(o))
	if err != nil {
		return nil, err
	}
	return &Engine{engine.NewRef(e), e}, nil
}

// Dialect returns the table of wire numbers the engine speaks.
func (e *Engine) Dialect() *wire.Dialect { return e.e.Dialect() }

// Open makes a PF_KEY socket of the given type and protocol (SOCK_RAW is 3 and PF_KEY_V2 is 2 on every system). c is
// who holds it; the errno is what socket(2) fails with.
func (e *Engine) Open(c pfkey.Cred, typ, proto int) (pfkey.Socket, pfkey.Errno) {
	return e.e.Open(c, typ, proto)
}

// LoadPolicy gives the kernel the security policies in r, in addition to those it has and in the form that its own
// system has for them: rules of ipsecconf(8) on illumos, flows of ipsec.conf(5) on OpenBSD, spdadd lines of setkey(8)
// on others. It takes all of them or, with an error, none. Errors are those of r, or name the place in the file, which
// is called name. Packets may flow meanwhile.
func (e *Engine) LoadPolicy(r io.Reader, name string) error { return kernels.LoadPolicy(e.e, r, name) }

// Inbound injects an IP packet that came in from the network. Its verdicts come through p.Done.
func (e *Engine) Inbound(p *packet.Packet) { e.e.Inbound(p) }

// Outbound injects a plaintext IP packet that the host wants to send; tunnel names the tunnel interface it goes
// through, empty for none.
func (e *Engine) Outbound(p *packet.Packet, tunnel string) { e.e.Outbound(p, tunnel) }

// Ledger returns the ledger that counts the engine's packets.
func (e *Engine) Ledger() *packet.Ledger { return e.e.Ledger() }

// Seal protects inner, an IP packet, as the sender of sa does, which is the peer of the engine's host or the host
// itself: in the mode and with the UDP encapsulation that sa says in the dialect of the engine. The kernel need not
// have the SA, and takes no notice.
//
// seq is the sequence number; rand makes the IV. The result belongs to the caller. Errors say what of sa the kernel
// does not have, or why inner cannot be protected with it.
func (e *Engine) Seal(sa *pfkey.SA, inner []byte, seq uint64, rand io.Reader) ([]byte, error) {
	return kernels.Seal(e.e, sa, inner, seq, rand)
}

// Now returns what the engine's clock shows.
func (e *Engine) Now() time.Time { return e.e.Now() }

// Next returns when Advance has something to do next; false if nothing is pending.
func (e *Engine) Next() (time.Time, bool) { return e.e.Next() }

// Advance runs everything that is due up to now, in the kernel's order and each at its own time, and leaves a virtual
// clock at now. A virtual clock never goes back.
func (e *Engine) Advance(now time.Time) { e.e.Advance(now) }

// Wake is signalled when Next may have become earlier than it was.
func (e *Engine) Wake() <-chan struct{} { return e.e.Wake() }

// Status reads the engine. At most limit SAs are listed, and as many ACQUIREs and policies; 0 means all, for programs
// that know how many there can be.
func (e *Engine) Status(limit int) status.Engine { return e.e.Status(limit) }

// Close stops the engine: every packet that waits ends with reason shutdown, and no socket can be opened any more.
func (e *Engine) Close() { e.e.Close() }
