// Package trace writes down what goes through the PF_KEY sockets of an engine, as text for people or as pcapng for programs.
//
// A [Trace] stands between a server and an engine: it is itself a [pfkey.Engine], whose sockets write every message down on its
// way. Key bytes are zero in it unless somebody asks for them.
package trace

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Options say how a trace looks. Now must be set.
type Options struct {
	Pcapng   bool             // otherwise text
	ShowKeys bool             // write key bytes as they are
	Now      func() time.Time // the time of a message, such as the engine's clock
}

// A Trace is an engine whose messages are written down. It is safe for concurrent use.
type Trace struct {
	engine  pfkey.Engine
	dialect *wire.Dialect
	o       Options

	mu     sync.Mutex // guards what follows
	w      io.Writer
	number int
	err    error
}

// New makes a trace of engine, and writes its beginning to w. Each message is one Write to w, which is never called twice at
// once. After an error of w nothing more is written; see Err.
func New(engine pfkey.Engine, w io.Writer, o Options) *Trace {
	t := &Trace{engine: engine, dialect: engine.Dialect(), o: o, w: w}
	if o.Pcapng {
		t.write(pcapngHeader(t.dialect.Name))
	} else {
		t.write(fmt.Appendf(nil, "# PF_KEY messages, dialect %s; > to the kernel, < from it\n", t.dialect.Name))
	}
	return t
}

// Err is the error that ended the trace early, nil if none.
func (t *Trace) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

func (t *Trace) write(b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		_, t.err = t.w.Write(b)
	}
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
	s.t.message(s, from.PID, true, msg)
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
		s.t.message(s, s.pid, false, buf[:n])
	}
	return n, size, errno
}

// Close implements [pfkey.Socket].
func (s *socket) Close() {
	s.Socket.Close()
	s.once.Do(func() { s.t.note(s, s.pid, "closes") })
}

// message writes one message down.
func (t *Trace) message(s *socket, pid int32, sent bool, msg []byte) {
	if !t.o.ShowKeys {
		msg = t.dialect.Redact(msg)
	}
	if t.o.Pcapng {
		t.write(pcapngPacket(t.o.Now(), msg, sent, fmt.Sprintf("socket %d, process %d: %s", s.number, pid, t.dialect.Line(msg))))
		return
	}
	var b bytes.Buffer
	t.head(&b, s, pid, map[bool]string{true: ">", false: "<"}[sent])
	fmt.Fprintf(&b, " %s\n", t.dialect.Line(msg))
	t.dialect.Format(&b, msg, wire.FormatOptions{ShowKeys: t.o.ShowKeys})
	t.write(b.Bytes())
}

// note writes down something that is no message. Pcapng has no place for it.
func (t *Trace) note(s *socket, pid int32, what string) {
	if t.o.Pcapng {
		return
	}
	var b bytes.Buffer
	t.head(&b, s, pid, "-")
	fmt.Fprintf(&b, " %s\n", what)
	t.write(b.Bytes())
}

func (t *Trace) head(b *bytes.Buffer, s *socket, pid int32, arrow string) {
	fmt.Fprintf(b, "\n%s socket %d process %d %s", t.o.Now().UTC().Format("2006-01-02T15:04:05.000000Z"), s.number, pid, arrow)
}
