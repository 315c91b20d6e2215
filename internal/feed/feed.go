// Package feed is a bounded history that any number of readers follow.
//
// There is one history for all. A reader is a place in it, so it costs no memory, and one that is slow holds nobody up:
// what leaves the history before it was read is missing, and the reader is told how much. Only so many records a second
// are taken down, fewer while nobody reads, and how many were not is a record of its own. So a flood costs those who
// make it next to nothing, and readers get a sample of it.
package feed

import (
	"sync"
	"sync/atomic"
	"time"
)

// The bounds of a history, all classes together.
const (
	Records = 10_000
	Bytes   = 16 << 20 // of what [Feed.Put] is told
)

// How many records of each class are taken down within a second, and all at once when there were none before: Read of
// them while somebody reads, Unread while nobody does, so that the history tells of some seconds at least. When more
// than Read come in a second, readers could follow only with cores that those who make the records need: then it is
// Unread as well, a sample. A reader that is behind by the whole history counts as nobody.
const (
	Unread = 1000
	Read   = 10_000
)

// tick is how long a class that has taken down all that it may waits for more.
const tick = 20 * time.Millisecond

// A Feed is a history of values of type T, which are not changed once they are in. Its methods are safe for concurrent
// use. Use [New] to make one.
type Feed[T any] struct {
	classes []class[T]

	// mu guards what follows, and what the classes have. It is held for the time of an append or a copy only, and no
	// other lock is taken under it.
	mu      sync.Mutex
	keeps   bool   // also while nobody reads
	next    uint64 // number of the next record
	records int
	size    int
	readers []*Reader[T]
	waiting []*Reader[T]
}

// class is the records of one class. The numbers of their places begin at 0: those from first to before next are there,
// each at its number modulo Records.
type class[T any] struct {
	left  atomic.Int64 // how many more may be taken down
	timed atomic.Bool  // a timer will call refill
	_     [120]byte    // what follows is written while the above is only read

	offered     func() uint64
	ring        []Record[T]
	first, next uint64
	size        int
	gone        uint64    // what all records before first count for, see Record.weight
	asked, read bool      // the history is kept or read; it is read
	flood       bool      // more come than Read
	filled      time.Time // when left was filled up for the last time
	granted     int64     // what left has been given; the rest was taken
	told        uint64    // how many that were not taken are known to be missing, or of no use
}

// A Record is one value of a history.
type Record[T any] struct {
	N     uint64    // its number, from 1
	At    time.Time // when it came, by the machine's clock, UTC
	Class int
	Value T
	// Missing, if it is not 0, says that there is no value: so many records of the class were left out here. Read says
	// whether somebody read it at that time.
	Missing uint64
	Read    bool

	size int
}

// weight is how many records it stands for.
func (r *Record[T]) weight() uint64 { return max(r.Missing, 1) }

// New makes an empty history with a class for each function, which says how many records have been offered to it so
// far: how many times [Feed.Wants] was asked and has answered. So what often happens has a class of its own, and leaves
// room for the rest: when the history is full, the class that has more of it makes room. The functions must be safe for
// concurrent use and take no lock.
func New[T any](offered ...func() uint64) *Feed[T] {
	f := &Feed[T]{next: 1, classes: make([]class[T], len(offered))}
	for i := range f.classes {
		f.classes[i].offered = offered[i]
	}
	return f
}

// Keep has the history kept while nobody reads, too.
func (f *Feed[T]) Keep() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keeps = true
	f.attend()
}

// Wants says whether a record of a class shall be made now and given to [Feed.Put]. Most are not wanted when very many
// come; this costs the reading of a number that seldom changes.
func (f *Feed[T]) Wants(class int) bool {
	c := &f.classes[class]
	for {
		left := c.left.Load()
		if left <= 0 {
			return false
		}
		if c.left.CompareAndSwap(left, left-1) {
			if left == 1 {
				f.time(class, time.Now())
			}
			return true
		}
	}
}

// time has refill called a tick later, unless it will be anyway. Nothing is left since the given time.
func (f *Feed[T]) time(class int, since time.Time) {
	if !f.classes[class].timed.Swap(true) {
		time.AfterFunc(tick, func() { f.refill(class, since) })
	}
}

// refill lets a class go on that has had nothing left.
func (f *Feed[T]) refill(class int, since time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, now := &f.classes[class], time.Now()
	n := f.settle(class)
	c.flood = n > Read*uint64(now.Sub(since))/uint64(time.Second)
	c.timed.Store(false)
	f.fill(class, now)
	if n > 0 { // even if something is left: what is offered right now may not be counted yet
		f.time(class, now)
	}
}

// fill lets so many records be taken down as the time that has passed allows. It needs f.mu held.
func (f *Feed[T]) fill(class int, now time.Time) {
	c := &f.classes[class]
	passed := now.Sub(c.filled)
	if !c.asked || passed < tick {
		return
	}
	f.look(class)
	rate := int64(Unread)
	if c.read && !c.flood {
		rate = Read
	}
	more := rate * int64(min(passed, time.Second)) / int64(time.Second)
	f.grant(class, min(max(c.left.Load(), 0)+more, rate), now)
}

// grant lets so many records be taken down. It needs f.mu held.
func (f *Feed[T]) grant(class int, n int64, now time.Time) {
	c := &f.classes[class]
	c.filled = now
	more := n - c.left.Load()
	c.granted += more
	if c.left.Add(more) <= 0 && c.asked { // others have taken some meanwhile
		f.time(class, now)
	}
}

// look finds out whether somebody reads a class. It needs f.mu held.
func (f *Feed[T]) look(class int) {
	c := &f.classes[class]
	read := false
	for _, r := range f.readers {
		read = read || r.reads[class] && r.place[class] >= c.first
	}
	if read != c.read {
		f.settle(class)
		c.read = read
	}
}

// attend begins to take records down, or ends it, when there are other readers. It needs f.mu held.
func (f *Feed[T]) attend() {
	for i := range f.classes {
		c := &f.classes[i]
		wasRead, wasAsked := c.read, c.asked
		f.look(i)
		c.asked = f.keeps || c.read
		switch {
		case !c.asked:
			f.grant(i, 0, time.Now())
		case c.read && !wasRead:
			f.grant(i, Read, time.Now())
		case !wasAsked:
			f.grant(i, Unread, time.Now())
		}
		if c.asked && !wasAsked {
			c.told += c.missed()
		}
	}
}

// missed is how many were offered and not taken, and are not told of yet. What is being offered may be not counted, but
// taken. It needs f.mu held.
func (c *class[T]) missed() uint64 {
	offered := c.offered() // before the look at those that are taken
	taken := c.granted - c.left.Load()
	return uint64(max(int64(offered-c.told)-taken, 0))
}

// settle makes a record of what was left out of a class, if anything was, and returns how much. It needs f.mu held.
func (f *Feed[T]) settle(class int) uint64 {
	c := &f.classes[class]
	if !c.asked {
		return 0
	}
	n := c.missed()
	if n > 0 {
		c.told += n
		f.append(Record[T]{Class: class, Missing: n, Read: c.read, At: time.Now().UTC()})
	}
	return n
}

// Put appends what [Feed.Wants] has asked for. size is what it counts for in bytes. It never waits for a reader.
func (f *Feed[T]) Put(class int, v T, size int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.fill(class, now)
	f.append(Record[T]{Class: class, Value: v, size: size, At: now.UTC()})
}

// append needs f.mu held.
func (f *Feed[T]) append(r Record[T]) {
	for f.records > 0 && (f.records == Records || f.size+r.size > Bytes) {
		f.drop(f.larger(r.Class))
	}
	c := &f.classes[r.Class]
	r.N = f.next
	f.next++
	if i := int(c.next % Records); i == len(c.ring) {
		c.ring = append(c.ring, r) // it grows until it is full
	} else {
		c.ring[i] = r
	}
	c.next++
	c.size += r.size
	f.size += r.size
	f.records++
	f.rouse(r.Class)
}

// larger is the class that has more of what there is too much of; of two alike the one given.
func (f *Feed[T]) larger(class int) int {
	most, much := class, f.share(class)
	for i := range f.classes {
		if n := f.share(i); n > much {
			most, much = i, n
		}
	}
	return most
}

// share is how much of the bound that was reached a class has.
func (f *Feed[T]) share(class int) int {
	c := &f.classes[class]
	if f.records < Records {
		return c.size
	}
	return int(c.next - c.first)
}

// drop lets the oldest record of a class go.
func (f *Feed[T]) drop(class int) {
	c := &f.classes[class]
	old := c.at(c.first)
	c.gone += old.weight()
	c.size -= old.size
	f.size -= old.size
	f.records--
	c.first++
	*old = Record[T]{}
}

// at is the place of record n.
func (c *class[T]) at(n uint64) *Record[T] { return &c.ring[n%Records] }

// Each calls change for every value in the history, which it may replace by another one.
func (f *Feed[T]) Each(change func(*T)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.classes {
		c := &f.classes[i]
		for n := c.first; n < c.next; n++ {
			if r := c.at(n); r.Missing == 0 {
				change(&r.Value)
			}
		}
	}
}
