package conform

import (
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Target is what scenarios are played on. It makes a machine for each scenario; it is safe for concurrent use.
type Target interface {
	// Boot makes the machine for a scenario, fresh as the recorded kernel was. The machine calls step, from inside the
	// code that races, at the named points it has. Whoever booted it closes it. An empty scenario only tries whether
	// there is a machine.
	Boot(sc *Scenario, step func(point string, p *packet.Packet)) (Machine, error)
}

// Machine is a kernel as scenarios use it: its PF_KEY sockets, and whichever of [Clock], [Passing], [PacketPath],
// [Network] and [Owner] it is. Scenarios that need more than it has are skipped.
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

// Network is a machine on a host where other programs run than those that speak PF_KEY. Its methods return what the
// system call returned.
type Network interface {
	Sysctl(name string, value int) wire.Errno // by its name below /proc/sys
	Traffic(t Traffic) wire.Errno
	// Encap opens a UDP socket that takes encapsulated packets of the kind that the socket option UDP_ENCAP has.
	Encap(at netip.AddrPort, kind int) wire.Errno
	// Datagram sends a UDP datagram over the loopback interface.
	Datagram(src, dst netip.AddrPort, payload []byte) wire.Errno
	AddPolicy(p TransformPolicy) wire.Errno
}

// Traffic is one packet that a program has the host send.
type Traffic struct {
	Proto        uint8      // 17: a datagram, 6: the first packet of a connection, else an echo request
	Src          netip.Addr // invalid: the host chooses
	Dst          netip.Addr
	SPort, DPort uint16
	Len          int // bytes of payload, which are zero
}

// TransformPolicy is an output policy made by other means than PF_KEY: from one host to another, with one template that
// allows every algorithm.
type TransformPolicy struct {
	Src, Dst netip.Addr
	Proto    uint8 // IP's number: 50 ESP, 51 AH, 108 IPCOMP
	Mode     uint8 // as the kernel counts: 0 transport, 1 tunnel, 2 route optimisation, 4 BEET
	ReqID    uint32
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
	Own() any // such as *illumos.Kernel
}

// Serial is a machine that serves one request at a time and can tell whether it is in the middle of one. At a named
// point inside of a request, no other request can be made.
type Serial interface {
	Busy() bool
}

// InProcess plays on engines in this process, in virtual time. The zero value of each field but Kernel stands for what
// the recordings were made with.
type InProcess struct {
	Kernel    string
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
	f, err := familyOf(t.Kernel)
	if err != nil {
		return nil, err
	}
	o := engine.Options{Addrs: t.Addrs, Broadcast: t.Broadcast, Start: recordingStart,
		Rand:     randomness(sc.Name, t.Seed),
		Tunables: t.Tunables, Fault: t.Fault, Step: step}
	if o.Addrs == nil && (sc.Net || !f.isolates) {
		o.Addrs, o.Broadcast = f.addrs, f.broadcast
	}
	e, err := kernel.New(t.Kernel, o)
	if err != nil {
		return nil, err
	}
	m := inProcess{e}
	if f.network == nil {
		return m, nil
	}
	return networked{m, f.network(e)}, nil
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

type inProcess struct{ *engine.Engine }

// Inbound implements [PacketPath]. Recordings of illumos begin where IP hands a packet to IPsec, so what IP itself
// refuses is not asked there.
func (m inProcess) Inbound(p *packet.Packet) {
	k, ok := m.Kernel().(interface{ InboundIPsec(*packet.Packet) })
	if !ok {
		m.Engine.Inbound(p)
		return
	}
	m.Ledger().Inject(p)
	k.InboundIPsec(p)
}

func (m inProcess) Watch(f func(*packet.Packet, packet.Verdict)) func() { return m.Ledger().Watch(f) }
func (m inProcess) InFlight() uint64                                    { return m.Ledger().Balance().InFlight }

// Busy uses that posted work is done at once unless the control lock is held.
func (m inProcess) Busy() bool {
	busy := true
	m.Post(func() { busy = false })
	return busy
}

func (m inProcess) Own() any { return m.Kernel() }

// Align implements [Passing].
func (m inProcess) Align() {
	if now := m.Now(); now.Truncate(time.Second) != now {
		m.Advance(now.Truncate(time.Second).Add(time.Second))
	}
}

// Wait implements [Passing].
func (m inProcess) Wait(until time.Time) {
	if next, ok := m.Next(); ok && next.Before(until) {
		until = next
	}
	m.Advance(until)
}

// networked is an engine whose kernel knows a host's network.
type networked struct {
	inProcess
	Network
}

// family is one kind of recordings: the kernel they come from and what it has of its own.
type family struct {
	kernel           string
	builtin          []string // folders of testdata/golden
	dialect          *wire.Dialect
	addrs, broadcast []netip.Addr
	isolates         bool // a scenario that is not said to have a network has none of these addresses
	network          func(*engine.Engine) Network
	points           map[string]bool // the named points that steps may refer to
	ops              map[string]*op  // beside the common ones
	suite            func(protection) (*ipsec.Suite, error)
	probe            func() []byte // a message that a live kernel answers
	// by how many seconds times may differ: the recording could cross into another second
	slack      int64
	spis       wire.SPIRange // from which SPIs are picked when a request says nothing
	deviations []deviation
	converse   func(seed uint64, messages int) []*Scenario // makes random conversations

	flushes []wire.MsgType // the messages that remove what others have left

	// Where SAs come in pairs: pair finds the SPI of the other one that a message names, and updatePair is the message
	// that changes the lifetimes of both. Else they are zero.
	pair       func(d *wire.Dialect, msg []byte) (wire.SPI, bool)
	updatePair wire.MsgType
	// countdown are the messages whose answers the kernel numbers itself: the number is how many are still to come, and
	// none that the request had.
	countdown []wire.MsgType
	// A running engine goes on counting where a fresh one begins. named says why a message that names something by such
	// a number cannot be sent, "" if it names nothing so; numbers says where they are in messages that come.
	named   func(d *wire.Dialect, msg []byte) string
	numbers func(d *wire.Dialect, msg []byte) []Span

	// What else varies in the header of a message, and in an extension. markHeader says whether it is an ACQUIRE of the
	// kernel's own, with a number that the whole machine counts. A copied message is one that a program sent.
	markHeader func(k *marker, h wire.Header, size int, mark marking) (acquire bool)
	markExt    func(k *marker, h wire.Header, x wire.Ext, copied bool, mark marking)
}

// deviation is a difference that is meant. It does not wave a scenario through: amend changes the recording into the
// answer that is expected of the emulator, and that is compared as exactly as the recording was.
type deviation struct {
	name, reason string
	// amend rewrites sc if the deviation concerns it, and says whether it did. sc is a copy to be changed at will.
	amend func(sc *Scenario) bool
}

// families has one row for each kernel with recordings that can be played. It is filled by the files named after them.
var families = map[string]*family{}

func familyOf(kernel string) (*family, error) {
	if f, ok := families[kernel]; ok {
		return f, nil
	}
	return nil, fmt.Errorf("unknown kernel %q (known: %s)", kernel, strings.Join(Kernels(), ", "))
}

// Kernels lists the kernels whose recordings can be played.
func Kernels() []string {
	var names []string
	for n := range families {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (f *family) op(name string) (*op, bool) {
	if o, ok := f.ops[name]; ok {
		return o, true
	}
	o, ok := commonOps[name]
	return o, ok
}

func addrs(list ...string) (as []netip.Addr) {
	for _, s := range list {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}
