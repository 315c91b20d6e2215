package hostile

import (
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A Kernel is an engine that lies as a script says. It is safe for concurrent use.
type Kernel struct {
	engine  pfkey.Engine
	dialect *wire.Dialect
	script  *Script

	mu    sync.Mutex // a leaf: nothing else is locked while it is held
	rand  *rand.Rand
	seen  []uint64 // by fault: messages that it was meant for
	done  []uint64 // by fault: how often it was done
	chose []uint64 // by fault: times that it was chosen, done or not
}

// New makes engine lie. The script must be for its dialect.
func New(engine pfkey.Engine, s *Script) *Kernel {
	n := len(s.faults)
	return &Kernel{
		engine: engine, dialect: engine.Dialect(), script: s,
		rand: rand.New(rand.NewPCG(s.seed, 0)), seen: make([]uint64, n), done: make([]uint64, n),
		chose: make([]uint64, n),
	}
}

// Counters says how often each fault was done, by name.
func (k *Kernel) Counters() map[string]uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := make(map[string]uint64, len(k.done))
	for i, f := range k.script.faults {
		c[f.name] = k.done[i]
	}
	return c
}

// Dialect implements [pfkey.Engine].
func (k *Kernel) Dialect() *wire.Dialect { return k.dialect }

// Open implements [pfkey.Engine].
func (k *Kernel) Open(c pfkey.Cred, typ, proto int) (pfkey.Socket, pfkey.Errno) {
	inner, errno := k.engine.Open(c, typ, proto)
	if errno != wire.OK {
		return nil, errno
	}
	return &socket{Socket: inner, k: k}, wire.OK
}

// choose says whether fault i is for this message now.
func (k *Kernel) choose(i int, h wire.Header) bool {
	f := &k.script.faults[i]
	if f.types != nil && !f.types[h.Type] || f.answers && h.PID == 0 || f.events && h.PID != 0 {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen[i]++
	if k.seen[i] <= f.after || f.times > 0 && k.chose[i] >= f.times || f.chance < 100 && k.rand.IntN(100) >= f.chance {
		return false
	}
	k.chose[i]++
	return true
}

// count notes that fault i was done.
func (k *Kernel) count(i int) {
	k.mu.Lock()
	k.done[i]++
	k.mu.Unlock()
}

// give takes back that fault i was chosen: it could not be done to this message.
func (k *Kernel) give(i int) {
	k.mu.Lock()
	k.chose[i]--
	k.mu.Unlock()
}

// upTo is a number below n, from the seed.
func (k *Kernel) upTo(n int) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.rand.IntN(n)
}

// socket is a socket of a lying kernel.
type socket struct {
	pfkey.Socket
	k *Kernel

	mu      sync.Mutex // above the locks of the engine
	queue   [][]byte   // spoilt, and not yet read
	delayed []delayed
	full    int // so many messages find no room
	notify  func()
	closed  bool
}

type delayed struct {
	msg  []byte
	left int // requests
}

// Send implements [pfkey.Socket].
func (s *socket) Send(msg []byte, from pfkey.Cred) pfkey.Errno {
	if h, err := s.k.dialect.Header(msg); err == nil {
		for i := range s.k.script.faults {
			if f := &s.k.script.faults[i]; f.kind == "refuse" && s.k.choose(i, h) {
				s.k.count(i)
				return f.errno
			}
		}
	}
	errno := s.Socket.Send(msg, from)
	s.mu.Lock()
	late := false
	s.delayed = slices.DeleteFunc(s.delayed, func(d delayed) bool { return d.left <= 0 })
	for i := range s.delayed {
		if s.delayed[i].left--; s.delayed[i].left == 0 {
			late = true
		}
	}
	for _, d := range s.delayed {
		if d.left == 0 && !s.closed {
			s.queue = append(s.queue, d.msg)
		}
	}
	f := s.notify
	s.mu.Unlock()
	if late && f != nil {
		f()
	}
	return errno
}

// Notify implements [pfkey.Socket].
func (s *socket) Notify(f func()) {
	s.mu.Lock()
	s.notify = f
	s.mu.Unlock()
	s.Socket.Notify(f)
}

// Call implements [pfkey.Caller].
func (s *socket) Call(c pfkey.Call) pfkey.Errno { return pfkey.CallOn(s.Socket, c) }

// Close implements [pfkey.Socket].
func (s *socket) Close() {
	s.mu.Lock()
	s.closed = true
	s.queue, s.delayed = nil, nil
	s.mu.Unlock()
	s.Socket.Close()
}

// Recv implements [pfkey.Socket].
func (s *socket) Recv(buf []byte, flags pfkey.RecvFlags) (n, size int, errno pfkey.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The engine says what it thinks of the flags, without giving anything away.
	if len(s.queue) == 0 || flags&^(pfkey.RecvPeek|pfkey.RecvTrunc) != 0 {
		if _, _, errno := s.Socket.Recv(nil, flags|pfkey.RecvPeek); errno != wire.OK {
			return 0, 0, errno
		}
	}
	for len(s.queue) == 0 {
		msg, errno := s.take()
		if errno != wire.OK {
			return 0, 0, errno
		}
		s.spoil(msg, 0)
	}
	msg := s.queue[0]
	if flags&pfkey.RecvPeek == 0 {
		s.queue[0] = nil
		s.queue = s.queue[1:]
	}
	return copy(buf, msg), len(msg), wire.OK
}

// take reads a message of the engine. It needs s.mu.
func (s *socket) take() ([]byte, pfkey.Errno) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	n, _, errno := s.Socket.Recv(*buf, 0)
	if errno != wire.OK {
		return nil, errno
	}
	return slices.Clone((*buf)[:n]), wire.OK
}

// buffers are as long as the longest message.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, wire.MaxLen)
	return &b
}}

// spoil puts what becomes of msg into the queue; the faults before first have been tried. It needs s.mu.
func (s *socket) spoil(msg []byte, first int) {
	if s.full > 0 {
		s.full--
		return
	}
	k, d := s.k, s.k.dialect
	for i := first; i < len(k.script.faults); i++ {
		f := &k.script.faults[i]
		h, err := d.Header(msg)
		if err != nil || f.kind == "refuse" || !k.choose(i, h) {
			continue
		}
		done := true
		switch f.kind {
		case "drop":
			k.count(i)
			return
		case "full":
			s.full = f.number - 1
			k.count(i)
			return
		case "delay":
			s.delayed = append(s.delayed, delayed{msg, f.number})
			k.count(i)
			return
		case "duplicate":
			s.spoil(slices.Clone(msg), i+1)
		case "reorder":
			next, errno := s.take()
			if done = errno == wire.OK; done {
				s.spoil(next, 0)
			}
		case "truncate":
			n := f.number
			if n < 0 {
				n = k.upTo(len(msg))
			}
			if done = n < len(msg); done {
				msg = msg[:max(n, 1)] // an empty message is none
			}
		case "strip":
			msg, done = strip(d, msg, f.ext)
		case "add":
			msg = add(d, msg, f.ext, f.bytes)
		case "length":
			var x wire.Ext
			if x, done = d.Find(msg, f.ext); done {
				d.Order.PutUint16(msg[x.Offset:], uint16(f.number))
			}
		case "errno":
			msg = msg[:wire.HeaderLen]
			h.Errno, h.Len = d.ErrnoNumber(f.errno), wire.HeaderLen/8
			d.PutHeader(msg, h)
		case "pid":
			done = h.PID != uint32(f.number)
			h.PID = uint32(f.number)
			d.PutHeader(msg, h)
		case "seq":
			done = h.Seq != wire.Seq(f.number)
			h.Seq = wire.Seq(f.number)
			d.PutHeader(msg, h)
		}
		if done {
			k.count(i)
		} else {
			k.give(i)
		}
	}
	s.queue = append(s.queue, msg)
}

// strip removes the first extension of a type.
func strip(d *wire.Dialect, msg []byte, t wire.ExtType) ([]byte, bool) {
	x, ok := d.Find(msg, t)
	if !ok {
		return msg, false
	}
	return d.Finish(slices.Delete(msg, x.Offset, x.Offset+len(x.Raw))), true
}

// add appends an extension.
func add(d *wire.Dialect, msg []byte, t wire.ExtType, body []byte) []byte {
	n := 4 + len(body)
	n += -n & 7
	out := d.AppendExtHeader(slices.Clone(msg), t, n)
	out = append(out, body...)
	return d.Finish(append(out, make([]byte, n-4-len(body))...))
}
