package packet

import (
	"sync"
	"sync/atomic"
)

// A Packet is the token of one IP datagram on its way through an engine. Whoever holds it must, exactly once, End it or
// push it onto a [Queue] that somebody else empties: that of a LARVAL SA, that of an acquire record.
//
// ID, Data, Room and Done are set by the caller before [Ledger.Inject] and not changed after it. Data belongs to the
// engine until the final verdict.
type Packet struct {
	ID   uint64 // the injector's own; nothing here looks at it
	Data []byte // from the first byte of the IP header
	// Room, if it is large enough, is where the Inner of the final verdict is put, so that nothing is allocated for it.
	// It must not overlap Data, and belongs to the engine until the final verdict.
	Room []byte
	// Done, if set, hears every verdict of the packet in order: Queued each time it is put on an SA, Held once however
	// many SAs it then waits for, and at last the final one. It is called on whatever goroutine decided, with no lock
	// of an engine held, and must not block.
	Done func(*Packet, Verdict)

	// Made is the kernel's: what it has made of the packet so far, while that waits. It is not changed in a [Queue].
	Made []byte

	ledger *Ledger
	lane   uint8         // of counters
	weight int64         // in the queue it waits in, see weigh; guarded by the lock of that queue
	next   *Packet       // link of the [Queue] it waits in
	waits  atomic.Uint32 // times it was put into a queue, written under the lock of that queue
	kind   atomic.Uint32 // Queued or Held: what the last wait was
	ended  atomic.Bool

	report   sync.Mutex // orders the calls of Done
	reported uint32     // waits that Done has heard of
}

// Lanes is how many there are; see [Packet.Lane].
const Lanes = stripes

// Lane is a number below [Lanes] that packets injected by one core mostly have in common. Counters that are kept once
// for each lane are not written by several cores in turn, which costs more than the counting.
func (p *Packet) Lane() int { return int(p.lane) }

// weight is what a packet that waits counts for beyond its bytes, so that small ones are bounded as well.
const weight = 256

// weigh is the memory that the packet takes while it waits, in bytes.
func (p *Packet) weigh() int64 {
	return int64(weight + len(p.Data) + cap(p.Room) + cap(p.Made))
}

// wait notes that the packet has been put into a queue, as Queued or Held; the queue's lock is held.
func (p *Packet) wait(k Kind) {
	p.kind.Store(uint32(k))
	p.waits.Add(1)
}

// Report tells Done of the waits it has not heard of yet. It may be called after somebody else has already ended the
// packet: then [Packet.End] has told them in the right order and nothing happens here.
func (p *Packet) Report() {
	p.report.Lock()
	defer p.report.Unlock()
	p.reportWaits()
}

// reportWaits needs p.report held.
func (p *Packet) reportWaits() {
	for n := p.waits.Load(); p.reported < n; p.reported++ {
		k := Kind(p.kind.Load())
		if k == Held && p.reported > 0 {
			continue
		}
		p.ledger.waited(p, Verdict{Kind: k})
		if p.Done != nil {
			p.Done(p, Verdict{Kind: k})
		}
	}
}

// End gives the final verdict, exactly once: a second call is a bug of the engine and panics. No lock may be held.
func (p *Packet) End(v Verdict) {
	if p.ended.Swap(true) {
		panic("packet: packet ended twice")
	}
	if p.waits.Load() != 0 { // else nobody else can be about to report
		p.report.Lock()
		defer p.report.Unlock()
		p.reportWaits()
	}
	p.ledger.end(p, v)
	if p.Done != nil {
		p.Done(p, v)
	}
}
