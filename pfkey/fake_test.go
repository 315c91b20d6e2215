package pfkey_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A fakeEngine does what a test tells it to. Without being told it echoes every message to its sender.
type fakeEngine struct {
	dialect *wire.Dialect
	open    func(c pfkey.Cred) pfkey.Errno                               // nil: everybody
	request func(s *fakeSocket, msg []byte, from pfkey.Cred) pfkey.Errno // nil: echo
	room    int                                                          // bytes a socket's queue holds; 0: any number
	mu      sync.Mutex
	sockets []*fakeSocket
}

func newFake() *fakeEngine { return &fakeEngine{dialect: wire.Linux()} }

func (e *fakeEngine) Dialect() *wire.Dialect { return e.dialect }

func (e *fakeEngine) Open(c pfkey.Cred, typ, proto int) (pfkey.Socket, pfkey.Errno) {
	if typ != 3 || proto != 2 {
		return nil, wire.EPROTONOSUPPORT
	}
	if e.open != nil {
		if errno := e.open(c); errno != wire.OK {
			return nil, errno
		}
	}
	s := &fakeSocket{e: e, cred: c}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sockets = append(e.sockets, s)
	return s, wire.OK
}

// all lists the open sockets in the order in which they were opened.
func (e *fakeEngine) all() []*fakeSocket {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]*fakeSocket(nil), e.sockets...)
}

type fakeSocket struct {
	e    *fakeEngine
	cred pfkey.Cred

	mu     sync.Mutex
	queue  [][]byte
	bytes  int
	lost   int
	taken  int           // messages that Recv gave
	gave   [][]byte      // where it put them
	more   func() []byte // a paced dump: makes the next message when the queue is empty, nil at its end
	notify func()
	closed bool
}

func (s *fakeSocket) deliver(msg []byte) {
	s.mu.Lock()
	if s.e.room > 0 && s.bytes+len(msg) > s.e.room {
		s.lost++
		s.mu.Unlock()
		return
	}
	s.queue = append(s.queue, append([]byte(nil), msg...))
	s.bytes += len(msg)
	first, f := len(s.queue) == 1, s.notify
	s.mu.Unlock()
	if first && f != nil {
		f()
	}
}

func (s *fakeSocket) Send(msg []byte, from pfkey.Cred) pfkey.Errno {
	if s.e.request != nil {
		return s.e.request(s, msg, from)
	}
	s.deliver(msg)
	return wire.OK
}

func (s *fakeSocket) Recv(buf []byte, flags pfkey.RecvFlags) (n, size int, errno pfkey.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, 0, wire.ENOTCONN
	}
	if len(s.queue) == 0 && s.more != nil {
		if msg := s.more(); msg != nil {
			s.queue = append(s.queue, msg)
			s.bytes += len(msg)
		} else {
			s.more = nil
		}
	}
	if len(s.queue) == 0 {
		return 0, 0, wire.EAGAIN
	}
	msg := s.queue[0]
	s.queue = s.queue[1:]
	s.bytes -= len(msg)
	s.taken++
	s.gave = append(s.gave, buf[:min(len(buf), len(msg))])
	return copy(buf, msg), len(msg), wire.OK
}

func (s *fakeSocket) SetOption(pfkey.Option, int) pfkey.Errno   { return wire.ENOPROTOOPT }
func (s *fakeSocket) GetOption(pfkey.Option) (int, pfkey.Errno) { return 0, wire.ENOPROTOOPT }

func (s *fakeSocket) Notify(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notify = f
}

func (s *fakeSocket) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	for i, o := range s.e.sockets {
		if o == s {
			s.e.sockets = append(s.e.sockets[:i:i], s.e.sockets[i+1:]...)
			return
		}
	}
}

// message makes one of n bytes, n at least 16, that can be told from others by seq.
func message(t wire.MsgType, seq wire.Seq, n int) []byte {
	d := wire.Linux()
	msg := d.AppendHeader(make([]byte, 0, n), wire.Header{Version: wire.Version, Type: t, Seq: seq, PID: 7})
	msg = msg[:n]
	for i := wire.HeaderLen; i < n; i++ {
		msg[i] = byte(i)
	}
	return d.Finish(msg)
}

func seqOf(t testing.TB, msg []byte) wire.Seq {
	t.Helper()
	h, err := wire.Linux().Header(msg)
	if err != nil {
		t.Fatal(err)
	}
	return h.Seq
}

// newServer is a server that is closed at the end of the test.
func newServer(t testing.TB, e pfkey.Engine, o pfkey.ServerOptions) *pfkey.Server {
	t.Helper()
	s := pfkey.NewServer(e, o)
	t.Cleanup(func() { s.Close() })
	return s
}

// serve makes s listen, and returns the path. Everything ends with the test.
func serve(t testing.TB, s *pfkey.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := pfkey.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(t.Context(), l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return path
}

// An end is the client's side of a connection, as an unmodified program has it.
type end struct {
	testing.TB
	fd  int
	buf []byte
}

func newEnd(t testing.TB, fd int) *end {
	e := &end{TB: t, fd: fd}
	t.Cleanup(e.close)
	return e
}

// connect connects as a program would.
func connect(t testing.TB, path string) *end {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(fd)
	e := newEnd(t, fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	return e
}

// pair makes a connected pair: one end for a client, one to attach.
func pair(t testing.TB) (*end, *os.File) {
	t.Helper()
	return pairOf(t, unix.SOCK_SEQPACKET)
}

func pairOf(t testing.TB, typ int) (*end, *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, typ, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[1]), "server's end")
	t.Cleanup(func() { f.Close() })
	return newEnd(t, fds[0]), f
}

// attach gives a new client to s.
func attach(t testing.TB, s *pfkey.Server) (*end, *pfkey.Conn) {
	t.Helper()
	e, f := pair(t)
	c, err := s.Attach(f, owner)
	if err != nil {
		t.Fatal(err)
	}
	return e, c
}

var owner = pfkey.Cred{PID: int32(os.Getpid()), UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Privileged: true}

func (e *end) close() {
	if e.fd >= 0 {
		unix.Close(e.fd)
		e.fd = -1
	}
}

func (e *end) send(msg []byte) {
	e.Helper()
	if err := unix.Send(e.fd, msg, unix.MSG_NOSIGNAL); err != nil {
		e.Fatalf("send: %v", err)
	}
}

// recv waits for a message; nil at the end of the file.
func (e *end) recv() []byte {
	e.Helper()
	e.ready(30 * time.Second)
	msg, err := e.tryRecv()
	if err != nil {
		e.Fatalf("recv: %v", err)
	}
	return msg
}

// ready says whether there is something to receive within d.
func (e *end) ready(d time.Duration) bool {
	e.Helper()
	p := []unix.PollFd{{Fd: int32(e.fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(p, int(d.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			e.Fatalf("poll: %v", err)
		}
		return n > 0
	}
}

// tryRecv does not wait. The message is valid until the next one.
func (e *end) tryRecv() ([]byte, error) {
	if e.buf == nil {
		e.buf = make([]byte, 1<<20)
	}
	for {
		n, _, _, _, err := unix.Recvmsg(e.fd, e.buf, nil, unix.MSG_DONTWAIT)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return nil, err
		}
		return e.buf[:n:n], nil
	}
}

// gone says whether the other side has closed.
func (e *end) gone() bool {
	p := []unix.PollFd{{Fd: int32(e.fd)}}
	_, err := unix.Poll(p, 0)
	return err == nil && p[0].Revents&unix.POLLHUP != 0
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !ok() {
		if ctx.Err() != nil {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond) // another goroutine of the server is about to make it so, and tells nobody
	}
}

// a packetConn hides that it is a Unix socket, so that a client uses it as any net.Conn.
type packetConn struct{ *net.UnixConn }

func (c packetConn) Read(b []byte) (int, error) {
	n, err := c.UnixConn.Read(b)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// netConn gives the end away as a connection of package net.
func (e *end) netConn() *net.UnixConn {
	defer e.close()
	return fileConn(e, uintptr(e.fd))
}

// fileConn makes a connection of a duplicate of fd.
func fileConn(t testing.TB, fd uintptr) *net.UnixConn {
	t.Helper()
	dup, err := unix.Dup(int(fd))
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(dup), "end")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.UnixConn)
}
