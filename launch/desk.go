package launch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/door"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// MaxSessions is how many sessions a desk has at a time with those that come through a listener; one more is refused.
const MaxSessions = 256

// DeskOptions change what a desk does. The zero value is ready.
type DeskOptions struct {
	Address string               // told to whoever opens a session
	Check   func(net.Conn) error // decides who may open a session; nil: whoever can connect
	Log     *slog.Logger         // nil: nothing is logged
	// Traced makes a server whose sockets are written down as r asks, and what to call when its last socket is gone. Nil: traces
	// are refused.
	Traced func(r TraceRequest) (server *pfkey.Server, release func(), err error)
}

// A Desk takes ends of PF_KEY sockets over from switchboards, and attaches them to a server. It is safe for concurrent use.
//
// Who opens a session may attach ends in anybody's name, so Check should let in only whom the engine trusts.
type Desk struct {
	server *pfkey.Server
	o      DeskOptions
	log    *slog.Logger

	sessions, attached, refused, gates, traces atomic.Uint64

	stop chan struct{} // closed by Close

	mu       sync.Mutex
	stopping bool
	open     map[net.Conn]struct{} // sessions
	visitors int                   // those that came through a listener and have not left yet
	closers  []net.Listener
	serving  sync.WaitGroup
}

// NewDesk makes a desk in front of server.
func NewDesk(server *pfkey.Server, o DeskOptions) *Desk {
	d := &Desk{server: server, o: o, log: o.Log, stop: make(chan struct{}), open: map[net.Conn]struct{}{}}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	return d
}

// DeskCounters is a reading of a desk's counters.
type DeskCounters struct {
	Sessions uint64 `json:"sessions"` // switchboards that came
	Attached uint64 `json:"attached"` // ends taken over
	Refused  uint64 `json:"refused"`  // ends that the server did not take, and switchboards that may not open a session
	Gates    uint64 `json:"gates"`    // how often a program was held up until its requests were handled
	Traces   uint64 `json:"traces"`   // sessions that are written down
}

// Counters reads the counters.
func (d *Desk) Counters() DeskCounters {
	return DeskCounters{d.sessions.Load(), d.attached.Load(), d.refused.Load(), d.gates.Load(), d.traces.Load()}
}

// Serve opens a session for everybody who comes through l, whose sockets must be of type SOCK_SEQPACKET, until Close. It
// closes l, and returns nil after Close.
func (d *Desk) Serve(_ context.Context, l net.Listener) error {
	defer l.Close()
	d.mu.Lock()
	if d.stopping {
		d.mu.Unlock()
		return nil
	}
	d.closers = append(d.closers, l)
	d.mu.Unlock()
	a := door.Acceptor{Listener: l, Stop: d.stop, Waits: func(err error, retry time.Duration) {
		d.log.Warn("cannot accept who hands sockets over", "err", err, "retry", retry)
	}}
	for {
		c, err := a.Accept()
		if err != nil {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.stopping {
				return nil
			}
			return fmt.Errorf("launch: %w", err)
		}
		var refusal error
		if d.o.Check != nil {
			refusal = d.o.Check(c)
		}
		d.mu.Lock()
		switch {
		case d.stopping: // Close may wait already
			d.mu.Unlock()
			c.Close()
			return nil
		case refusal == nil && d.visitors >= MaxSessions:
			refusal = fmt.Errorf("%d sessions are open, and there may be no more", MaxSessions)
			fallthrough
		case refusal != nil:
			d.mu.Unlock()
			d.turnAway(c, refusal)
			continue
		}
		d.visitors++
		d.serving.Go(func() {
			d.ServeConn(c)
			d.mu.Lock()
			d.visitors--
			d.mu.Unlock()
		})
		d.mu.Unlock()
	}
}

// turnAway tells the other side why there is no session for it, and closes c. It never waits: a new connection has
// room.
func (d *Desk) turnAway(c net.Conn, why error) {
	d.refused.Add(1)
	d.log.Warn("refused to take sockets over", "err", why)
	_, _ = c.Write(appendRefusal(nil, why.Error()))
	c.Close()
}

// Close ends all sessions, and waits for that. What they have attached stays so. A second call does nothing.
func (d *Desk) Close() {
	d.mu.Lock()
	if !d.stopping {
		d.stopping = true
		close(d.stop)
	}
	closers := d.closers
	d.closers = nil
	for c := range d.open {
		c.Close()
	}
	d.mu.Unlock()
	for _, l := range closers {
		l.Close()
	}
	d.serving.Wait()
}

// ServeConn serves one session over c, a SOCK_SEQPACKET Unix socket, which it closes. It returns when the session has ended
// and, unless the desk was closed, all clients it brought have left.
func (d *Desk) ServeConn(c net.Conn) {
	defer c.Close()
	uc, ok := c.(*net.UnixConn)
	d.mu.Lock()
	ok = ok && !d.stopping
	if ok {
		d.open[c] = struct{}{}
	}
	d.mu.Unlock()
	if !ok {
		return
	}
	d.sessions.Add(1)
	s := &deskSession{desk: d, conn: uc, server: d.server}
	err := s.serve()
	d.mu.Lock()
	delete(d.open, c)
	stopping := d.stopping
	d.mu.Unlock()
	c.Close()
	if err != nil && !stopping {
		d.log.Warn("a session of the hand-over ended", "err", err)
	}
	for _, conn := range s.conns {
		select {
		case <-conn.Done():
		case <-d.stop:
		}
	}
	if s.release != nil {
		s.release()
	}
}

// deskSession is one session. It is used by one goroutine.
type deskSession struct {
	desk    *Desk
	conn    *net.UnixConn
	server  *pfkey.Server
	release func() // nil: nothing is traced
	conns   []*pfkey.Conn
}

func (s *deskSession) serve() error {
	if _, err := s.conn.Write(appendGreeting(nil, s.desk.o.Address)); err != nil {
		return err
	}
	// One more byte than any request has, so that a longer one shows.
	buf, oob, out := make([]byte, requestLen+1), make([]byte, unix.CmsgSpace(4*4)), make([]byte, 0, replyLen)
	for {
		n, oobn, _, _, err := s.conn.ReadMsgUnix(buf, oob)
		if err != nil || n == 0 {
			return nil // it has gone
		}
		files := received(oob[:oobn])
		r, err := parseRequest(buf[:n])
		if err != nil {
			closeAll(files)
			return err
		}
		errno := s.handle(r, files)
		if _, err := s.conn.Write(appendReply(out, r, errno)); err != nil {
			return nil
		}
	}
}

// received makes files of the descriptors that came with a message.
func received(oob []byte) (files []*os.File) {
	records, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range records {
		fds, err := unix.ParseUnixRights(&records[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "handed over"))
		}
	}
	return files
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

func (s *deskSession) handle(r request, files []*os.File) unix.Errno {
	if r.op == opGate {
		closeAll(files)
		s.gate()
		return 0
	}
	if len(files) != 1 {
		closeAll(files)
		s.desk.refused.Add(1)
		return unix.EMFILE // the kernel drops descriptors that do not fit into our table
	}
	if r.op == opTrace {
		return s.trace(TraceRequest{File: files[0], Format: r.format, ShowKeys: r.keys})
	}
	conn, err := s.server.Attach(files[0], r.cred)
	if err != nil {
		files[0].Close()
		s.desk.refused.Add(1)
		s.desk.log.Warn("cannot attach a socket", "pid", r.cred.PID, "err", err)
		return errnoOf(err)
	}
	s.desk.attached.Add(1)
	s.forget()
	s.conns = append(s.conns, conn)
	return 0
}

// gate handles what the session's clients have sent.
func (s *deskSession) gate() {
	s.desk.gates.Add(1)
	s.forget()
	for _, c := range s.conns {
		c.Drain()
	}
}

// forget drops clients that have left.
func (s *deskSession) forget() {
	s.conns = slices.DeleteFunc(s.conns, func(c *pfkey.Conn) bool {
		select {
		case <-c.Done():
			return true
		default:
			return false
		}
	})
}

func (s *deskSession) trace(r TraceRequest) unix.Errno {
	if s.desk.o.Traced == nil || s.release != nil {
		r.File.Close()
		return unix.EOPNOTSUPP
	}
	server, release, err := s.desk.o.Traced(r)
	if err != nil {
		r.File.Close()
		s.desk.log.Warn("cannot write a trace", "err", err)
		return errnoOf(err)
	}
	s.desk.traces.Add(1)
	s.server, s.release = server, release
	return 0
}

// errnoOf is the errno in the chain of err; EIO if there is none.
func errnoOf(err error) unix.Errno {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return unix.EIO
}
