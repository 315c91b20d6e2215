package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
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
type Session struct {
	address string
	end     *os.File // keeps fd open
	fd      int

	once   sync.Once // of Close
	mu     sync.Mutex
	serial uint32
	closed bool
}

// Dial opens a session with the engine that listens for it at path ([AttachPath]). The error has [pfkey.ErrNoEngine] in its
// chain if nobody does.
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

// NewSession opens a session over end, a connected SOCK_SEQPACKET Unix socket with a desk at the other side. It owns end,
// and closes it if there is an error.
func NewSession(end *os.File) (*Session, error) {
	s := &Session{end: end, fd: int(end.Fd())} // Fd makes it a blocking one
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
	s.once.Do(func() {
		_ = unix.Shutdown(s.fd, unix.SHUT_RDWR) // ends the wait for an engine that does not answer
		s.mu.Lock()
		defer s.mu.Unlock()
		s.closed = true
		s.end.Close()
	})
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

// do sends a request and waits for its reply. fd goes along unless it is negative. The error is errLost if the engine is gone,
// and otherwise the errno that it answered.
func (s *Session) do(r request, fd int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errLost
	}
	s.serial++
	r.serial = s.serial
	var oob []byte
	if fd >= 0 {
		oob = unix.UnixRights(fd)
	}
	for {
		err := unix.Sendmsg(s.fd, r.append(make([]byte, 0, requestLen)), oob, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err == unix.ETOOMANYREFS {
			return err // too many descriptors are on their way; the engine is not to blame
		}
		if err != nil {
			return errLost
		}
		break
	}
	// One more byte than a reply has, so that a longer one shows.
	b := make([]byte, replyLen+1)
	n, err := s.recv(b)
	if err != nil {
		return err
	}
	errno, err := checkReply(b[:n], r)
	if err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// attach hands a duplicate of end over.
func (s *Session) attach(end int, cred pfkey.Cred) error {
	return s.do(request{op: opAttach, cred: cred}, end)
}

// gate returns when everything that was sent is handled.
func (s *Session) gate() error { return s.do(request{op: opGate}, -1) }

// Trace has the engine write down every message of the sockets that are attached from now on. The file stays the caller's.
func (s *Session) Trace(r TraceRequest) error {
	err := s.do(request{op: opTrace, format: r.Format, keys: r.ShowKeys}, int(r.File.Fd()))
	if err != nil {
		return fmt.Errorf("launch: trace: %w", err)
	}
	return nil
}
