package engine

import (
	"slices"
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/kernel/event"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Socket is one PF_KEY socket of an engine, with its receive queue. Fields and queue are guarded by the engine's
// control lock.
type Socket struct {
	e      *Engine
	end    Endpoint
	cred   pfkey.Cred
	number uint64
	closed bool

	registered uint64 // a bit for each SA type
	promisc    bool

	notify atomic.Pointer[func()]

	queue []queued // queue[head:] wait
	head  int
	bytes int
	cost  int
	lost  uint64 // messages that found no room
	reads uint64 // messages taken out
}

// queued is a message that waits: immutable, and shared by all who hear it; the last of them to read it overwrites it,
// because there may be keys in it.
type queued struct {
	msg  []byte
	cost int
}

// Endpoint returns what the kernel has made of the socket.
func (s *Socket) Endpoint() Endpoint { return s.end }

// Number tells sockets apart for as long as the engine lives: 1 for the first one opened. It is set after the kernel
// has admitted the socket.
func (s *Socket) Number() uint64 { return s.number }

// Queued returns what the messages in the receive queue count for: their bytes, unless they were put there with
// [Socket.DeliverAs]. The control lock is held.
func (s *Socket) Queued() int { return s.cost }

// Bytes returns how many bytes the messages in the receive queue have. The control lock is held.
func (s *Socket) Bytes() int { return s.bytes }

// Messages returns how many messages are in the receive queue. The control lock is held.
func (s *Socket) Messages() int { return len(s.queue) - s.head }

// count notes that messages have come into the queue, or left it.
func (s *Socket) count(messages, bytes, cost int) {
	s.bytes += bytes
	s.cost += cost
	s.e.queued.messages += messages
	s.e.queued.cost += cost
}

// Reads returns how many messages have been taken out of the queue so far. The control lock is held.
func (s *Socket) Reads() uint64 { return s.reads }

// Deliver puts msg into the receive queue if the kernel says that there is room, and counts it as lost otherwise. From
// here on msg must not be changed, nor looked at once the control lock has been released: it is overwritten when
// everybody has read it. The control lock is held.
func (s *Socket) Deliver(msg []byte, dump bool) bool { return s.DeliverAs(msg, len(msg), dump) }

// DeliverAs is [Socket.Deliver] for a message that counts for cost, as in kernels that count the memory it takes.
func (s *Socket) DeliverAs(msg []byte, cost int, dump bool) bool {
	if s.closed {
		return false
	}
	if !s.end.Room(cost, dump) {
		s.lost++
		s.noteDelivery(msg, true)
		return false
	}
	if s.head == len(s.queue) {
		s.e.hear = append(s.e.hear, s)
	}
	s.queue = append(s.queue, queued{msg, cost})
	if len(msg) > 0 {
		s.e.waiting[&msg[0]]++
	}
	s.count(1, len(msg), cost)
	s.noteDelivery(msg, false)
	return true
}

// Lose counts a message as lost for which its kernel has found no room before it had it delivered. The control lock is
// held.
func (s *Socket) Lose() {
	s.lost++
	s.noteDelivery(nil, true)
}

// tell calls the notify function. No lock is held.
func (s *Socket) tell() {
	if f := s.notify.Load(); f != nil && *f != nil {
		(*f)()
	}
}

// Send implements [pfkey.Socket].
func (s *Socket) Send(msg []byte, from pfkey.Cred) pfkey.Errno {
	own := slices.Clone(msg)
	s.e.lock()
	defer s.e.unlock()
	if s.closed {
		return wire.ENOTCONN
	}
	defer s.e.Forget(own)
	s.noteRequest(own, from)
	errno := s.end.Request(own, from)
	if errno != wire.OK {
		s.noteRefusal(errno, from)
	}
	return errno
}

// Forget overwrites a message that its kernel has no more use for: there may be keys in it. One that waits in a receive
// queue stays, and is overwritten when everybody has read it. The control lock is held.
func (e *Engine) Forget(msg []byte) {
	if len(msg) > 0 && e.waiting[&msg[0]] == 0 {
		clear(msg)
	}
}

// left notes that a message has left a receive queue.
func (e *Engine) left(msg []byte) {
	if len(msg) == 0 {
		return
	}
	first := &msg[0]
	if e.waiting[first]--; e.waiting[first] == 0 {
		delete(e.waiting, first)
		clear(msg)
	}
}

// Recv implements [pfkey.Socket].
func (s *Socket) Recv(buf []byte, flags pfkey.RecvFlags) (n, size int, errno pfkey.Errno) {
	s.e.lock()
	defer s.e.unlock()
	if s.closed {
		return 0, 0, wire.ENOTCONN
	}
	if errno = s.end.Receive(flags); errno != wire.OK {
		return 0, 0, errno
	}
	if s.head == len(s.queue) {
		if e, ok := s.end.(Ending); ok && e.Ended() {
			return 0, 0, wire.OK
		}
		return 0, 0, wire.EAGAIN
	}
	m := s.queue[s.head]
	n, size = copy(buf, m.msg), len(m.msg)
	s.end.Reading()
	if flags&pfkey.RecvPeek == 0 {
		s.queue[s.head] = queued{}
		s.e.left(m.msg)
		s.count(-1, -size, -m.cost)
		s.reads++
		s.head++
		s.compact()
	}
	return n, size, wire.OK
}

// compact gives back what has been read, once it is much: a reader that is always a little behind must not keep it all,
// and a long DUMP that is over must not keep its table.
func (s *Socket) compact() {
	const much = 1024
	switch {
	case s.head == len(s.queue) && cap(s.queue) > much:
		s.queue, s.head = nil, 0
	case s.head == len(s.queue):
		s.queue, s.head = s.queue[:0], 0
	case s.head > much && s.head > len(s.queue)/2:
		s.queue, s.head = slices.Clone(s.queue[s.head:]), 0
	}
}

// SetOption implements [pfkey.Socket].
func (s *Socket) SetOption(o pfkey.Option, value int) pfkey.Errno {
	s.e.lock()
	defer s.e.unlock()
	return s.end.SetOption(o, value)
}

// GetOption implements [pfkey.Socket].
func (s *Socket) GetOption(o pfkey.Option) (int, pfkey.Errno) {
	s.e.lock()
	defer s.e.unlock()
	return s.end.GetOption(o)
}

// Call implements [pfkey.Caller].
func (s *Socket) Call(c pfkey.Call) pfkey.Errno {
	s.e.lock()
	defer s.e.unlock()
	if s.closed {
		return wire.ENOTCONN
	}
	if end, ok := s.end.(pfkey.Caller); ok {
		return end.Call(c)
	}
	return wire.EOPNOTSUPP
}

// Notify implements [pfkey.Socket].
func (s *Socket) Notify(f func()) { s.notify.Store(&f) }

// Close implements [pfkey.Socket].
func (s *Socket) Close() {
	s.e.lock()
	defer s.e.unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.noteSocket(event.Closed)
	s.Discard()
	s.e.forget(s)
	s.hearNothing()
	s.end.Closed()
}

// Discard drops what is in the receive queue. The control lock is held.
func (s *Socket) Discard() {
	s.count(-s.Messages(), -s.bytes, -s.cost)
	for _, m := range s.queue[s.head:] {
		s.e.left(m.msg)
	}
	s.queue, s.head = nil, 0
}
