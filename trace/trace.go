// Package trace writes down what goes through the PF_KEY sockets of an engine, as text for people or as pcapng for
// programs.
//
// A [Trace] stands between a server and an engine: it is itself a [pfkey.Engine], whose sockets write every message
// down on its way. Key bytes are zero in it unless somebody asks for them. Nobody waits for the file: what comes faster
// than it can be written is left out, and the trace says where and how much.
package trace

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A Format is how a trace is written.
type Format uint8

// The formats.
const (
	Text   Format = iota // annotated text, for people
	Pcapng               // packets of link type USER0 with a comment each, for programs
)

// Options say how a trace looks. Now must be set.
type Options struct {
	Format   Format
	ShowKeys bool             // write key bytes as they are
	Now      func() time.Time // the time of a message, such as the engine's clock
	// Machine is the clock of the machine, whose time stands beside that of Now: where that one is told to move, many
	// messages have the same time. Nil: there is one time only.
	Machine func() time.Time
	// Queue bounds what waits to be written, in bytes, each record with 128 for itself; 0: 16 MiB. What comes on top is
	// left out.
	Queue int
	// Failed hears of the error of the writer that ends the trace early, once, at once and on another goroutine. Nil:
	// nobody does.
	Failed func(error)
}

// A Trace is an engine whose messages are written down. It is safe for concurrent use.
type Trace struct {
	engine  pfkey.Engine
	dialect *wire.Dialect
	o       Options
	w       io.Writer
	done    chan struct{} // closed when everything is written, or nothing can be any more

	mu     sync.Mutex // guards what follows; it is held for the time of an append only
	wake   sync.Cond
	number int // of the last socket
	queue  []record
	size   int // of what is in the queue, see record.size
	lost   uint64
	closed bool
	err    error // of the writer; from there on everything is lost
	counts Counters
}

// Counters say how much has been written and how much is missing.
type Counters struct {
	Written uint64 `json:"written"` // records: messages and, in text, what else happens to sockets
	Lost    uint64 `json:"lost"`    // left out, because they could not be written fast enough, or at all
}

// New makes a trace of engine, and writes its beginning to w. Each record is one Write to w, by a goroutine that ends
// with [Trace.Close]. w may be slow, or stand still: see [Options].Queue.
func New(engine pfkey.Engine, w io.Writer, o Options) *Trace {
	t := &Trace{engine: engine, dialect: engine.Dialect(), o: o, w: w, done: make(chan struct{})}
	if t.o.Queue <= 0 {
		t.o.Queue = defaultQueue
	}
	t.wake.L = &t.mu
	go t.write()
	return t
}

// Dialect implements [pfkey.Engine].
func (t *Trace) Dialect() *wire.Dialect { return t.dialect }

// Open implements [pfkey.Engine].
func (t *Trace) Open(c pfkey.Cred, typ, proto int) (pfkey.Socket, pfkey.Errno) {
	s, errno := t.engine.Open(c, typ, proto)
	if errno != wire.OK {
		return nil, errno
	}
	t.mu.Lock()
	t.number++
	own := &socket{Socket: s, t: t, number: t.number, pid: c.PID}
	t.mu.Unlock()
	t.note(own, own.pid, "opens")
	return own, wire.OK
}

// socket writes down what goes through it.
type socket struct {
	pfkey.Socket
	t      *Trace
	number int
	pid    int32
	once   sync.Once
}

// Send implements [pfkey.Socket].
func (s *socket) Send(msg []byte, from pfkey.Cred) pfkey.Errno {
	s.t.message(s, from.PID, toKernel, msg)
	errno := s.Socket.Send(msg, from)
	if errno != wire.OK {
		s.t.note(s, from.PID, "send fails: "+errno.String())
	}
	return errno
}

// Recv implements [pfkey.Socket].
func (s *socket) Recv(buf []byte, flags pfkey.RecvFlags) (n, size int, errno pfkey.Errno) {
	n, size, errno = s.Socket.Recv(buf, flags)
	if errno == wire.OK && flags&pfkey.RecvPeek == 0 {
		s.t.message(s, s.pid, fromKernel, buf[:n])
	}
	return n, size, errno
}

// Call implements [pfkey.Caller].
func (s *socket) Call(c pfkey.Call) pfkey.Errno { return pfkey.CallOn(s.Socket, c) }

// Close implements [pfkey.Socket].
func (s *socket) Close() {
	s.Socket.Close()
	s.once.Do(func() { s.t.note(s, s.pid, "closes") })
}

// message writes one message down.
func (t *Trace) message(s *socket, pid int32, d direction, msg []byte) {
	if t.o.ShowKeys {
		msg = slices.Clone(msg)
	} else {
		msg = t.dialect.Redact(msg)
	}
	t.put(record{socket: s.number, pid: pid, direction: d, data: msg})
}

// note writes down something that is no message. Pcapng has no place for it.
func (t *Trace) note(s *socket, pid int32, what string) {
	if t.o.Format != Pcapng {
		t.put(record{socket: s.number, pid: pid, data: []byte(what)})
	}
}

// beginning is what a trace has before its first record.
func (t *Trace) beginning() []byte {
	if t.o.Format == Pcapng {
		return pcapngHeader(t.dialect.Name)
	}
	b := fmt.Appendf(nil, "# PF_KEY messages, dialect %s; > to the kernel, < from it\n", t.dialect.Name)
	if t.o.Machine != nil {
		b = append(b, "# two times: that of the engine's clock, which is told to move, and that of the machine's\n"...)
	}
	return b
}

// format makes what is written of a record.
func (t *Trace) format(r *record) []byte {
	if t.o.Format == Pcapng {
		real := ""
		if t.o.Machine != nil {
			real = ", machine's time " + stamp(r.machine)
		}
		comment := fmt.Sprintf("socket %d, process %d%s: %s", r.socket, r.pid, real, t.dialect.Line(r.data))
		return pcapngPacket(r, comment)
	}
	var b bytes.Buffer
	if r.lost > 0 {
		fmt.Fprintf(&b, "\n# records missing here: %d; they came faster than they could be written\n", r.lost)
	}
	fmt.Fprintf(&b, "\n%s ", stamp(r.at))
	if t.o.Machine != nil {
		fmt.Fprintf(&b, "%s ", stamp(r.machine))
	}
	fmt.Fprintf(&b, "socket %d process %d %c ", r.socket, r.pid, r.direction.arrow())
	if r.direction == toNobody {
		fmt.Fprintf(&b, "%s\n", r.data)
		return b.Bytes()
	}
	fmt.Fprintf(&b, "%s\n", t.dialect.Line(r.data))
	t.dialect.Format(&b, r.data, wire.FormatOptions{ShowKeys: t.o.ShowKeys})
	return b.Bytes()
}

func stamp(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000000Z") }

// A direction says where a record goes.
type direction byte

const (
	toNobody   direction = iota // it is no message
	toKernel                    // a program has sent it
	fromKernel                  // a program gets it
)

func (d direction) arrow() byte { return "-><"[d] }
