package packetport

import "sync"

// frameCost is what a queued frame is counted with beyond its own bytes, so that small frames are bounded as well.
const frameCost = 64

// queue holds the frames for one connection until its writer takes them. Putting never waits.
type queue struct {
	limit int // bytes, immutable

	mu     sync.Mutex // guards what follows
	wake   sync.Cond
	frames [][]byte
	head   int    // frames before it have been taken
	bytes  int    // cost of the frames that wait
	lost   uint64 // frames dropped since the last overrun mark
	state  queueState
}

type queueState uint8

const (
	queueOpen      queueState = iota
	queueFinishing            // takes nothing more, gives out what it has
	queueClosed
)

func newQueue(limit int) *queue {
	q := &queue{limit: limit}
	q.wake.L = &q.mu
	return q
}

// fate is what became of a frame that was put.
type fate uint8

const (
	putDone   fate = iota
	putFull        // dropped; an overrun mark will stand in its place
	putClosed      // nobody will read it
)

// put appends a frame, which must not be changed from here on.
func (q *queue) put(frame []byte) fate {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.state != queueOpen {
		return putClosed
	}
	if q.bytes+len(frame)+frameCost > q.limit {
		q.lost++
		return putFull
	}
	q.markLocked()
	q.appendLocked(frame)
	return putDone
}

// mustPut is put without the limit, for the few frames whose number is bounded otherwise.
func (q *queue) mustPut(frame []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.state != queueOpen {
		return
	}
	q.markLocked()
	q.appendLocked(frame)
}

// lose notes a frame that could not be made.
func (q *queue) lose() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.state == queueOpen {
		q.lost++
		q.wake.Signal()
	}
}

// markLocked needs q.mu held.
func (q *queue) markLocked() {
	if q.lost == 0 {
		return
	}
	mark, err := overrunFrame{Lost: q.lost}.appendTo(nil)
	if err != nil {
		panic(err) // it has no field that could be too long
	}
	q.lost = 0
	q.appendLocked(mark)
}

// appendLocked needs q.mu held.
func (q *queue) appendLocked(frame []byte) {
	q.frames = append(q.frames, frame)
	q.bytes += len(frame) + frameCost
	q.wake.Signal()
}

// next waits for a frame and takes it out. It reports false when there is none and none will come.
func (q *queue) next() ([]byte, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.state == queueClosed {
			return nil, false
		}
		if q.head == len(q.frames) {
			q.markLocked()
		}
		if q.head < len(q.frames) {
			break
		}
		if q.state == queueFinishing {
			return nil, false
		}
		q.wake.Wait()
	}
	frame := q.frames[q.head]
	q.frames[q.head] = nil
	q.head++
	q.bytes -= len(frame) + frameCost
	switch {
	case q.head == len(q.frames):
		q.frames, q.head = q.frames[:0], 0
	case q.head >= 256 && q.head*2 >= len(q.frames):
		n := copy(q.frames, q.frames[q.head:])
		clear(q.frames[n:])
		q.frames, q.head = q.frames[:n], 0
	}
	return frame, true
}

// finish lets next give out what is there and then end.
func (q *queue) finish() { q.end(queueFinishing) }

// close drops everything.
func (q *queue) close() { q.end(queueClosed) }

func (q *queue) end(to queueState) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if to <= q.state {
		return
	}
	q.state = to
	if to == queueClosed {
		q.frames, q.head, q.bytes = nil, 0, 0
	}
	q.wake.Broadcast()
}
