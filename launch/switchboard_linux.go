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

// sendPatience is how long the first program that sends a message is held up while there is no engine: a successor
// needs some time to start, and a program that finds no answer may give up for good.
const sendPatience = 5 * time.Second

// maxKept is how many messages and options are kept of one socket, to be told to the next engine.
const maxKept = 64

// A Switchboard stands between programs and an engine: it makes their sockets, hands the engine's ends over, and keeps
// a duplicate of each for as long as a program has the other one. So no program ever sees the end of a file, whatever
// becomes of the engine. The next one finds what has been sent meanwhile, and is told what belongs to the sockets:
// registrations, promiscuous mode, options. It is a [Handler], and safe for concurrent use.
type Switchboard struct {
	log    *slog.Logger
	hosted bool
	epoll  int
	wake   int // an eventfd: stop watching
	lost   chan struct{}
	done   chan struct{} // watching has stopped

	open  atomic.Int64
	found sync.Map                // FileID of a program's end: *end
	using atomic.Pointer[Session] // the last one that was taken into use
	ended sync.WaitGroup          // sessions

	// mu is held while ends are handed over, so that a new socket waits for the ones before it. end.mu and Session.mu
	// come after it.
	mu      sync.Mutex
	closed  bool
	number  uint64 // of the last end
	turn    uint64 // of the last session
	ends    map[int32]*end
	session *Session
	ready   chan struct{} // closed while there is a session
	waited  bool          // somebody has waited for a successor in vain
}

// An end is the engine's side of a program's socket, as it is kept. It is the program's [Socket].
type end struct {
	board  *Switchboard
	fd     int
	number uint64
	cred   pfkey.Cred
	hosted bool
	id     FileID // of the program's side

	mu      sync.Mutex
	session *Session // that has taken it over
	kept    []kept
	dropped bool // fd is closed, and its number may be another's
}

// errDropped says that no program has the socket any more.
var errDropped = errors.New("the programs have closed the socket")

// kept is what the next engine must be told of a socket.
type kept struct {
	key uint32 // of a message; of options that or 1<<31
	r   request
}

// SwitchboardOptions change what a switchboard does. The zero value is ready.
type SwitchboardOptions struct {
	Log *slog.Logger // nil: nothing is logged
	// Hosted says that the programs were compiled on this machine and speak the dialect of another system, the
	// engine's: see [wire.Hosting]. An engine whose dialect cannot be hosted here refuses each socket.
	Hosted bool
}

// NewSwitchboard makes a switchboard without an engine; see [Switchboard.Use].
func NewSwitchboard(o SwitchboardOptions) (*Switchboard, error) {
	b := &Switchboard{log: o.Log, hosted: o.Hosted, lost: make(chan struct{}, 1), done: make(chan struct{}),
		ends: map[int32]*end{}, ready: make(chan struct{})}
	if b.log == nil {
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

// watch drops ends whose programs have closed theirs, and notices when the engine goes. It is one goroutine, which
// Close waits for.
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
			switch x := b.ends[e.Fd]; {
			case !hungUp(e.Fd): // the number is another socket's since the wait ended
			case b.session != nil && int(e.Fd) == b.session.fd:
				b.loseLocked(b.session)
			case x != nil:
				b.dropLocked(x)
			}
		}
		b.mu.Unlock()
	}
}

// hungUp says whether the other side of a socket has gone. What it misses, the watch tells again.
func hungUp(fd int32) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: fd}}, 0)
	return err == nil && n > 0
}

// dropLocked lets go of an end. Somebody may still have it as a client, who waits for a successor of the engine.
func (b *Switchboard) dropLocked(x *end) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.dropped = true
	// The engine has a duplicate, so that closing alone would not end the watch.
	_ = unix.EpollCtl(b.epoll, unix.EPOLL_CTL_DEL, x.fd, nil)
	unix.Close(x.fd)
	delete(b.ends, int32(x.fd))
	b.found.Delete(x.id)
	b.open.Add(-1)
}

// lose gives s up, unless that has been done.
func (b *Switchboard) lose(s *Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.loseLocked(s)
}

func (b *Switchboard) loseLocked(s *Session) {
	if b.session != s {
		return
	}
	b.session, b.ready, b.waited = nil, make(chan struct{}), false
	b.partLocked(s)
	select {
	case b.lost <- struct{}{}:
	default:
	}
}

// partLocked ends a session that is not in use any more. Somebody may still wait for it.
func (b *Switchboard) partLocked(s *Session) {
	_ = unix.EpollCtl(b.epoll, unix.EPOLL_CTL_DEL, s.fd, nil)
	s.hangUp()
	b.ended.Go(s.Close)
}

// Lost tells, by a value, that the engine in use has gone.
func (b *Switchboard) Lost() <-chan struct{} { return b.lost }

// Sockets implements [Handler].
func (b *Switchboard) Sockets() int { return int(b.open.Load()) }

// Use makes s the session through which ends go, instead of the one before, and hands all over that there are, the
// oldest first. It owns s from here on. An error says that the engine is gone again; that is not told by Lost then.
func (b *Switchboard) Use(s *Session) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		s.Close()
		return fmt.Errorf("launch: %w", os.ErrClosed)
	}
	b.turn++
	s.turn = b.turn
	b.using.Store(s)
	if err := b.moveLocked(s); err != nil {
		s.Close()
		return fmt.Errorf("launch: %w", err)
	}
	if old := b.session; old != nil {
		b.partLocked(old)
	} else {
		close(b.ready)
	}
	b.session = s
	if err := b.watchLocked(s.fd, 0); err != nil {
		b.log.Error("cannot watch the engine", "err", err)
	}
	return nil
}

// moveLocked makes the ends those of s. Nobody is served before all sockets are what they were, so that nobody hears of
// it.
func (b *Switchboard) moveLocked(s *Session) error {
	ends := slices.SortedFunc(maps.Values(b.ends), func(x, y *end) int { return cmp.Compare(x.number, y.number) })
	for _, x := range ends {
		if err := x.attach(s, true); errors.Is(err, errLost) {
			return err
		} else if err != nil {
			b.log.Error("the engine does not take a socket over", "pid", x.cred.PID, "err", err)
		}
	}
	for _, x := range ends {
		x.mu.Lock()
		attached := x.session == s
		x.mu.Unlock()
		if attached {
			if _, err := s.do(request{op: opBegin, end: x.number}, -1); errors.Is(err, errLost) {
				return err
			}
		}
	}
	return nil
}

// attach hands a duplicate of the end over, and what belongs to the socket with it. Held, it is served when the engine
// is told so.
func (x *end) attach(s *Session, held bool) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.dropped:
		return errDropped
	case x.session == s:
		return nil
	case x.session != nil && x.session.turn > s.turn:
		return errLost // somebody has s still, and its successor has the end
	}
	wait := held || len(x.kept) > 0
	r := request{op: opAttach, end: x.number, cred: x.cred, held: wait, hosted: x.hosted}
	if _, err := s.do(r, x.fd); err != nil {
		return err
	}
	for _, k := range x.kept {
		if _, err := s.do(k.r, -1); errors.Is(err, errLost) {
			return err
		}
	}
	if wait && !held {
		if _, err := s.do(request{op: opBegin, end: x.number}, -1); err != nil {
			return err
		}
	}
	x.session = s
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
	id, err := fileID(pair[1])
	if err == nil {
		err = b.keep(&end{board: b, fd: pair[0], cred: cred, hosted: b.hosted, id: id})
	}
	if err != nil {
		unix.Close(pair[0])
		unix.Close(pair[1])
		return nil, err
	}
	return os.NewFile(uintptr(pair[1]), "client"), nil
}

// keep hands the end over and keeps it.
func (b *Switchboard) keep(x *end) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return unix.ENETDOWN
	}
	b.number++
	x.number = b.number
	if s := b.session; s != nil {
		if err := x.attach(s, false); err != nil && !errors.Is(err, errLost) { // a successor will get it
			return err
		}
	}
	if err := b.watchLocked(x.fd, 0); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	b.ends[int32(x.fd)] = x
	b.found.Store(x.id, x)
	b.open.Add(1)
	return nil
}

// Find implements [Handler].
func (b *Switchboard) Find(id FileID) Socket {
	if x, ok := b.found.Load(id); ok {
		return x.(*end)
	}
	return nil
}

// List implements [Handler].
func (b *Switchboard) List(file *os.File) error {
	s := b.engine()
	if s == nil {
		return errLost
	}
	_, err := s.do(request{op: opSockets}, int(file.Fd()))
	return err
}

// engine is the session in use. While there is none it waits for one, but only once and not for ever; nil says that it
// was in vain.
func (b *Switchboard) engine() *Session {
	b.mu.Lock()
	s, ready, wait := b.session, b.ready, !b.waited && !b.closed
	b.mu.Unlock()
	if s != nil || !wait {
		return s
	}
	ctx, cancel := context.WithTimeout(context.Background(), sendPatience)
	defer cancel()
	select {
	case <-ready:
	case <-b.done:
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waited = b.waited || b.session == nil
	return b.session
}

// Cred implements [Socket].
func (x *end) Cred() pfkey.Cred { return x.cred }

// do has the engine do something with the end. An engine that goes meanwhile may have done it or not: its successor,
// which knows of nothing, does it again.
func (x *end) do(r request) (value uint32, err error) {
	r.end = x.number
	for {
		s := x.board.engine()
		if s == nil {
			return 0, errLost
		}
		if err = x.attach(s, false); err == nil {
			value, err = s.do(r, -1)
		}
		if !errors.Is(err, errLost) {
			return value, err
		}
		x.board.lose(s)
	}
}

// remember keeps r, instead of what it replaces.
func (x *end) remember(key uint32, r request) {
	r.end = x.number
	x.mu.Lock()
	defer x.mu.Unlock()
	x.kept = slices.DeleteFunc(x.kept, func(k kept) bool { return k.key == key })
	if len(x.kept) < maxKept {
		x.kept = append(x.kept, kept{key, r})
	}
}

// Send implements [Socket].
func (x *end) Send(msg []byte, pid int32) error {
	key, err := x.do(request{op: opSend, cred: pfkey.Cred{PID: pid}, msg: msg})
	if err == nil && key != 0 && len(msg) <= inlineLen {
		x.remember(key, request{op: opReplay, cred: pfkey.Cred{PID: pid}, msg: slices.Clone(msg)})
	}
	return err
}

// Call implements [Socket].
func (x *end) Call(c pfkey.Call) error {
	_, err := x.do(request{op: opCall, what: uint32(c)})
	return err
}

// SetOption implements [Socket].
func (x *end) SetOption(o pfkey.Option, value int) error {
	r := request{op: opSet, what: uint32(o), value: int32(value)}
	_, err := x.do(r)
	if err == nil {
		x.remember(1<<31|uint32(o), r)
	}
	return err
}

// GetOption implements [Socket].
func (x *end) GetOption(o pfkey.Option) (int, error) {
	value, err := x.do(request{op: opGet, what: uint32(o)})
	return int(int32(value)), err
}

// Close ends the session and lets go of all ends. A second call does nothing.
func (b *Switchboard) Close() {
	if s := b.using.Load(); s != nil {
		s.hangUp() // an engine that stands still may have somebody wait who holds mu
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	b.closed = true
	if b.session != nil {
		b.partLocked(b.session)
		b.session = nil
	}
	b.mu.Unlock()
	b.ended.Wait()
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
