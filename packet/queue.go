package packet

// Queue is a first-in first-out list of packets that wait; whatever is in one counts as held in the ledger. It
// allocates nothing: a packet is in one queue at most and carries its own link. The zero value is empty. It has no
// lock; its owner has. A queue may be moved as a whole by assignment, never copied.
type Queue struct {
	head, tail *Packet
	n          int
}

// Len returns the number of packets in q.
func (q *Queue) Len() int { return q.n }

// Push appends p, which must not be in any queue, to wait as Queued or Held in a queue that has depth places, at least
// one. It returns the packet for which there is none, which is not in the queue: nil; the oldest, if all places were
// taken; or p itself, and nothing has changed, if the ledger holds as many bytes as it may. The pusher calls
// [Packet.Report] once it has released the queue's lock, unless it has p back.
func (q *Queue) Push(p *Packet, k Kind, depth int) (out *Packet) {
	if q.n >= depth {
		out = q.head
	}
	// What one gives back the other may have at once: to be replaced by one no larger always succeeds.
	weight := p.weigh()
	packets, bytes := int64(1), weight
	if out != nil {
		packets, bytes = 0, weight-out.weight
	}
	if !p.ledger.hold(packets, bytes) {
		return p
	}
	if out != nil {
		q.unlink()
	}
	p.weight = weight
	p.wait(k)
	p.next = nil
	if q.tail == nil {
		q.head = p
	} else {
		q.tail.next = p
	}
	q.tail = p
	q.n++
	return out
}

// Pop takes out the oldest packet, which goes on from here; nil if there is none.
func (q *Queue) Pop() *Packet {
	p := q.head
	if p == nil {
		return nil
	}
	q.unlink()
	p.ledger.hold(-1, -p.weight)
	return p
}

// unlink takes the oldest packet out.
func (q *Queue) unlink() {
	p := q.head
	q.head, p.next = p.next, nil
	if q.head == nil {
		q.tail = nil
	}
	q.n--
}

// All yields the packets, oldest first, without taking them out.
func (q *Queue) All(yield func(*Packet) bool) {
	for p := q.head; p != nil; p = p.next {
		if !yield(p) {
			return
		}
	}
}
