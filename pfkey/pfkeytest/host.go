package pfkeytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pfkeyd/pfkeyd/hostile"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/internal/netns"
	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TB is what a Host needs of a test; *testing.T, *testing.B and *testing.F have it.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Cleanup(func())
	Context() context.Context
	Output() io.Writer
}

// A Host is a machine whose kernel is emulated, or a network namespace with this machine's own. It is safe for
// concurrent use.
type Host struct {
	t        TB
	face     *kernel.Engine
	engine   *engine.Engine  // behind the face
	liar     *hostile.Kernel // nil: an honest one
	sockets  pfkey.Engine    // the engine, or the liar in front of it, behind log
	log      *requestLog
	patience time.Duration
	options  engine.Options
	ns       *netns.Namespace // nil: the kernel is emulated
	seals    seals
	cable    atomic.Pointer[cable] // nil: none
	pids     atomic.Int32
	ids      atomic.Uint64

	mu       sync.Mutex
	clients  []*pfkey.Client
	programs []*Program
	address  string // of Serve
	readers  []*engine.EventReader
	closers  []func() // of what Serve started, last first
	closed   bool
}

// New makes a host for a test, and closes it when the test ends. Wrong options fail the test. Where this machine's own
// kernel cannot be had, a test that wants it is skipped with the reason.
func New(t TB, options ...HostOption) *Host {
	t.Helper()
	h, err := newHost(t, options)
	if absent, ok := errors.AsType[*absentError](err); ok {
		t.Skipf("%v", absent)
		return nil
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(h.Close)
	return h
}

// NewHost makes a host outside of a test, for examples and programs; [Host.Close] ends it. What would fail a test
// panics.
func NewHost(options ...HostOption) (*Host, error) { return newHost(outside{}, options) }

// outside stands where there is no test.
type outside struct{}

func (outside) Helper()                           {}
func (outside) Errorf(format string, args ...any) { panic(fmt.Sprintf("pfkeytest: "+format, args...)) }
func (outside) Fatalf(format string, args ...any) { panic(fmt.Sprintf("pfkeytest: "+format, args...)) }
func (outside) Skipf(format string, args ...any)  { panic(fmt.Sprintf("pfkeytest: "+format, args...)) }
func (outside) Cleanup(func())                    {}
func (outside) Context() context.Context          { return context.Background() }
func (outside) Output() io.Writer                 { return os.Stderr }

func newHost(t TB, options []HostOption) (*Host, error) {
	c := config{
		kernel:   "illumos",
		patience: defaultPatience,
		engine: engine.Options{
			Addrs:    []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
			Tunables: map[string]string{},
		},
	}
	copy(c.seed[:], "pfkeytest")
	for _, o := range options {
		if err := o(&c); err != nil {
			return nil, err
		}
	}
	c.engine.Rand = &random{source: rand.NewChaCha8(c.seed)}
	face, ns, err := boot(&c)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			face.Close()
			if ns != nil {
				ns.Close()
			}
		}
	}()
	for _, text := range c.policy {
		if err = face.LoadPolicy(strings.NewReader(text), "policy"); err != nil {
			return nil, fmt.Errorf("pfkeytest: %w", err)
		}
	}
	e := engine.Of(face)
	e.KeepEvents()
	h := &Host{t: t, face: face, engine: e, sockets: e, ns: ns,
		options: c.engine, patience: c.patience, seals: newSeals(c.seed)}
	if c.liar != "" {
		var script *hostile.Script
		if script, err = hostile.Parse(strings.NewReader(c.liar), e.Dialect()); err != nil {
			return nil, fmt.Errorf("pfkeytest: hostile script: %w", err)
		}
		h.liar = hostile.New(e, script)
		h.sockets = h.liar
	}
	h.log = newRequestLog(h.sockets)
	h.sockets = h.log
	h.pids.Store(1000)
	return h, nil
}

// boot makes the kernel.
func boot(c *config) (*kernel.Engine, *netns.Namespace, error) {
	if kernels.Own(c.kernel) {
		return bootOwn(c)
	}
	face, err := kernel.New(c.kernel, kernel.Options(c.engine))
	return face, nil, err
}

// random is a source that several goroutines may read.
type random struct {
	mu     sync.Mutex
	source *rand.ChaCha8
}

func (r *random) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.source.Read(b)
}

// Engine returns the engine itself, for what has no method here.
func (h *Host) Engine() *kernel.Engine { return h.face }

// Faults says how often the kernel has lied, by the names of the faults in the script of [Hostile].
func (h *Host) Faults() map[string]uint64 {
	if h.liar == nil {
		return nil
	}
	return h.liar.Counters()
}

// Open makes a PF_KEY socket of the host, for programs that speak PF_KEY themselves. It is closed by whoever opened it.
func (h *Host) Open(cred pfkey.Cred) (pfkey.Socket, pfkey.Errno) {
	return h.sockets.Open(cred, 3, 2) // SOCK_RAW, PF_KEY_V2
}

// Client opens a PF_KEY socket for a privileged process of its own, with a process number of its own, and returns a
// client on it. Host.Close closes it.
func (h *Host) Client(options ...pfkey.ClientOption) *pfkey.Client {
	h.t.Helper()
	cred := pfkey.Cred{PID: h.pids.Add(1), Privileged: true}
	sock, errno := h.Open(cred)
	if errno != wire.OK {
		h.t.Fatalf("open a PF_KEY socket: %v", errno)
	}
	c := pfkey.NewClientOn(sock, h.engine.Dialect(), cred, options...)
	h.mu.Lock()
	h.clients = append(h.clients, c)
	h.mu.Unlock()
	return c
}

// Now returns what the host's clock shows.
func (h *Host) Now() time.Time { return h.engine.Now() }

// Advance moves the clock forward and does everything that is due until then: states change, EXPIRE messages are
// queued, packets that waited too long are dropped. When it returns all of that has happened. A host on a [Cable] takes
// the other one along.
func (h *Host) Advance(d time.Duration) {
	h.t.Helper()
	if h.mayNot("Advance", "the time") {
		return
	}
	if c := h.cable.Load(); c != nil {
		c.advance(d)
		return
	}
	h.engine.Advance(h.engine.Now().Add(d))
}

// Inject hands the host an IP datagram from the network: ESP, AH or ESP in UDP ([Host.Seal] makes them). When it
// returns the packet has a verdict or waits, as far as nothing else happens on the host at the same time. The host does
// not keep data.
func (h *Host) Inject(data []byte) *Packet {
	h.t.Helper()
	h.mayNot("Inject", "the way of packets")
	p := h.packet(data)
	h.engine.Inbound(&p.packet)
	return p
}

// InjectOutbound hands the host a plaintext IP datagram that it is to send ([UDP], [Ping] and [SYN] make some);
// otherwise it is as Inject.
func (h *Host) InjectOutbound(data []byte) *Packet {
	h.t.Helper()
	h.mayNot("InjectOutbound", "the way of packets")
	p := h.packet(data)
	h.engine.Outbound(&p.packet, "")
	return p
}

// Close ends everything that the host has started: programs, clients, servers, at last the engine, whose waiting
// packets are dropped with the reason shutdown. A second call does nothing. Tests need not call it.
//
// It is an error of the test if a packet has no verdict then: somebody has lost it.
func (h *Host) Close() {
	h.t.Helper()
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return
	}
	h.closed = true
	clients, closers, programs := h.clients, h.closers, h.programs
	h.mu.Unlock()
	for _, p := range programs {
		p.end()
	}
	if c := h.cable.Load(); c != nil {
		c.unplug()
	}
	for _, c := range clients {
		c.Close()
	}
	for i := range closers {
		closers[len(closers)-1-i]()
	}
	h.engine.Close()
	if h.ns != nil {
		h.ns.Close()
	}
	h.mu.Lock()
	for _, r := range h.readers {
		r.Close()
	}
	h.mu.Unlock()
	if b := h.engine.Ledger().Balance(); b.Held != 0 || b.InFlight != 0 {
		h.t.Errorf("the kernel lost packets: %d injected, %d ended, %d still held, %d nowhere", b.Injected, b.Ended,
			b.Held, b.InFlight)
	}
}
