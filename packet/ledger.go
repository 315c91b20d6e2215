package packet

import (
	"sync"
	"sync/atomic"
)

// stripes spreads the counters of a ledger over cache lines, so that packets on different cores do not share one.
const stripes = 8

// Ledger counts every packet of an engine from injection to its one final verdict. The zero value is ready.
//
// At every moment injected = ended + held + in flight; what is in flight is the difference, zero when the engine is at
// rest. It is safe for concurrent use.
//
// It also bounds the memory of the packets that wait: all queues of an engine together hold no more bytes than its
// limit, and a [Queue] gives back a packet that would be too much. A packet counts for its Data, its Room, its Made and
// 256 bytes, from the moment it is put into a queue until it is taken out. The limit is 64 MiB, or what
// [Ledger.LimitHeld] says.
type Ledger struct {
	lanes [stripes]stripe

	// packets held, in units of onePacket, and their bytes: of all lanes in one, because a limit has to see them all
	held  atomic.Int64
	limit int64    // 0: defaultHeldLimit
	_     [64]byte // what follows is read for every packet

	hear     func(*Packet, Verdict) // nil: nobody; not changed once packets are injected
	mu       sync.Mutex             // guards writes of watchers
	watchers atomic.Pointer[[]*watcher]
}

type stripe struct {
	injected atomic.Uint64
	ended    [Sent + 1]atomic.Uint64
	dropped  [len(reasonNames)]atomic.Uint64
	waits    atomic.Uint64 // verdicts that were not final
	_        [64]byte
}

type watcher struct{ f func(*Packet, Verdict) }

// defaultHeldLimit is how many bytes of packets a ledger holds unless told otherwise, and maxHeldLimit the most that it
// can be told.
const (
	defaultHeldLimit = 64 << 20
	maxHeldLimit     = onePacket - 1
)

// LimitHeld sets how many bytes of packets may wait at a time, at least 1; below and above what can be (16 GiB) the
// nearest is taken. It is called before the first packet is injected.
func (l *Ledger) LimitHeld(bytes int64) { l.limit = min(max(bytes, 1), maxHeldLimit) }

func (l *Ledger) heldLimit() int64 {
	if l.limit == 0 {
		return defaultHeldLimit
	}
	return l.limit
}

// onePacket is what a packet counts for in Ledger.held, above the bytes.
const onePacket = 1 << 34

// hold charges a number of packets and of bytes, which may be negative. It returns false, and charges nothing, if the
// bytes were more than there may be. It takes no lock.
func (l *Ledger) hold(packets, bytes int64) bool {
	change := packets*onePacket + bytes
	if bytes <= 0 {
		if change != 0 {
			l.held.Add(change)
		}
		return true
	}
	for {
		n := l.held.Load()
		if n%onePacket+bytes > l.heldLimit() {
			return false
		}
		if l.held.CompareAndSwap(n, n+change) {
			return true
		}
	}
}

func (l *Ledger) lane(p *Packet) *stripe { return &l.lanes[p.lane] }

// affinity gives packets that one core injects the same lane: what a core puts into a pool it mostly gets back.
var affinity = sync.Pool{New: func() any {
	lane := uint8(lanesGiven.Add(1) % stripes)
	return &lane
}}

var lanesGiven atomic.Uint32

// Inject takes a packet in. Its Data and Done must not change from here on.
func (l *Ledger) Inject(p *Packet) {
	lane := affinity.Get().(*uint8)
	p.ledger, p.lane = l, *lane
	affinity.Put(lane)
	l.lane(p).injected.Add(1)
}

func (l *Ledger) end(p *Packet, v Verdict) {
	if l.hear != nil {
		l.hear(p, v)
	}
	s := l.lane(p)
	if v.Kind == Dropped {
		s.dropped[v.Reason].Add(1)
	}
	s.ended[v.Kind].Add(1)
	if ws := l.watchers.Load(); ws != nil {
		for _, w := range *ws {
			w.f(p, v)
		}
	}
}

// waited tells of a verdict that is not final.
func (l *Ledger) waited(p *Packet, v Verdict) {
	if l.hear != nil {
		l.hear(p, v)
	}
	l.lane(p).waits.Add(1)
}

// Verdicts returns how many verdicts there have been, final or not: how many times who hears was told and has returned.
// It takes no lock.
func (l *Ledger) Verdicts() (n uint64) {
	for i := range l.lanes {
		s := &l.lanes[i]
		n += s.waits.Load()
		for k := range s.ended {
			n += s.ended[k].Load()
		}
	}
	return n
}

// Hear has f called for every verdict, final or not, before it is counted and before the packet's Done is. f runs on
// whatever goroutine decided, with no lock of an engine held; it must not block, and must not keep v.Inner. There is
// one who hears; Hear is called before the first packet is injected.
func (l *Ledger) Hear(f func(*Packet, Verdict)) { l.hear = f }

// Watch calls f for every final verdict from now on, until stop is called. f runs on whatever goroutine decided, with
// no lock of an engine held; it must not block, and must not keep v.Inner.
func (l *Ledger) Watch(f func(*Packet, Verdict)) (stop func()) {
	w := &watcher{f}
	l.setWatchers(func(ws []*watcher) []*watcher { return append(ws, w) })
	return func() {
		l.setWatchers(func(ws []*watcher) []*watcher {
			for i := range ws {
				if ws[i] == w {
					return append(ws[:i], ws[i+1:]...)
				}
			}
			return ws
		})
	}
}

func (l *Ledger) setWatchers(change func([]*watcher) []*watcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ws []*watcher
	if old := l.watchers.Load(); old != nil {
		ws = append(ws, *old...)
	}
	ws = change(ws)
	if len(ws) == 0 {
		l.watchers.Store(nil)
		return
	}
	l.watchers.Store(&ws)
}

// Balance is a reading of a ledger. Its maps belong to the caller.
type Balance struct {
	Injected uint64            `json:"injected"`
	Ended    uint64            `json:"ended"`
	Held     uint64            `json:"held"`
	InFlight uint64            `json:"in_flight"`
	Verdicts map[string]uint64 `json:"verdicts"` // final verdicts by name
	Reasons  map[string]uint64 `json:"reasons"`  // dropped packets by reason

	HeldBytes int64 `json:"held_bytes"` // the memory of the packets held
	HeldLimit int64 `json:"held_limit"` // what there may be of it
}

// Balance reads the ledger. While packets move, the parts are read one after the other; at rest they are exact.
func (l *Ledger) Balance() Balance {
	b := Balance{Verdicts: map[string]uint64{}, Reasons: map[string]uint64{}}
	for i := range l.lanes {
		s := &l.lanes[i]
		for k := range s.ended {
			if n := s.ended[k].Load(); n != 0 {
				b.Ended += n
				b.Verdicts[Kind(k).String()] += n
			}
		}
		for r := range s.dropped {
			if n := s.dropped[r].Load(); n != 0 {
				b.Reasons[Reason(r).String()] += n
			}
		}
	}
	held := l.held.Load()
	b.Held, b.HeldBytes, b.HeldLimit = uint64(held/onePacket), held%onePacket, l.heldLimit()
	// Injected is read last: a packet that moves on in the meantime is seen in flight, never missing.
	for i := range l.lanes {
		b.Injected += l.lanes[i].injected.Load()
	}
	b.InFlight = b.Injected - b.Ended - b.Held
	return b
}
