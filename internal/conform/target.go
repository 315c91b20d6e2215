package conform

import (
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// Target is what scenarios are played on. It makes a machine for each scenario; it is safe for concurrent use.
type Target interface {
	// Boot makes the machine for a scenario, fresh as the recorded kernel was. The machine calls step, from inside the
	// code that races, at the named points it has. Whoever booted it closes it. An empty scenario only tries whether
	// there is a machine.
	Boot(sc *Scenario, step func(point string, p *packet.Packet)) (Machine, error)
}

// Machine is a kernel as scenarios use it: its PF_KEY sockets, and whichever of [Clock], [Passing], [PacketPath] and
// [Owner] it is, or of what its kernel's operations ask for. Scenarios that need more than it has are skipped.
type Machine interface {
	pfkey.Engine
	Close()
}

// Clock is a machine whose clock and ageing are moved apart, as in the recordings.
type Clock interface {
	Now() time.Time
	MoveClock(now time.Time) // without ageing
	Age()                    // one ageing pass
}

// Passing is a machine whose time passes, ageing included, as that of a real kernel does.
type Passing interface {
	Now() time.Time
	// Align waits for the start of a second.
	Align()
	// Wait lets time pass until then, or until something happens that sockets may hear of, whichever comes first.
	Wait(until time.Time)
}

// PacketPath is a machine that takes packets and tells what becomes of them through their Done.
type PacketPath interface {
	Inbound(p *packet.Packet)
	Outbound(p *packet.Packet, tunnel string)
	// Watch reports every final verdict until stop is called, also of packets the machine makes itself.
	Watch(f func(*packet.Packet, packet.Verdict)) (stop func())
	// InFlight is how many packets are neither ended nor waiting: none, when nothing moves.
	InFlight() uint64
}

// Owner is a machine that lets one at the operations that only its kernel has.
type Owner interface {
	Own() any // the emulated kernel
}

// Serial is a machine that serves one request at a time and can tell whether it is in the middle of one. At a named
// point inside of a request, no other request can be made.
type Serial interface {
	Busy() bool
}

// Live is a target that runs elsewhere, in real time. Not everything that a recording holds can be done or seen there;
// [Report.Unjudged] counts what could not.
type Live interface {
	Target
	Workers() int // how many scenarios may be played at a time
	// Tries is how often a scenario that fails is played: whoever else uses a host can hold a conversation up until its
	// kernel does what it does a second later. A kernel that answers otherwise does so every time.
	Tries() int
}

// Partial is a machine that cannot do every step. A scenario is played on it up to the first step that it cannot do.
type Partial interface {
	// Cannot says why a step cannot be done, or done so that it can be judged; "" if it can.
	Cannot(st *Step) string
	// Expect changes a recording into what is to be expected of this machine, which answers by other ways, and tells
	// what it has made volatile in its first n steps: how many values, by the name of their kind.
	Expect(sc *Scenario, n int) (eased map[string]int)
}

// A GoneError says that there is no kernel at the address, or none any more.
type GoneError struct{ Err error }

func (e *GoneError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *GoneError) Unwrap() error { return e.Err }

// InProcess plays on engines in this process, in virtual time. The zero value of each field but Kernel stands for what
// the recordings were made with.
type InProcess struct {
	Kernel    *Kernel
	Addrs     []netip.Addr
	Broadcast []netip.Addr
	Tunables  map[string]string
	Fault     string
	Seed      uint64 // of the randomness that each scenario starts with
}

// recordingStart is what the clock shows when a scenario begins; any time will do.
var recordingStart = time.Unix(1_400_000_000, 0).UTC()

// Boot implements [Target].
func (t InProcess) Boot(sc *Scenario, step func(string, *packet.Packet)) (Machine, error) {
	o := engine.Options{Addrs: t.Addrs, Broadcast: t.Broadcast, Start: recordingStart,
		Rand: randomness(sc.Name, t.Seed), Tunables: t.Tunables, Fault: t.Fault, Step: step}
	if o.Addrs == nil && (sc.Net || !t.Kernel.Isolates) {
		o.Addrs, o.Broadcast = t.Kernel.Addrs, t.Kernel.Broadcast
	}
	e, err := kernels.New(t.Kernel.Name, o)
	if err != nil {
		return nil, err
	}
	if m := (&Emulated{e}); t.Kernel.Machine == nil {
		return m, nil
	} else {
		return t.Kernel.Machine(m), nil
	}
}

// randomness repeats itself for a scenario, whichever scenarios are played beside it.
func randomness(scenario string, seed uint64) io.Reader {
	h := fnv.New64a()
	io.WriteString(h, scenario)
	var key [32]byte
	for i, v := range []uint64{h.Sum64(), seed} {
		for b := range 8 {
			key[8*i+b] = byte(v >> (8 * b))
		}
	}
	return rand.NewChaCha8(key)
}

// Emulated is the machine that an engine in this process is.
type Emulated struct{ *engine.Engine }

// Inbound implements [PacketPath]. The recordings of some kernels begin where IP hands a packet to IPsec, so what IP
// itself refuses is not asked there.
func (m *Emulated) Inbound(p *packet.Packet) {
	k, ok := m.Kernel().(interface{ InboundIPsec(*packet.Packet) })
	if !ok {
		m.Engine.Inbound(p)
		return
	}
	m.Ledger().Inject(p)
	k.InboundIPsec(p)
}

// Watch implements [PacketPath].
func (m *Emulated) Watch(f func(*packet.Packet, packet.Verdict)) func() { return m.Ledger().Watch(f) }

// InFlight implements [PacketPath].
func (m *Emulated) InFlight() uint64 { return m.Ledger().Balance().InFlight }

// Busy uses that posted work is done at once unless the control lock is held.
func (m *Emulated) Busy() bool {
	busy := true
	m.Post(func() { busy = false })
	return busy
}

// Own implements [Owner].
func (m *Emulated) Own() any { return m.Kernel() }

// Align implements [Passing].
func (m *Emulated) Align() {
	if now := m.Now(); now.Truncate(time.Second) != now {
		m.Advance(now.Truncate(time.Second).Add(time.Second))
	}
}

// Wait implements [Passing].
func (m *Emulated) Wait(until time.Time) {
	if next, ok := m.Next(); ok && next.Before(until) {
		until = next
	}
	m.Advance(until)
}
