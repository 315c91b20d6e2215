package feed

import "context"

// A Reader is a place in a history. One goroutine uses it at a time; Close may be called by any, once or more.
type Reader[T any] struct {
	f       *Feed[T]
	classes []int
	next    uint64
	wake    chan struct{} // has room for one
	closed  bool          // guarded by f.mu
}

// Now is the place behind all records, for [Feed.Read].
const Now = ^uint64(0)

// Read makes a reader whose first record is number from, or the first that there still is: 0 is the beginning of the
// history, [Now] its end. From now on all records of the classes are taken down. The reader has to be closed.
func (f *Feed[T]) Read(from uint64, classes ...int) *Reader[T] {
	r := &Reader[T]{f: f, classes: classes, wake: make(chan struct{}, 1)}
	for _, c := range classes {
		f.classes[c].readers.Add(1)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.classes {
		f.settle(&f.classes[i])
	}
	r.next = min(max(from, 1), f.next)
	if from == 0 {
		r.next = f.first
	}
	return r
}

// Next copies the next records into batch, as many as there are and fit, and returns how many it has copied, and how
// many were there for the reader and have left the history before it came to them. It does not wait.
func (r *Reader[T]) Next(batch []Record[T]) (n int, missing uint64) {
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.next < f.first {
		missing = f.first - r.next
		r.next = f.first
	}
	for n < len(batch) && r.next < f.next {
		batch[n] = *f.at(r.next)
		n++
		r.next++
	}
	return n, missing
}

// Wait waits until there is a record for Next, or the reader is closed or ctx ends: then it returns false.
func (r *Reader[T]) Wait(ctx context.Context) bool {
	f := r.f
	for {
		f.mu.Lock()
		switch {
		case r.closed:
			f.mu.Unlock()
			return false
		case r.next < f.next:
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

// forget has r wait no more.
func (f *Feed[T]) forget(r *Reader[T]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, w := range f.waiting {
		if w == r {
			f.waiting = append(f.waiting[:i], f.waiting[i+1:]...)
			return
		}
	}
	// It was woken meanwhile, and takes that along for the next time.
	select {
	case <-r.wake:
	default:
	}
}

// Close ends the reader, also one that waits.
func (r *Reader[T]) Close() {
	f := r.f
	f.mu.Lock()
	if r.closed {
		f.mu.Unlock()
		return
	}
	r.closed = true
	f.mu.Unlock()
	for _, c := range r.classes {
		f.classes[c].readers.Add(-1)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, w := range f.waiting {
		if w == r {
			f.waiting = append(f.waiting[:i], f.waiting[i+1:]...)
			r.wake <- struct{}{}
			return
		}
	}
}
