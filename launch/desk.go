package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/door"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// maxSessions is how many sessions a desk has at a time with those that come through a listener; one more is refused.
const maxSessions = 256

// DeskOptions change what a desk does. The zero value is ready.
type DeskOptions struct {
	Address string               // told to whoever opens a session
	Check   func(net.Conn) error // decides who may open a session; nil: whoever can connect
	Log     *slog.Logger         // nil: nothing is logged
	// Traced makes a server whose sockets are written down as r asks, and what to call when its last socket is gone.
	// Nil: traces are refused.
	Traced func(r TraceRequest) (server *pfkey.Server, release func(), err error)
	// Sockets writes the list of all PF_KEY sockets as the kernel's file in /proc has it. Nil: it has none.
	Sockets func(w io.Writer) error
}

// A Desk takes ends of PF_KEY sockets over from switchboards, and attaches them to a server. It has at most 256
// sessions at a time. It is safe for concurrent use.
//
// Who opens a session may attach ends in anybody's name, so Check should let in only whom the engine trusts.
type Desk struct {
	server *pfkey.Server
	o      DeskOptions
	log    *slog.Logger

	sessions, attached, refused, sends, traces atomic.Uint64

	door *door.Doorway // shut by Close

	mu      sync.Mutex
	open    map[net.Conn]struct{} // sessions
	serving sync.WaitGroup        // sessions that came through a listener; Add only with mu held and the door open
}

// NewDesk makes a desk in front of server.
func NewDesk(server *pfkey.Server, o DeskOptions) *Desk {
	d := &Desk{server: server, o: o, log: o.Log, open: map[net.Conn]struct{}{}}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.door = door.NewDoorway(door.Rules{
		Check: o.Check,
		Max:   maxSessions,
		Full:  fmt.Errorf("%d sessions are open, and there may be no more", maxSessions),
		Waits: func(err error, retry time.Duration) {
			d.log.Warn("cannot accept who hands sockets over", "err", err, "retry", retry)
		},
	})
	return d
}

// DeskCounters is a reading of a desk's counters.
type DeskCounters struct {
	Sessions uint64 `json:"sessions"` // switchboards that came
	Attached uint64 `json:"attached"` // ends taken over
	Refused  uint64 `json:"refused"`  // ends that the server did not take, and switchboards that may not open a session
	Sends    uint64 `json:"sends"`    // messages carried out for programs that were stopped meanwhile
	Traces   uint64 `json:"traces"`   // sessions that are written down
}

// Counters reads the counters.
func (d *Desk) Counters() DeskCounters {
	return DeskCounters{d.sessions.Load(), d.attached.Load(), d.refused.Load(), d.sends.Load(), d.traces.Load()}
}

// Serve opens a session for everybody who comes through l, whose sockets must be of type SOCK_SEQPACKET, until Close or
// the end of ctx, which is the same as Close. It closes l, and returns nil then.
func (d *Desk) Serve(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, d.Close)()
	if err := d.door.Serve(l, d.enter); err != nil {
		return fmt.Errorf("launch: %w", err)
	}
	return nil
}

// enter opens a session, or says why there is none.
func (d *Desk) enter(c net.Conn, refusal error, left func()) {
	d.mu.Lock()
	switch {
	case d.door.Shutting(): // Close may wait already
		d.mu.Unlock()
		c.Close()
	case refusal != nil:
		d.mu.Unlock()
		left()
		d.turnAway(c, refusal)
	default:
		d.serving.Go(func() {
			defer left()
			d.ServeConn(c)
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
	d.door.Shut()
	for c := range d.open {
		c.Close()
	}
	d.mu.Unlock()
	_ = d.door.Wait(context.Background())
	d.serving.Wait()
}

// ServeConn serves one session over c, a SOCK_SEQPACKET Unix socket, which it closes. It returns when the session has
// ended and, unless the desk was closed, all clients it brought have left.
func (d *Desk) ServeConn(c net.Conn) {
	defer c.Close()
	uc, ok := c.(*net.UnixConn)
	d.mu.Lock()
	ok = ok && !d.door.Shutting()
	if ok {
		d.open[c] = struct{}{}
	}
	d.mu.Unlock()
	if !ok {
		return
	}
	d.sessions.Add(1)
	s := &deskSession{desk: d, conn: uc, server: d.server, conns: map[uint64]*pfkey.Conn{}}
	err := s.serve()
	d.mu.Lock()
	delete(d.open, c)
	d.mu.Unlock()
	c.Close()
	if err != nil && !d.door.Shutting() {
		d.log.Warn("a session of the hand-over ended", "err", err)
	}
	for _, conn := range s.conns {
		conn.Begin() // who was held for a begin that cannot come any more
		select {
		case <-conn.Done():
		case <-d.door.Done():
		}
	}
	if s.release != nil {
		s.release()
	}
}

// deskSession is one session. It is used by one goroutine: an engine does one thing at a time anyway, and nothing here
// waits for a client.
type deskSession struct {
	desk    *Desk
	conn    *net.UnixConn
	server  *pfkey.Server
	release func() // nil: nothing is traced
	conns   map[uint64]*pfkey.Conn
}

func (s *deskSession) serve() error {
	if _, err := s.conn.Write(appendGreeting(nil, s.desk.o.Address)); err != nil {
		return err
	}
	// One more byte than any request has, so that a longer one shows.
	buf, oob := make([]byte, requestLen+inlineLen+1), make([]byte, unix.CmsgSpace(4*4))
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
		out := reply{op: r.op, serial: r.serial}
		switch r.op {
		case opAttach, opTrace:
			out.errno = s.take(r, files)
		case opSockets:
			out.errno = s.list(files)
		default:
			if conn := s.conns[r.end]; conn != nil {
				out.errno, out.value = s.work(conn, r, files)
			} else {
				closeAll(files)
				out.errno = unix.ENOTCONN
			}
		}
		clear(buf[:n]) // there may be keys in it
		if _, err := s.conn.Write(out.append(make([]byte, 0, replyLen))); err != nil {
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

// take takes over what comes with a descriptor.
func (s *deskSession) take(r request, files []*os.File) unix.Errno {
	if len(files) != 1 {
		closeAll(files)
		s.desk.refused.Add(1)
		return unix.ENFILE // the kernel drops descriptors that do not fit into our table
	}
	if r.op == opTrace {
		return s.trace(TraceRequest{File: files[0], Format: r.format, ShowKeys: r.keys})
	}
	conn, err := s.server.Adopt(files[0], r.cred, pfkey.AdoptOptions{Hosted: r.hosted})
	if err != nil {
		files[0].Close()
		s.desk.refused.Add(1)
		s.desk.log.Warn("cannot attach a socket", "pid", r.cred.PID, "err", err)
		return errnoOf(err)
	}
	s.desk.attached.Add(1)
	s.forget()
	s.conns[r.end] = conn
	if !r.held {
		conn.Begin()
	}
	return 0
}

// work does what has to do with one end.
func (s *deskSession) work(conn *pfkey.Conn, r request, files []*os.File) (unix.Errno, uint32) {
	defer closeAll(files)
	switch r.op {
	case opBegin:
		conn.Begin()
		return 0, 0
	case opReplay:
		conn.Replay(r.msg)
		return 0, 0
	case opSend:
		msg := r.msg
		if len(files) == 1 {
			var err error
			if msg, err = io.ReadAll(io.NewSectionReader(files[0], 0, maxMessage)); err != nil {
				return errnoOf(err), 0
			}
			defer clear(msg)
		}
		s.desk.sends.Add(1)
		errno := number(conn.Send(msg, r.cred.PID))
		if errno != 0 {
			return errno, 0
		}
		return 0, pfkey.StateKey(msg)
	case opCall:
		return number(pfkey.CallOn(conn.Socket(), pfkey.Call(r.what))), 0
	case opSet:
		return number(conn.Socket().SetOption(pfkey.Option(r.what), int(r.value))), 0
	default: // opGet
		value, errno := conn.Socket().GetOption(pfkey.Option(r.what))
		return number(errno), uint32(value)
	}
}

// number is the errno of this machine with the name of e, 0 if e says that nothing is wrong.
func number(e pfkey.Errno) unix.Errno {
	var fine pfkey.Errno
	if e == fine {
		return 0
	}
	if n, ok := pfkey.HostErrno(e); ok {
		return n
	}
	return unix.EIO
}

// list writes the sockets of the kernel into a file.
func (s *deskSession) list(files []*os.File) unix.Errno {
	defer closeAll(files)
	if s.desk.o.Sockets == nil {
		return unix.ENOENT
	}
	if len(files) != 1 {
		return unix.ENFILE
	}
	if err := s.desk.o.Sockets(files[0]); err != nil {
		return errnoOf(err)
	}
	return 0
}

// forget drops clients that have left.
func (s *deskSession) forget() {
	maps.DeleteFunc(s.conns, func(_ uint64, c *pfkey.Conn) bool {
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

// errnoOf is the errno in the chain of err, EIO if there is none. A program whose own table has room hears that the
// system's is full.
func errnoOf(err error) unix.Errno {
	var errno unix.Errno
	switch {
	case !errors.As(err, &errno):
		return unix.EIO
	case errno == unix.EMFILE:
		return unix.ENFILE
	}
	return errno
}
