package feed

import (
	"context"
	"slices"
	"sort"
)

// A Reader is a place in a history. One goroutine uses it at a time; Close may be called by any, once or more.
type Reader[T any] struct {
	f      *Feed[T]
	reads  []bool        // each class
	wake   chan struct{} // has room for one
	place  []uint64      // the next record in each class; guarded by f.mu, as what follows
	seen   []uint64      // what all records before it count for, see Record.weight
	missed []uint64      // before the next record
	closed bool
}

// Now is the place behind all records, for [Feed.Read].
const Now = ^uint64(0)

// Read makes a reader of the given classes, which begins at record number from: 0 is the first that there still is,
// [Now] the one that comes next. The reader has to be closed.
func (f *Feed[T]) Read(from uint64, classes ...int) *Reader[T] {
	n := len(f.classes)
	r := &Reader[T]{f: f, reads: make([]bool, n), wake: make(chan struct{}, 1), place: make([]uint64, n),
		seen: make([]uint64, n), missed: make([]uint64, n)}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.classes { // what was left out so far comes before
		f.settle(i)
	}
	present := uint64(0)
	for i := range f.classes {
		c := &f.classes[i]
		there := int(c.next - c.first)
		skip := sort.Search(there, func(n int) bool { return c.at(c.first+uint64(n)).N >= from })
		present += uint64(there - skip)
		r.reads[i] = slices.Contains(classes, i)
		r.place[i], r.seen[i] = c.first+uint64(skip), c.gone
		for n := c.first; n < r.place[i]; n++ {
			r.seen[i] += c.at(n).weight()
		}
	}
	if from > 0 && from < f.next {
		r.missed[0] = f.next - from - present
	}
	f.readers = append(f.readers, r)
	f.attend()
	return r
}

// Next copies the next records into batch, as many as there are and fit, in the order of their numbers. It returns how
// many it has copied, and how many of each class were there for the reader before these and have left the history
// before it came to them; those that had left it when the reader began, of whatever class, count for class 0. It does
// not wait.
func (r *Reader[T]) Next(batch []Record[T]) (n int, missing []uint64) {
	f := r.f
	missing = make([]uint64, len(f.classes))
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.classes {
		if c := &f.classes[i]; r.reads[i] && r.place[i] < c.first {
			r.missed[i] += c.gone - r.seen[i]
			r.place[i], r.seen[i] = c.first, c.gone
		}
	}
	for n < len(batch) {
		c, ok := r.first()
		if !ok {
			break
		}
		batch[n] = *f.classes[c].at(r.place[c])
		r.seen[c] += batch[n].weight()
		r.place[c]++
		n++
	}
	if n > 0 {
		missing, r.missed = r.missed, missing
	}
	return n, missing
}

// first is the class of the next record, if there is one. It needs f.mu held.
func (r *Reader[T]) first() (class int, ok bool) {
	var number uint64
	for i := range r.f.classes {
		c := &r.f.classes[i]
		if !r.reads[i] || r.place[i] >= c.next {
			continue
		}
		if n := c.at(max(r.place[i], c.first)).N; !ok || n < number {
			class, number, ok = i, n, true
		}
	}
	return class, ok
}

// Wait waits until there is a record for Next, or the reader is closed or ctx ends: then it returns false.
func (r *Reader[T]) Wait(ctx context.Context) bool {
	f := r.f
	for {
		f.mu.Lock()
		if r.closed {
			f.mu.Unlock()
			return false
		}
		if _, ok := r.first(); ok {
			f.mu.Unlock()
			return true
		}
		f.waiting = append(f.waiting, r)
		f.mu.Unlock()
		select {
		case <-r.wake:
		case <-ctx.Done():
			f.forget(r)
			return false
		}
	}
}

// rouse wakes those who wait for a record of a class. It needs f.mu held.
func (f *Feed[T]) rouse(class int) {
	f.waiting = slices.DeleteFunc(f.waiting, func(r *Reader[T]) bool {
		if r.reads[class] {
			r.wake <- struct{}{} // there is room: it waits
		}
		return r.reads[class]
	})
}

// forget has r wait no more.
func (f *Feed[T]) forget(r *Reader[T]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := slices.Index(f.waiting, r); i >= 0 {
		f.waiting = slices.Delete(f.waiting, i, i+1)
		return
	}
	<-r.wake // it was woken meanwhile
}

// Close ends the reader, also one that waits.
func (r *Reader[T]) Close() {
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.closed {
		return
	}
	r.closed = true
	f.readers = slices.DeleteFunc(f.readers, func(o *Reader[T]) bool { return o == r })
	f.attend()
	if i := slices.Index(f.waiting, r); i >= 0 {
		f.waiting = slices.Delete(f.waiting, i, i+1)
		r.wake <- struct{}{}
	}
}
