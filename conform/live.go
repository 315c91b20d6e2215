package conform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Live plays on a kernel that is running elsewhere: an engine behind its Unix socket, or the host's own PF_KEY (address
// "af_key:"), which has its own network namespace for each scenario. Time is real there, and not everything a recording
// holds can be done or seen; [Report.Unjudged] counts what could not.
type Live struct {
	Address pfkey.Address
	Clock   func() time.Time // reads the time
	// Patience bounds each wait for the kernel; 0: ten seconds.
	Patience time.Duration
}

// workers is how many scenarios may be played at a time: an engine has one set of SAs for all.
func (l Live) workers() int {
	if l.Address.Kernel == pfkey.HostKernel {
		return 4
	}
	return 1
}

// A GoneError says that there is no kernel at the address, or none any more.
type GoneError struct{ Err error }

func (e *GoneError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *GoneError) Unwrap() error { return e.Err }

// partial is a machine that cannot do every step. A scenario is played on it up to the first step that it cannot do.
type partial interface {
	// cannot says why a step cannot be done, or done so that it can be judged; "" if it can.
	cannot(st *Step) string
	// expect changes a recording into what is to be expected of this machine, which answers by other ways, and tells
	// what it has made volatile in its first n steps: how many values, by the name of their kind.
	expect(sc *Scenario, n int) (eased map[string]int)
}

const defaultPatience = 10 * time.Second

// Boot implements [Target].
func (l Live) Boot(sc *Scenario, _ func(string, *packet.Packet)) (Machine, error) {
	if l.Patience == 0 {
		l.Patience = defaultPatience
	}
	if l.Address.Kernel == pfkey.HostKernel {
		return bootHost(sc, l.Clock)
	}
	m := &engineMachine{address: l.Address.String(), clock: l.Clock, patience: l.Patience}
	var err error
	if m.f, err = familyOf(l.Address.Kernel); err != nil {
		return nil, err
	}
	if m.d, err = l.Address.Dialect(); err != nil {
		return nil, err
	}
	if err := m.clean(); err != nil {
		return nil, &GoneError{err}
	}
	return m, nil
}

// engineMachine is a running engine behind its Unix socket. It is not fresh: it is cleaned before each scenario.
type engineMachine struct {
	address  string
	f        *family
	d        *wire.Dialect
	clock    func() time.Time
	patience time.Duration
	socks    []*engineSocket
	marks    wire.Seq
	moves    int // counts what may have put something into a queue
	unread   int // messages sent in a row after which nothing is read, up to where the scenario has been looked at
}

func (m *engineMachine) Dialect() *wire.Dialect { return m.d }

func (m *engineMachine) Close() {
	for _, s := range m.socks {
		s.Close()
	}
}

// clean removes what others have left.
func (m *engineMachine) clean() error {
	s, errno := m.Open(privileged, rawSocket, wire.Version)
	if errno != wire.OK {
		return fmt.Errorf("%w: %v", m.socks[0].err, errno)
	}
	for _, t := range m.f.flushes {
		s.Send(m.d.Finish(m.d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: t, Seq: 1})), privileged)
	}
	for buf := make([]byte, wire.MaxLen); ; {
		if _, _, errno := s.Recv(buf, 0); errno == wire.EAGAIN {
			break
		} else if errno != wire.OK {
			return m.socks[0].err
		}
	}
	s.Close()
	m.socks = nil
	return nil
}

func (m *engineMachine) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), m.patience)
}

// Open implements [pfkey.Engine].
func (m *engineMachine) Open(pfkey.Cred, int, int) (pfkey.Socket, pfkey.Errno) {
	ctx, cancel := m.context()
	defer cancel()
	s := &engineSocket{m: m, filled: -1}
	m.socks = append(m.socks, s)
	if s.c, s.err = pfkey.Dial(ctx, m.address, pfkey.WithDialect(m.d)); s.err != nil {
		return nil, errnoOf(s.err)
	}
	return s, wire.OK
}

// errnoOf finds the errno of a system call in an error.
func errnoOf(err error) wire.Errno {
	for e := wire.OK + 1; e < 255; e++ {
		if n, ok := pfkey.HostErrno(e); ok && errors.Is(err, n) {
			return e
		}
	}
	return wire.EIO
}

// Now implements [Passing].
func (m *engineMachine) Now() time.Time { return m.clock() }

// Align implements [Passing].
func (m *engineMachine) Align() { align(m.clock) }

// look is how often an engine is looked at while time passes.
const look = 20 * time.Millisecond

// Wait implements [Passing].
func (m *engineMachine) Wait(until time.Time) {
	sleep(min(look, until.Sub(m.clock())))
	m.moves++
}

func align(clock func() time.Time) {
	now := clock()
	sleep(now.Truncate(time.Second).Add(time.Second).Sub(now))
}

func sleep(d time.Duration) {
	if d > 0 {
		t := time.NewTimer(d)
		<-t.C
	}
}

func (m *engineMachine) cannot(st *Step) string {
	switch {
	case st.Op == "recv":
	case !st.NoRx:
		m.unread = 0
	case len(st.Hex) > 1 && st.Hex[1] == byte(wire.MsgDump):
		m.unread += mostUnread
	default:
		m.unread++
	}
	if m.unread > mostUnread {
		return "a queue that nobody reads is longer by what the Unix socket keeps"
	}
	switch st.Op {
	case "open":
		if st.NoCap || st.Type != 0 && st.Type != rawSocket || st.Proto != 0 && st.Proto != wire.Version {
			return "a Unix socket has no privilege, type and protocol of its own"
		}
	case "send":
		switch {
		case st.Flags != "":
			return "flags do not go through a Unix socket"
		case len(st.Hex) < wire.HeaderLen && st.Len < wire.HeaderLen:
			return "what send returns for less than a header does not come back through a Unix socket"
		case len(st.Hex) > maxOverSocket || st.Len > maxOverSocket:
			return "a message longer than any can be"
		case m.f.named != nil:
			return m.f.named(m.d, st.Hex)
		}
	case "recv":
		if st.Flags != "" {
			return "flags do not go through a Unix socket"
		}
	case "opt", "getopt", "rcvbuf", "sndbuf", "sysc":
		return "options and other calls do not go through a Unix socket"
	}
	return ""
}

// mostUnread is how many messages surely find room in the queue of any kernel.
const mostUnread = 32

const maxOverSocket = wire.MaxLen

// expect puts what send returns where a Unix socket can carry it: into a copy of the header. Numbers that a
// running engine goes on counting only have to keep apart what is apart.
func (m *engineMachine) expect(sc *Scenario, n int) map[string]int {
	eased := map[string]int{}
	for i := range sc.Steps {
		st := &sc.Steps[i]
		if e, ok := wire.ErrnoByName(st.Errno); ok && st.Op == "send" && e != wire.OK && st.Ret == -1 {
			msg := st.Hex
			if st.Sent != nil {
				msg = st.Sent
			}
			h, err := m.d.Header(msg)
			if err != nil {
				continue
			}
			h.Errno, h.Len = m.d.ErrnoNumber(e), wire.HeaderLen/8
			st.Ret, st.Errno = max(len(msg), st.Len), ""
			st.Rx = append([]Message{{Socket: st.Socket, Hex: m.d.AppendHeader(nil, h)}}, st.Rx...)
		}
		if m.f.numbers != nil {
			for k := range st.Rx {
				for _, v := range m.f.numbers(m.d, st.Rx[k].Hex) {
					if st.Rx[k].ease(v) && i < n {
						eased[v.Name]++
					}
				}
			}
		}
	}
	return eased
}

// ease makes a value of m volatile, and says whether it was not so already.
func (m *Message) ease(v Span) bool {
	if slices.ContainsFunc(m.Vol, func(old Span) bool { return old.Offset == v.Offset }) {
		return false
	}
	m.Vol = append(m.Vol, v)
	return true
}

// engineSocket is a client of a running engine. Its answers come when they come, so whoever reads first sends a message
// that the engine sends back at once, and reads up to that.
type engineSocket struct {
	m   *engineMachine
	c   *pfkey.Client
	err error

	queue  [][]byte
	filled int // what moves was when the queue was filled
	closed bool
}

// A mark is a message of a type that does not exist: every kernel refuses it before it looks further, so it changes
// nothing. It is known by its process number: some put another type into the refusal.
const (
	markType = 0xee
	markPID  = 0x6d61726b
)

func (s *engineSocket) Send(msg []byte, _ pfkey.Cred) pfkey.Errno {
	ctx, cancel := s.m.context()
	defer cancel()
	if err := s.c.Send(ctx, msg); err != nil {
		s.err = err
		return errnoOf(err)
	}
	s.m.moves++
	return s.fill() // so that the engine has handled it when another socket is read
}

// fill reads everything the engine has sent until now into the queue.
func (s *engineSocket) fill() wire.Errno {
	ctx, cancel := s.m.context()
	defer cancel()
	s.m.marks++
	mark := s.m.d.Finish(s.m.d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: markType, Seq: s.m.marks,
		PID: markPID}))
	if s.err = s.c.Send(ctx, mark); s.err != nil {
		return errnoOf(s.err)
	}
	for {
		var msg []byte
		if msg, s.err = s.c.Recv(ctx); s.err != nil {
			if errors.Is(s.err, context.DeadlineExceeded) {
				s.err = &GoneError{fmt.Errorf("the engine at %s has not answered within %v", s.m.address, s.m.patience)}
			} else if errors.Is(s.err, io.EOF) {
				s.err = &GoneError{s.err}
			}
			return errnoOf(s.err)
		}
		if h, err := s.m.d.Header(msg); err == nil && h.PID == markPID {
			if h.Seq == s.m.marks {
				s.filled = s.m.moves
				return wire.OK
			}
			continue
		}
		s.queue = append(s.queue, bytes.Clone(msg))
	}
}

func (s *engineSocket) Recv(buf []byte, flags pfkey.RecvFlags) (n, size int, e pfkey.Errno) {
	if s.closed {
		return 0, 0, wire.ENOTCONN
	}
	if len(s.queue) == 0 && s.filled != s.m.moves {
		if e := s.fill(); e != wire.OK {
			return 0, 0, e
		}
	}
	if len(s.queue) == 0 {
		return 0, 0, wire.EAGAIN
	}
	msg := s.queue[0]
	s.queue = s.queue[1:]
	return copy(buf, msg), len(msg), wire.OK
}

func (s *engineSocket) SetOption(pfkey.Option, int) pfkey.Errno   { return wire.ENOPROTOOPT }
func (s *engineSocket) GetOption(pfkey.Option) (int, pfkey.Errno) { return 0, wire.ENOPROTOOPT }
func (s *engineSocket) Notify(func())                             {}
func (s *engineSocket) Close() {
	if !s.closed && s.c != nil {
		s.closed = true
		s.c.Close()
	}
}
