// Package feed is a bounded history that any number of readers follow.
//
// There is one history for all. A reader is a place in it, so it costs no memory, and one that is slow holds nobody up:
// what leaves the history before it was read is missing, and the reader is told how much. While nobody reads, only so
// many records a second are taken down, and how many were not is a record of its own; or none at all, until
// [Feed.Keep].
package feed

import (
	"sync"
	"sync/atomic"
	"time"
)

// The bounds of a history.
const (
	Records = 10_000
	Bytes   = 16 << 20 // of what [Feed.Put] is told
)

// Unread is how many records of each class are taken down within a second while nobody reads that class. So a flood
// costs no more than that, and the history tells of some seconds at least.
const Unread = 1000

// Classes is how many there are. What happens often is a class of its own, so that it leaves room for the rest.
const Classes = 2

// lanes is how many numbers of what was left out there are, so that no two cores count in the same one. It is a power
// of 2.
const lanes = 8

// A Feed is a history of values of type T, which are not changed once they are in. Its methods are safe for concurrent
// use. Use [New] to make one.
type Feed[T any] struct {
	keeps   atomic.Bool // also while nobody reads
	classes [Classes]class

	mu          sync.Mutex // guards what follows; it is a leaf, and held for the time of an append or a copy only
	ring        []Record[T]
	first, next uint64 // the records from first to before next are there, each at its number modulo Records
	size        int
	waiting     []*Reader[T]
}

// class is what is asked for every record, also while nobody reads.
type class struct {
	readers atomic.Int64
	left    atomic.Int64 // how many more may be taken down until the second is over
	_       [112]byte    // what follows is written while the above is only read
	missed  [lanes]struct {
		n atomic.Uint64
		_ [120]byte
	}
}

// A Record is one value of a history.
type Record[T any] struct {
	N     uint64    // its number, from 1
	At    time.Time // when it came, by the machine's clock, UTC
	Value T
	// Missing, if it is not 0, says that there is no value: so many records of a class were left out here.
	Missing uint64

	size int
}

// New makes an empty history.
func New[T any]() *Feed[T] { return &Feed[T]{first: 1, next: 1} }

// Keep has the history kept while nobody reads, too.
func (f *Feed[T]) Keep() {
	if f.keeps.Swap(true) {
		return
	}
	for i := range f.classes {
		f.classes[i].left.Store(Unread)
	}
}

// Wants says whether a record of a class shall be made now and given to [Feed.Put]. If not, it is counted as left out
// of a history that is kept. lane is any number; cores that often ask had better have different ones. It takes no lock
// and allocates nothing.
func (f *Feed[T]) Wants(class, lane int) bool {
	c := &f.classes[class]
	if c.readers.Load() > 0 {
		return true
	}
	if c.left.Load() > 0 {
		left := c.left.Add(-1)
		if left == 0 {
			time.AfterFunc(time.Second, func() { f.refill(c) })
		}
		if left >= 0 {
			return true
		}
	}
	if !f.keeps.Load() {
		return false
	}
	c.missed[lane&(lanes-1)].n.Add(1)
	return false
}

// refill begins a new second of a class.
func (f *Feed[T]) refill(c *class) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle(c)
	c.left.Store(Unread)
}

// settle makes a record of what was left out of a class. It needs f.mu held.
func (f *Feed[T]) settle(c *class) {
	var n uint64
	for i := range c.missed {
		n += c.missed[i].n.Swap(0)
	}
	if n > 0 {
		f.append(Record[T]{Missing: n})
	}
}

// Put appends what [Feed.Wants] has asked for. size is what it counts for in bytes. It never waits for a reader.
func (f *Feed[T]) Put(v T, size int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.append(Record[T]{Value: v, size: size})
}

// append needs f.mu held.
func (f *Feed[T]) append(r Record[T]) {
	for f.next > f.first && (f.next-f.first == Records || f.size+r.size > Bytes) {
		old := f.at(f.first)
		f.size -= old.size
		*old = Record[T]{}
		f.first++
	}
	r.N, r.At = f.next, time.Now().UTC()
	f.next++
	f.size += r.size
	if i := int(r.N % Records); i == len(f.ring) || len(f.ring) == 0 {
		f.ring = append(f.ring, make([]Record[T], i+1-len(f.ring))...) // it grows until it is full
	}
	*f.at(r.N) = r
	for _, w := range f.waiting {
		w.wake <- struct{}{} // there is room: it waits
	}
	clear(f.waiting)
	f.waiting = f.waiting[:0]
}

// at is the place of record n.
func (f *Feed[T]) at(n uint64) *Record[T] { return &f.ring[n%Records] }

// Each calls change for every value in the history, which it may replace by another one.
func (f *Feed[T]) Each(change func(*T)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := f.first; n < f.next; n++ {
		change(&f.at(n).Value)
	}
}
