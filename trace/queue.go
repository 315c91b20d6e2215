package trace

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// defaultQueue is how many bytes of records may wait to be written, each with 128 bytes for itself. What comes on top
// of them is left out.
const defaultQueue = 16 << 20

// record is one thing that happened.
type record struct {
	at, machine time.Time
	socket      int
	pid         int32
	direction   direction
	data        []byte // a message, or the text of a note
	lost        uint64 // records left out before it
}

func (r *record) size() int { return len(r.data) + 128 }

// put hands a record to the writer. It never waits.
func (t *Trace) put(r record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if t.err != nil || t.size+r.size() > t.o.Queue {
		t.counts.Lost++
		t.lost++
		return
	}
	r.at = t.o.Now()
	if t.o.Machine != nil {
		r.machine = t.o.Machine()
	}
	r.lost, t.lost = t.lost, 0
	t.queue = append(t.queue, r)
	t.size += r.size()
	t.wake.Signal()
}

// write is the writer's goroutine: a record at a time, so that nothing stays in a buffer.
func (t *Trace) write() {
	defer close(t.done)
	if _, err := t.w.Write(t.beginning()); err != nil {
		t.fail(err, 0)
		return
	}
	var spare []record
	for {
		t.mu.Lock()
		for len(t.queue) == 0 && !t.closed {
			t.wake.Wait()
		}
		batch := t.queue
		t.queue = spare[:0]
		counts := t.counts
		t.mu.Unlock()
		if len(batch) == 0 { // closed
			if _, err := t.w.Write(t.end(counts)); err != nil {
				t.fail(err, 0)
			}
			return
		}
		for i := range batch {
			r := &batch[i]
			if _, err := t.w.Write(t.format(r)); err != nil {
				t.fail(err, len(batch)-i)
				return
			}
			t.mu.Lock()
			t.counts.Written++
			t.size -= r.size()
			t.mu.Unlock()
		}
		clear(batch)
		spare = batch
	}
}

// fail ends the trace; so many records of the writer are lost, and all that wait.
func (t *Trace) fail(err error, unwritten int) {
	t.mu.Lock()
	t.err = err
	t.counts.Lost += uint64(unwritten + len(t.queue))
	t.queue, t.size = nil, 0
	t.mu.Unlock()
	if t.o.Failed != nil {
		t.o.Failed(err)
	}
}

// Counters reads the counters.
func (t *Trace) Counters() Counters {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}

// Close writes out what waits, and how many records there are and are missing. Nothing more is written down. It waits
// until ctx ends; a Write that stands still then is ended if w has a SetWriteDeadline, and left behind if not. w stays
// open. The error says that the trace is not complete. A second call does nothing but to wait.
func (t *Trace) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	t.wake.Signal()
	t.mu.Unlock()
	select {
	case <-t.done:
	case <-ctx.Done():
		w, ok := t.w.(interface{ SetWriteDeadline(time.Time) error })
		if !ok || w.SetWriteDeadline(time.Unix(1, 0)) != nil {
			return fmt.Errorf("trace: the writer stands still: %w", ctx.Err())
		}
		<-t.done
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.err
	if t.counts.Lost > 0 {
		err = errors.Join(err, fmt.Errorf("records missing in it: %d", t.counts.Lost))
	}
	return err
}
