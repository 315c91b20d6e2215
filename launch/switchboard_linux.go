package launch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/pfkey"
)

// gatePatience is how long the first program that looks for an answer is held up while there is no engine: a successor needs
// some time to start, and a program that finds nothing may give up for good.
const gatePatience = 5 * time.Second

// A Switchboard stands between programs and an engine: it makes their sockets, hands the engine's ends over, and keeps a
// duplicate of each for as long as a program has the other one. So no program ever sees the end of a file, whatever becomes
// of the engine, and the next one finds what has been sent meanwhile. It is a [Handler], and safe for concurrent use.
type Switchboard struct {
	log   *slog.Logger
	epoll int
	wake  int // an eventfd: stop watching
	lost  chan struct{}
	done  chan struct{} // watching has stopped

	gone atomic.Uint64

	// mu is held while ends are handed over, so that a new socket waits for the ones before it. Session.mu comes after it.
	mu      sync.Mutex
	closed  bool
	number  uint64
	ends    map[int32]*end
	session *Session
	ready   chan struct{} // closed while there is a session
	waited  bool          // a gate has waited for a successor in vain
}

// An end is the engine's side of a program's socket, as it is kept.
type end struct {
	fd     int
	number uint64
	cred   pfkey.Cred
}

// NewSwitchboard makes a switchboard without an engine; see [Switchboard.Use]. log may be nil.
func NewSwitchboard(log *slog.Logger) (*Switchboard, error) {
	b := &Switchboard{log: log, lost: make(chan struct{}, 1), done: make(chan struct{}), ends: map[int32]*end{}, ready: make(chan struct{})}
	if log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if b.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("launch: %w", os.NewSyscallError("epoll_create1", err))
	}
	if b.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err == nil {
		if err = b.watchLocked(b.wake, unix.EPOLLIN); err != nil {
			unix.Close(b.wake)
		}
	}
	if err != nil {
		unix.Close(b.epoll)
		return nil, fmt.Errorf("launch: %w", err)
	}
	go b.watch()
	return b, nil
}

// watchLocked has watch hear of fd: always of its hanging up, of other events if they are named.
func (b *Switchboard) watchLocked(fd int, events uint32) error {
	return unix.EpollCtl(b.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// watch drops ends whose programs have closed theirs, and notices when the engine goes. It is one goroutine, which Close
// waits for.
func (b *Switchboard) watch() {
	defer close(b.done)
	events := make([]unix.EpollEvent, 64)
	for {
		n, err := unix.EpollWait(b.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			b.log.Error("cannot watch the sockets of programs", "err", err)
			return
		}
		b.mu.Lock()
		if b.closed {
			b.mu.Unlock()
			return
		}
		for _, e := range events[:max(n, 0)] {
			if b.session != nil && int(e.Fd) == b.session.fd {
				b.loseLocked(b.session)
			} else if x := b.ends[e.Fd]; x != nil {
				b.dropLocked(x)
			}
		}
		b.mu.Unlock()
	}
}

// dropLocked lets go of an end.
func (b *Switchboard) dropLocked(x *end) {
	// The engine has a duplicate, so that closing alone would not end the watch.
	_ = unix.EpollCtl(b.epoll, unix.EPOLL_CTL_DEL, x.fd, nil)
	unix.Close(x.fd)
	delete(b.ends, int32(x.fd))
	b.gone.Add(1)
}

// loseLocked gives s up, unless that has been done.
func (b *Switchboard) loseLocked(s *Session) {
	if b.session != s {
		return
	}
	_ = unix.EpollCtl(b.epoll, unix.EPOLL_CTL_DEL, s.fd, nil)
	b.session, b.ready, b.waited = nil, make(chan struct{}), false
	s.Close()
	select {
	case b.lost <- struct{}{}:
	default:
	}
}

// Lost tells, by a value, that the engine in use has gone.
func (b *Switchboard) Lost() <-chan struct{} { return b.lost }

// Open is how many sockets programs have.
func (b *Switchboard) Open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.ends)
}

// Use makes s the session through which ends go, instead of the one before, and hands all over that there are, the oldest
// first. It owns s from here on. An error says that the engine is gone again; that is not told by Lost then.
func (b *Switchboard) Use(s *Session) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		s.Close()
		return fmt.Errorf("launch: %w", os.ErrClosed)
	}
	for _, x := range slices.SortedFunc(maps.Values(b.ends), func(x, y *end) int { return cmp.Compare(x.number, y.number) }) {
		if err := s.attach(x.fd, x.cred); errors.Is(err, errLost) {
			s.Close()
			return fmt.Errorf("launch: %w", err)
		} else if err != nil {
			b.log.Error("the engine does not take a socket over", "pid", x.cred.PID, "err", err)
		}
	}
	if old := b.session; old != nil {
		_ = unix.EpollCtl(b.epoll, unix.EPOLL_CTL_DEL, old.fd, nil)
		old.Close()
	} else {
		close(b.ready)
	}
	b.session = s
	if err := b.watchLocked(s.fd, 0); err != nil {
		b.log.Error("cannot watch the engine", "err", err)
	}
	return nil
}

// Socket implements [Handler].
func (b *Switchboard) Socket(cred pfkey.Cred) (*os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		if err == unix.EMFILE {
			err = unix.ENFILE // it is not the program's table that is full
		}
		return nil, os.NewSyscallError("socketpair", err)
	}
	if err := b.keep(pair[0], cred); err != nil {
		unix.Close(pair[0])
		unix.Close(pair[1])
		return nil, err
	}
	return os.NewFile(uintptr(pair[1]), "client"), nil
}

// keep hands the end over and keeps it.
func (b *Switchboard) keep(fd int, cred pfkey.Cred) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return unix.ENETDOWN
	}
	if s := b.session; s != nil {
		if err := s.attach(fd, cred); errors.Is(err, errLost) {
			b.loseLocked(s) // a successor will get it
		} else if err != nil {
			return err
		}
	}
	if err := b.watchLocked(fd, 0); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	b.number++
	b.ends[int32(fd)] = &end{fd: fd, number: b.number, cred: cred}
	return nil
}

// Gate implements [Handler]. While there is no engine it waits for one, but only once and not for ever.
func (b *Switchboard) Gate() {
	for {
		b.mu.Lock()
		s, ready, wait := b.session, b.ready, !b.waited && !b.closed && len(b.ends) > 0
		b.mu.Unlock()
		if s != nil {
			err := s.gate()
			if !errors.Is(err, errLost) {
				return
			}
			b.mu.Lock()
			b.loseLocked(s)
			b.mu.Unlock()
			continue
		}
		if !wait {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), gatePatience)
		select {
		case <-ready:
		case <-b.done:
		case <-ctx.Done():
			b.mu.Lock()
			b.waited = true
			b.mu.Unlock()
		}
		cancel()
	}
}

// Close ends the session and lets go of all ends. A second call does nothing.
func (b *Switchboard) Close() {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	b.closed = true
	if b.session != nil {
		b.session.Close()
		b.session = nil
	}
	b.mu.Unlock()
	one := [8]byte{7: 1, 0: 1} // a number other than zero in either byte order
	_, _ = unix.Write(b.wake, one[:])
	<-b.done
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.ends {
		b.dropLocked(x)
	}
	unix.Close(b.epoll)
	unix.Close(b.wake)
}
