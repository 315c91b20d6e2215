package linux

import (
	"container/heap"
	"time"
)

// timer is one that is set, or not. The zero value is one that is not.
type timer struct {
	fire func(now time.Time)
	at   int64 // ns of Unix time
	turn uint64
	i    int // place in the queue, from 1; 0: not set
}

// timerQueue is every timer that is set. The control lock guards it.
type timerQueue struct {
	heap timerHeap
	turn uint64
}

// set sets t, which may be set already, to run at a moment. Those for the same moment run in the order in which they
// were set.
func (q *timerQueue) set(t *timer, at time.Time) {
	q.turn++
	t.at, t.turn = at.UnixNano(), q.turn
	if t.i != 0 {
		heap.Fix(&q.heap, t.i-1)
		return
	}
	heap.Push(&q.heap, t)
}

// stop says whether t was set.
func (q *timerQueue) stop(t *timer) bool {
	if t.i == 0 {
		return false
	}
	heap.Remove(&q.heap, t.i-1)
	return true
}

func (q *timerQueue) next() (time.Time, bool) {
	if len(q.heap) == 0 {
		return time.Time{}, false
	}
	return time.Unix(0, q.heap[0].at).UTC(), true
}

// run fires what is due. What a timer sets anew for this very moment is left to the next run, so that run comes to an
// end.
func (q *timerQueue) run(now time.Time) {
	last := q.turn
	for len(q.heap) > 0 && q.heap[0].at <= now.UnixNano() && q.heap[0].turn <= last {
		t := q.heap[0]
		heap.Remove(&q.heap, 0)
		t.fire(now)
	}
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].turn < h[j].turn
}

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].i, h[j].i = i+1, j+1
}

func (h *timerHeap) Push(x any) {
	t := x.(*timer)
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
