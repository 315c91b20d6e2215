package engine

import (
	"container/heap"
	"time"
)

// A Timer runs its function at a moment, if it is set. The zero value is one that is not. It belongs to the [Timers] it
// is set in; the control lock guards it.
type Timer struct {
	Fire func(now time.Time)

	at   int64 // ns of Unix time
	turn uint64
	i    int // place in the queue, from 1; 0: not set
}

// When says for which moment a timer is set, and whether it is.
func (t *Timer) When() (at time.Time, set bool) { return time.Unix(0, t.at).UTC(), t.i != 0 }

// Timers are the timers of a kernel whose every SA has its own. The zero value is ready. The control lock guards them.
type Timers struct {
	heap timerHeap
	turn uint64
}

// Set sets t, which may be set already, to run at a moment. Those for the same moment run in the order in which they
// were set.
func (q *Timers) Set(t *Timer, at time.Time) {
	q.turn++
	t.at, t.turn = at.UnixNano(), q.turn
	if t.i != 0 {
		heap.Fix(&q.heap, t.i-1)
		return
	}
	heap.Push(&q.heap, t)
}

// Stop says whether t was set.
func (q *Timers) Stop(t *Timer) bool {
	if t.i == 0 {
		return false
	}
	heap.Remove(&q.heap, t.i-1)
	return true
}

// Next is when the first of them is set to run; false if none is.
func (q *Timers) Next() (time.Time, bool) {
	if len(q.heap) == 0 {
		return time.Time{}, false
	}
	return q.heap[0].When()
}

// Run fires what is due. What a timer sets anew for this very moment is left to the next run, so that run comes to an
// end.
func (q *Timers) Run(now time.Time) {
	last := q.turn
	for len(q.heap) > 0 && q.heap[0].at <= now.UnixNano() && q.heap[0].turn <= last {
		t := q.heap[0]
		heap.Remove(&q.heap, 0)
		t.Fire(now)
	}
}

type timerHeap []*Timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].turn < h[j].turn
}

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].i, h[j].i = i+1, j+1
}

func (h *timerHeap) Push(x any) {
	t := x.(*Timer)
	*h = append(*h, t)
	t.i = len(*h)
}

func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.i = 0
	return t
}
