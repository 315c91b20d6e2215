package engine

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/feed"
	"github.com/pfkeyd/pfkeyd/kernel/event"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Engine is one running instance of a kernel. Its methods are safe for concurrent use.
type Engine struct {
	name   string
	kernel Kernel
	paths  Packets
	timed  Timed
	host   Host
	clock  func() time.Time // nil: virtual
	rand   io.Reader
	log    *slog.Logger
	step   func(string, *packet.Packet)
	ledger packet.Ledger
	wake   chan struct{}
	events events

	virtual atomic.Int64 // the virtual clock, in nanoseconds of Unix time

	mu sync.Mutex // the control lock; see the lock order in doc.go. It guards the kernel and everything below.
	// sockets are in the order of opening.
	sockets []*Socket
	opened  uint64
	queued  struct{ messages, cost int } // in the receive queues of all sockets
	waiting map[*byte]int                // in how many of them a message is, by its first byte
	// registered and promiscuous are how many sockets are.
	registered, promiscuous int
	after                   []func()  // to run once mu is released, in order
	hear                    []*Socket // sockets whose queue has become non-empty since mu was taken
	next                    time.Time // what Next said last, zero if it said nothing
	stopped                 bool

	posted struct {
		sync.Mutex // a leaf
		work       []func()
		waiting    atomic.Bool // work is not empty; read without the lock
	}
}

// New makes an engine that runs the kernel which boot returns. boot may keep e, and must not call its methods that take
// the control lock. Use package kernel to make one by name.
func New(name string, o Options, boot func(e *Engine) (Kernel, error)) (*Engine, error) {
	e := &Engine{
		name:  name,
		host:  newHost(o.Addrs, o.Broadcast),
		clock: o.Clock,
		rand:  o.Rand,
		log:   o.Log,
		step:  o.Step,
		wake:  make(chan struct{}, 1),

		waiting: map[*byte]int{},
	}
	e.events.feed = feed.New[*record](e.events.done.Load, e.ledger.Verdicts)
	e.ledger.Hear(e.notePacket)
	if e.rand == nil {
		e.rand = rand.Reader
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.virtual.Store(o.Start.UnixNano())
	if o.Start.IsZero() {
		e.virtual.Store(defaultStart.UnixNano())
	}
	k, err := boot(e)
	if err != nil {
		return nil, err
	}
	e.kernel = k
	var ok bool
	if e.paths, ok = k.(Packets); !ok {
		e.paths = noPackets{}
	}
	if e.timed, ok = k.(Timed); !ok {
		e.timed = noTime{}
	}
	return e, nil
}

// Name returns the name of the emulated kernel.
func (e *Engine) Name() string { return e.name }

// Kernel returns the emulated kernel, for the calls that only it has.
func (e *Engine) Kernel() Kernel { return e.kernel }

// Dialect returns the table of wire numbers the engine speaks.
func (e *Engine) Dialect() *wire.Dialect { return e.kernel.Dialect() }

// Host returns the host whose kernel this is.
func (e *Engine) Host() *Host { return &e.host }

// Log returns the logger; it discards unless one was given.
func (e *Engine) Log() *slog.Logger { return e.log }

// Ledger returns the ledger that counts the engine's packets.
func (e *Engine) Ledger() *packet.Ledger { return &e.ledger }

// Uint32 returns a random number from the source given in the options.
func (e *Engine) Uint32() uint32 {
	var b [4]byte
	e.Random(b[:])
	return binary.NativeEndian.Uint32(b[:])
}

// Random fills b from the source of randomness given in the options. A source that fails is a broken installation.
func (e *Engine) Random(b []byte) {
	if _, err := io.ReadFull(e.rand, b); err != nil {
		panic("engine: no randomness: " + err.Error())
	}
}

// Rand is [Engine.Random] as a reader, which has no error.
func (e *Engine) Rand() io.Reader { return randomness{e} }

type randomness struct{ e *Engine }

func (r randomness) Read(b []byte) (int, error) {
	r.e.Random(b)
	return len(b), nil
}

// Step tells the test hook, if there is one, that the code has reached a named point of the race.
func (e *Engine) Step(point string, p *packet.Packet) {
	if e.step != nil {
		e.step(point, p)
	}
}

// lock takes the control lock.
func (e *Engine) lock() { e.mu.Lock() }

// unlock finishes one piece of control work: it runs what packets have posted, releases the lock, and then does what
// must not be done under it. If something was posted while the lock could not be had, it goes round again.
func (e *Engine) unlock() {
	var few [4]*Socket // what there mostly is at most
	for {
		e.runPosted()
		e.events.forgetCopy()
		after, hear := e.after, append(few[:0], e.hear...)
		e.after = nil
		clear(e.hear)
		e.hear = e.hear[:0]
		e.planWake()
		e.mu.Unlock()
		for _, f := range after {
			f()
		}
		for _, s := range hear {
			s.tell()
		}
		if !e.posted.waiting.Load() || !e.mu.TryLock() {
			return
		}
	}
}

// runPosted needs e.mu held.
func (e *Engine) runPosted() {
	for e.posted.waiting.Load() {
		e.posted.Lock()
		work := e.posted.work
		e.posted.work = nil
		e.posted.waiting.Store(false)
		e.posted.Unlock()
		for _, f := range work {
			f()
		}
	}
}

// Do runs f under the control lock, as a request runs.
func (e *Engine) Do(f func()) {
	e.lock()
	defer e.unlock()
	f()
}

// Post hands control work over from a packet's way: f runs under the control lock, now if it is free, else when its
// holder lets go. Post never waits for the lock. Packets may come faster than the holder gets to their work, so the
// caller bounds it: it posts once for an SA or a record, until that has run. What it cannot bound it gives to
// [Engine.TryPost].
func (e *Engine) Post(f func()) { e.post(f, math.MaxInt) }

// maxPosted is how many pieces of work may wait for one more to be taken by TryPost.
const maxPosted = 1 << 16

// TryPost is [Engine.Post] for work that the next packet asks for again if need be. It returns false, and f will not
// run, if too much waits already.
func (e *Engine) TryPost(f func()) bool { return e.post(f, maxPosted) }

func (e *Engine) post(f func(), most int) bool {
	e.posted.Lock()
	if len(e.posted.work) >= most {
		e.posted.Unlock()
		return false
	}
	e.posted.work = append(e.posted.work, f)
	e.posted.waiting.Store(true)
	e.posted.Unlock()
	if e.mu.TryLock() {
		e.unlock()
	}
	return true
}

// After runs f once the control lock, which the caller holds, has been released: verdicts and packets that go on.
func (e *Engine) After(f func()) { e.after = append(e.after, f) }

// Inbound injects a packet that came in from the network. Its verdicts come through p.Done.
func (e *Engine) Inbound(p *packet.Packet) {
	e.ledger.Inject(p)
	e.paths.Inbound(p)
}

// Outbound injects a plaintext packet that the host wants to send; tunnel names the tunnel interface it goes through,
// empty for none.
func (e *Engine) Outbound(p *packet.Packet, tunnel string) {
	e.ledger.Inject(p)
	e.paths.Outbound(p, tunnel)
}

// Open makes a PF_KEY socket.
func (e *Engine) Open(c pfkey.Cred, typ, proto int) (pfkey.Socket, pfkey.Errno) {
	e.lock()
	defer e.unlock()
	if e.stopped {
		return nil, wire.ENETDOWN
	}
	s := &Socket{e: e, cred: c}
	var errno pfkey.Errno
	if s.end, errno = e.kernel.Open(s, c, typ, proto); errno != wire.OK {
		return nil, errno
	}
	e.opened++
	s.number = e.opened
	e.sockets = append(e.sockets, s)
	s.noteSocket(event.Opened)
	return s, wire.OK
}

// Sockets returns the open sockets in the order of opening. The control lock is held; the slice is the engine's.
func (e *Engine) Sockets() []*Socket { return e.sockets }

// Queued returns how many messages wait in the receive queues of all sockets together, and what they count for there;
// see [Socket.Queued]. The control lock is held.
func (e *Engine) Queued() (messages, cost int) { return e.queued.messages, e.queued.cost }

// Close stops the engine: every packet that waits ends with reason shutdown, and no socket can be opened any more.
func (e *Engine) Close() {
	e.lock()
	defer e.unlock()
	if !e.stopped {
		e.stopped = true
		e.kernel.Stop()
	}
}

func (e *Engine) forget(s *Socket) {
	if i := slices.Index(e.sockets, s); i >= 0 {
		e.sockets = slices.Delete(e.sockets, i, i+1)
	}
}

// Emit reports a packet that the kernel itself has made and sends, such as a keepalive: it is injected and ended at
// once, with id 0. No lock is held.
func (e *Engine) Emit(pkt []byte) {
	p := &packet.Packet{Data: pkt}
	e.ledger.Inject(p)
	p.End(packet.Verdict{Kind: packet.Sent, Inner: pkt})
}
