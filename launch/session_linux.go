package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/door"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// errLost says that the engine has gone.
var errLost = errors.New("the engine is gone")

// greetingTime is how many seconds an engine may take to greet.
const greetingTime = 30

// A Session is the way to hand ends over to one engine. It is safe for concurrent use.
//
// Replies are read by those who wait for one, in turn: whoever has the token reads, and gives the others theirs. So the
// thread that has asked is the one that the reply wakes.
type Session struct {
	address string
	end     *os.File // keeps fd open
	fd      int
	turn    uint64        // how many there were before it on its switchboard, which sets it
	token   chan struct{} // holds one, unless somebody reads
	lost    chan struct{} // closed when no reply can come any more

	use sync.RWMutex // of fd; taken by Close alone

	mu      sync.Mutex
	serial  uint32
	waiting map[uint32]waiting
	over    bool
}

// waiting is somebody who waits for a reply.
type waiting struct {
	op    byte
	reply chan reply // holds one
}

// Dial opens a session with the engine that listens for it at path ([AttachPath]). The error has [pfkey.ErrNoEngine] in
// its chain if nobody does.
func Dial(path string) (*Session, error) {
	c, err := door.Dial(context.Background(), "unixpacket", path)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED):
		return nil, fmt.Errorf("launch: %w takes sockets over at %s: %w", pfkey.ErrNoEngine, path, errnoOf(err))
	case err != nil:
		return nil, fmt.Errorf("launch: %w", err)
	}
	defer c.Close()
	f, err := c.File()
	if err != nil {
		return nil, fmt.Errorf("launch: %w", err)
	}
	return NewSession(f)
}

// NewSession opens a session over end, a connected SOCK_SEQPACKET Unix socket with a desk at the other side. It owns
// end, and closes it if there is an error.
func NewSession(end *os.File) (*Session, error) {
	s := &Session{
		end: end, fd: int(end.Fd()), // Fd makes it a blocking one
		token: make(chan struct{}, 1), lost: make(chan struct{}), waiting: map[uint32]waiting{},
	}
	s.token <- struct{}{}
	err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: greetingTime})
	var n int
	b := make([]byte, maxGreeting)
	if err == nil {
		n, err = s.recv(b)
	}
	if err == nil {
		s.address, err = parseGreeting(b[:n])
	}
	if err == nil {
		err = unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{})
	}
	if err != nil {
		end.Close()
		if errors.Is(err, unix.EAGAIN) {
			err = errors.New("the engine does not answer")
		}
		return nil, fmt.Errorf("launch: %w", err)
	}
	return s, nil
}

// Address is what the engine says where it is, KERNEL:PATH.
func (s *Session) Address() string { return s.address }

// Close ends the session; what was attached stays so. A second call does nothing.
func (s *Session) Close() {
	s.hangUp()
	s.use.Lock()
	defer s.use.Unlock()
	s.end.Close()
}

// hangUp ends the session without closing the descriptor; who waits for an engine that does not answer waits no more.
func (s *Session) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.over = true
		_ = unix.Shutdown(s.fd, unix.SHUT_RDWR)
		close(s.lost)
	}
}

// recv waits for a message; errLost if none can come any more.
func (s *Session) recv(b []byte) (int, error) {
	for {
		n, err := unix.Read(s.fd, b)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, err
		case err != nil, n == 0:
			return 0, errLost
		default:
			return n, nil
		}
	}
}

// do sends a request and waits for its reply. fd goes along unless it is negative. The error is errLost if the engine
// is gone, and otherwise the errno that it answered.
func (s *Session) do(r request, fd int) (value uint32, err error) {
	s.use.RLock()
	defer s.use.RUnlock()
	w := waiting{r.op, make(chan reply, 1)}
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return 0, errLost
	}
	s.serial++
	r.serial = s.serial
	s.waiting[r.serial] = w
	s.mu.Unlock()
	if err := s.ask(r, fd); err != nil {
		s.mu.Lock()
		delete(s.waiting, r.serial)
		s.mu.Unlock()
		return 0, err
	}
	for {
		select {
		case reply := <-w.reply:
			return reply.value, reply.err()
		case <-s.lost:
			select {
			case reply := <-w.reply: // it came just before
				return reply.value, reply.err()
			default:
				return 0, errLost
			}
		case <-s.token:
			s.read(r.serial)
			s.token <- struct{}{}
		}
	}
}

// ask sends a request.
func (s *Session) ask(r request, fd int) (err error) {
	if len(r.msg) > inlineLen {
		if fd, err = fileOf(r.msg); err != nil {
			return unix.ENOBUFS
		}
		defer unix.Close(fd)
		r.msg = nil
	}
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	b := r.append(make([]byte, 0, requestLen+len(r.msg)))
	defer clear(b) // there may be keys in it
	for {
		switch err := unix.Sendmsg(s.fd, b, rights, nil, unix.MSG_NOSIGNAL); err {
		case nil:
			return nil
		case unix.EINTR:
		case unix.ETOOMANYREFS:
			return err // too many descriptors are on their way; the engine is not to blame
		default:
			s.hangUp()
			return errLost
		}
	}
}

// read gives replies to those who wait for them, until that with this serial number has come, or there can be no more.
// Its caller has the token.
func (s *Session) read(serial uint32) {
	b := make([]byte, replyLen+1) // one more byte than a reply has, so that a longer one shows
	for {
		s.mu.Lock()
		_, missing := s.waiting[serial]
		missing = missing && !s.over
		s.mu.Unlock()
		if !missing {
			return
		}
		n, err := s.recv(b)
		var r reply
		if err == nil {
			r, err = parseReply(b[:n])
		}
		s.mu.Lock()
		w, ok := s.waiting[r.serial]
		delete(s.waiting, r.serial)
		s.mu.Unlock()
		if err != nil || !ok || w.op != r.op { // it has gone, or speaks something else
			s.hangUp()
			return
		}
		w.reply <- r
	}
}

// fileOf makes a file in memory that holds msg.
func fileOf(msg []byte) (fd int, err error) {
	if fd, err = unix.MemfdCreate("message", unix.MFD_CLOEXEC); err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	for n := 0; len(msg) > 0; msg = msg[n:] {
		if n, err = unix.Write(fd, msg); err != nil && err != unix.EINTR {
			unix.Close(fd)
			return -1, os.NewSyscallError("write", err)
		}
		n = max(n, 0)
	}
	return fd, nil
}

// Trace has the engine write down every message of the sockets that are attached from now on. The file stays the
// caller's.
func (s *Session) Trace(r TraceRequest) error {
	_, err := s.do(request{op: opTrace, format: r.Format, keys: r.ShowKeys}, int(r.File.Fd()))
	runtime.KeepAlive(r.File)
	if err != nil {
		return fmt.Errorf("launch: trace: %w", err)
	}
	return nil
}
