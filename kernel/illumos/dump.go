package illumos

import (
	"cmp"
	"container/heap"
	"math"
	"runtime"
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A DUMP shows the database as it is when it is asked for, to the reader and to whoever is promiscuous, before all that
// is said later; sadb_dump. Of a large one only the beginning is made at once, and more as it is read, in steps that
// are short however many SAs there are. Nobody can tell:
//
//   - It is walked in the tables themselves. SAs that have come since, or have moved, stand before all others of their
//     bucket, and are passed over.
//   - An SA that is about to change, to move or to go is described first, for every DUMP that has not come to it: see
//     preserve.
//   - Whatever else a socket is told finds its queue as full as if all had been made at once, and comes behind it: see
//     catchUp.
type dump struct {
	number  uint64 // they are numbered as they come
	newest  uint64 // SAs that were placed later are not shown
	hdr     wire.Header
	timeout uint64 // of X_EDUMP: SAs that have not been used for longer are left out; 0: none is
	asked   int64  // when it was asked for
	tables  []*table
	hearers []*client // who is left of them
	end     []byte    // the last message

	at   int   // the bucket it is in, counted through all tables
	next *sa   // the SA there that it comes to next
	last place // of the SA it has come to last

	preserved preservedSAs
	left      int // SAs it has not come to
	made      int // messages
	bytes     int // of these
	memory    engine.Arena
}

// place is where an SA stands in the order of a DUMP.
type place struct {
	bucket int
	unspec bool   // SAs without a specified source come last in their bucket
	placed uint64 // in each group the one placed last comes first
}

func (p place) compare(o place) int {
	switch {
	case p.bucket != o.bucket:
		return cmp.Compare(p.bucket, o.bucket)
	case p.unspec != o.unspec && o.unspec:
		return -1
	case p.unspec != o.unspec:
		return 1
	}
	return cmp.Compare(o.placed, p.placed)
}

// preservedSAs are messages about SAs as they were, by their place; nil for those that are not shown. It is a heap.
type preservedSAs []preservedSA

type preservedSA struct {
	place
	msg []byte
}

func (h preservedSAs) Len() int           { return len(h) }
func (h preservedSAs) Less(i, j int) bool { return h[i].compare(h[j].place) < 0 }
func (h preservedSAs) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *preservedSAs) Push(x any)        { *h = append(*h, x.(preservedSA)) }
func (h *preservedSAs) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = preservedSA{}
	*h = (*h)[:last]
	return x
}

const (
	stepBytes  = 32 << 10 // that one step makes, about
	stepVisits = 1024     // SAs that one step looks at
)

// startDump describes every SA of the consumers, keys included, to whoever asks.
func (k *Kernel) startDump(over []*protocol, r *request) {
	d := &dump{newest: k.placed, hdr: r.hdr, asked: k.now()}
	if raw := r.ext[wire.IllumosExtXEDump]; raw != nil {
		v, _ := k.d.ParseEDump(raw)
		d.timeout = v.Timeout
	}
	for _, p := range over {
		k.countFor(p, keysockIn, 1)
		for _, f := range p.families() {
			d.tables = append(d.tables, &f.out, &f.in)
			d.left += f.out.n + f.in.n
		}
	}
	h := r.hdr
	h.Errno, h.Seq, h.Len = 0, 0, wire.HeaderLen/8
	d.end = k.d.AppendHeader(nil, h)
	k.begin(d, r.sender)
}

// refuseDump gives the answer to a DUMP that is refused: one that has nothing but its end, and so comes behind those
// that are not read yet.
func (k *Kernel) refuseDump(answer []byte, sender *client) { k.begin(&dump{end: answer}, sender) }

// begin has those who are to hear a dump hear it.
func (k *Kernel) begin(d *dump, sender *client) {
	k.dumpNumber++
	d.number = k.dumpNumber
	for _, s := range k.e.Sockets() {
		if c := clientOf(s); !c.noLoop && (s.Promisc() || c == sender) {
			d.hearers = append(d.hearers, c)
		}
	}
	if len(d.hearers) == 0 {
		return
	}
	d.enter(0)
	k.dumps = append(k.dumps, d)
	k.pending.Store(d.number)
	// Of two dumps that somebody hears both, the first is made to its end: so there are no more of them than sockets.
	k.bySteps(func() bool {
		before := k.before(d)
		if before != nil {
			k.step(before)
		}
		return before != nil
	})
	for _, c := range d.hearers {
		k.feed(c)
	}
}

// before is the first dump that has to be told before d, because somebody hears both; nil if there is none.
func (k *Kernel) before(d *dump) *dump {
	for _, other := range k.dumps {
		switch {
		case other == d:
			return nil
		case slices.ContainsFunc(other.hearers, d.hears):
			return other
		}
	}
	return nil
}

// bySteps calls f until it returns false, each time under the control lock, but only once this is released by its
// holder, who calls bySteps. Others have their turn in between.
func (k *Kernel) bySteps(f func() (more bool)) {
	k.e.After(func() {
		for more := true; more; runtime.Gosched() {
			k.e.Do(func() { more = f() })
		}
	})
}

// enter begins with a bucket.
func (d *dump) enter(bucket int) {
	d.at, d.next = bucket, nil
	d.last = place{bucket: bucket, placed: math.MaxUint64}
	if t := bucket / buckets; t < len(d.tables) {
		d.next = d.tables[t].buckets[bucket%buckets].head
	}
}

// placeOf is where an SA that is linked stands; false if its table is not of this DUMP.
func (d *dump) placeOf(s *sa) (place, bool) {
	t := slices.Index(d.tables, s.in)
	return place{t*buckets + s.in.bucket(s), s.src.IsUnspecified(), s.placed}, t >= 0
}

// step makes some messages of a dump, or of the one that has to be told before it because somebody hears both. The
// control lock is held.
func (k *Kernel) step(d *dump) {
	for first := k.before(d); first != nil; first = k.before(d) {
		d = first // nobody hears two DUMPs mixed, however they hang together
	}
	if d.advance(k) {
		return
	}
	d.tell(k, d.end)
	k.endDump(d)
}

func (d *dump) hears(c *client) bool { return slices.Contains(d.hearers, c) }

// endDump forgets a dump.
func (k *Kernel) endDump(d *dump) {
	for _, p := range d.preserved { // there are some if nobody is left who hears it
		k.e.Forget(p.msg)
	}
	k.dumps = slices.DeleteFunc(k.dumps, func(other *dump) bool { return other == d })
	if len(k.dumps) == 0 {
		k.pending.Store(0)
	}
}

func (d *dump) tell(k *Kernel, msg []byte) {
	for _, c := range d.hearers {
		c.s.Deliver(msg, true)
	}
	k.e.Forget(msg) // if nobody has taken it
	d.made++
	d.bytes += len(msg)
}

// advance goes on for a step; false: there is nothing left.
func (d *dump) advance(k *Kernel) (more bool) {
	most := d.bytes + stepBytes
	for range stepVisits {
		if d.bytes >= most {
			return true
		}
		s, here := d.next, place{bucket: d.at + 1}
		if s != nil {
			here, _ = d.placeOf(s)
		}
		switch {
		case len(d.preserved) > 0 && d.preserved[0].compare(here) <= 0 && d.preserved[0].bucket == d.at:
			// If it is s itself, s is passed over below.
			d.left--
			if p := heap.Pop(&d.preserved).(preservedSA); p.msg != nil {
				d.tell(k, p.msg)
			}
		case s == nil && d.at+1 >= len(d.tables)*buckets:
			return false
		case s == nil:
			d.enter(d.at + 1)
		default:
			d.next, d.last = s.link[linkBucket].next, here
			if s.placed > d.newest || s.preserved.Load() >= d.number {
				continue
			}
			d.left--
			if d.shows(s) {
				d.tell(k, d.describe(k, s))
			}
		}
	}
	return true
}

// shows says whether an SA is shown: not if it is the inbound copy of an outbound one, nor if it has not been used for
// too long.
func (d *dump) shows(s *sa) bool {
	return (s.in.isOutbound() || s.peerSA.Load() == nil) && (d.timeout == 0 || s.idleFor(d.asked) <= d.timeout)
}

// describe makes the message about an SA.
func (d *dump) describe(k *Kernel, s *sa) []byte {
	return d.memory.Message(roomFor(s), func(b []byte) []byte { return k.appendSA(b, d.hdr, s, true) })
}

// preserve is called before an SA changes in what a DUMP shows, or its place does: those that have not come to it get
// to see it as it is now. The control lock is held, and the lock of the SA is not.
func (k *Kernel) preserve(s *sa) {
	if len(k.dumps) == 0 || s == nil || s.in == nil || s.preserved.Load() == k.dumpNumber {
		return
	}
	for _, d := range k.dumps {
		if d.number <= s.preserved.Load() || s.placed > d.newest {
			continue
		}
		p, ok := d.placeOf(s)
		if !ok || p.compare(d.last) <= 0 {
			continue
		}
		var msg []byte
		if d.shows(s) {
			msg = k.saMessage(d.hdr, s, true)
		}
		heap.Push(&d.preserved, preservedSA{p, msg})
	}
	s.preserved.Store(k.dumpNumber)
}

// leavePlace is called before an SA is taken out of its bucket. The control lock is held.
func (k *Kernel) leavePlace(s *sa) {
	k.preserve(s)
	for _, d := range k.dumps {
		if d.next == s {
			d.next = s.link[linkBucket].next
		}
	}
}

// preserveFor is preserve for a packet, which may be about to change an SA and its copy. One packet asks for all;
// nobody waits.
func (k *Kernel) preserveFor(s *sa) {
	last := k.pending.Load()
	if last == 0 {
		return
	}
	for _, s := range [...]*sa{s, s.peerSA.Load()} {
		if s != nil && s.preserved.Load() < last {
			k.postOnce(s, postedPreserve, func() { k.preserve(s) })
		}
	}
}

// pendingFor returns the first of the dumps that a socket has not heard to the end.
func (k *Kernel) pendingFor(c *client) *dump {
	for _, d := range k.dumps {
		if d.hears(c) {
			return d
		}
	}
	return nil
}

// enough is how many bytes in the queue of a socket that is to hear a dump are as good as all of it: it would not take
// anything else behind them.
func (k *Kernel) enough(c *client) int {
	return max(stepBytes, c.recvHiwat, k.keysock(tunRecvLowat))
}

// feedStep makes some more of the dumps that a socket is to hear, unless enough of them waits; false: it does, or there
// is none. The control lock is held.
func (k *Kernel) feedStep(c *client) (more bool) {
	d := k.pendingFor(c)
	if d == nil || c.s.Queued() >= k.enough(c) {
		return false
	}
	k.step(d)
	return true
}

// feed makes enough of a dump once the control lock, which is held, is released, in steps between which others have
// their turn.
func (k *Kernel) feed(c *client) { k.bySteps(func() bool { return k.feedStep(c) }) }

// catchUp has what a socket is told now find its queue as full as if every dump had been made at once, or come behind
// all of them. The control lock is held.
func (k *Kernel) catchUp(c *client) {
	for len(k.dumps) > 0 && k.feedStep(c) {
	}
}

// Reading implements [engine.Endpoint]. The last message is always followed by more: nobody comes back to an empty
// queue.
func (c *client) Reading() {
	k := c.k
	if len(k.dumps) == 0 {
		return
	}
	if few := c.s.Messages() == 1 || c.s.Queued() < k.enough(c)/2; few && k.pendingFor(c) != nil {
		k.feed(c)
	}
}

// noHearer forgets a socket that is gone, and the dumps that nobody hears any more.
func (k *Kernel) noHearer(c *client) {
	for _, d := range slices.Clone(k.dumps) {
		d.hearers = slices.DeleteFunc(d.hearers, func(h *client) bool { return h == c })
		if len(d.hearers) == 0 {
			k.endDump(d)
		}
	}
}

// settle makes the rest of every dump. The control lock is held.
func (k *Kernel) settle() {
	for len(k.dumps) > 0 {
		k.step(k.dumps[0])
	}
}

// pendingBytes is the memory that what is left of all dumps will take in receive queues, if each message is as long as
// those made until now, or a typical one where there are none.
func (k *Kernel) pendingBytes() (sum int64) {
	for _, d := range k.dumps {
		each := typicalSA
		if d.made > 0 {
			each = d.bytes / d.made
		}
		sum += int64(d.left) * int64(each+len(d.hearers)*queuePlace)
	}
	return sum
}

// idleFor is how many seconds ago the SA was last used.
func (s *sa) idleFor(now int64) uint64 {
	s.Lock()
	defer s.Unlock()
	return uint64(now - s.lastUse)
}
