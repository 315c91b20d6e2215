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

// Running plays on an engine that is running elsewhere, behind its Unix socket. It is not made anew for each scenario,
// only cleaned.
type Running struct {
	Address pfkey.Address
	Kernel  *Kernel          // which the engine runs
	Clock   func() time.Time // reads the time
	// Patience bounds each wait for the engine; 0: ten seconds.
	Patience time.Duration
}

// Workers implements [Live]: an engine has one set of SAs for all.
func (Running) Workers() int { return 1 }

// Tries implements [Live].
func (Running) Tries() int { return 1 }

const defaultPatience = 10 * time.Second

// Boot implements [Target].
func (l Running) Boot(*Scenario, func(string, *packet.Packet)) (Machine, error) {
	if l.Patience == 0 {
		l.Patience = defaultPatience
	}
	d, err := l.Address.Dialect()
	if err != nil {
		return nil, err
	}
	m := &engineMachine{address: l.Address.String(), k: l.Kernel, d: d, clock: l.Clock, patience: l.Patience}
	if err := m.clean(); err != nil {
		return nil, &GoneError{err}
	}
	return m, nil
}

// engineMachine is a running engine behind its Unix socket. It is not fresh: it is cleaned before each scenario.
type engineMachine struct {
	address  string
	k        *Kernel
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
	s, errno := m.Open(Privileged, RawSocket, wire.Version)
	if errno != wire.OK {
		return fmt.Errorf("%w: %v", m.socks[0].err, errno)
	}
	for _, t := range m.k.Flushes {
		s.Send(m.d.Finish(m.d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: t, Seq: 1,
			PID: uint32(Privileged.PID)})), Privileged)
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
		return nil, ErrnoOf(s.err)
	}
	return s, wire.OK
}

// ErrnoOf finds the errno of a system call in an error.
func ErrnoOf(err error) wire.Errno {
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
func (m *engineMachine) Align() { Align(m.clock) }

// look is how often an engine is looked at while time passes.
const look = 20 * time.Millisecond

// Wait implements [Passing].
func (m *engineMachine) Wait(until time.Time) {
	Sleep(min(look, until.Sub(m.clock())))
	m.moves++
}

// Align waits for the start of a second.
func Align(clock func() time.Time) {
	now := clock()
	Sleep(now.Truncate(time.Second).Add(time.Second).Sub(now))
}

// Sleep waits.
func Sleep(d time.Duration) {
	if d > 0 {
		t := time.NewTimer(d)
		<-t.C
	}
}

// Cannot implements [Partial].
func (m *engineMachine) Cannot(st *Step) string {
	msg := st.Message()
	switch {
	case st.Op == "recv":
	case !st.NoRx:
		m.unread = 0
	case msg != nil && len(msg.Hex) > 1 && msg.Hex[1] == byte(wire.MsgDump):
		m.unread += mostUnread
	default:
		m.unread++
	}
	if m.unread > mostUnread {
		return "a queue that nobody reads is longer by what the Unix socket keeps"
	}
	if l, ok := st.Args.(interface{ NotLive() string }); ok {
		if why := l.NotLive(); why != "" {
			return why
		}
	}
	if msg != nil && m.k.Named != nil {
		return m.k.Named(m.d, msg.Hex)
	}
	return ""
}

// mostUnread is how many messages surely find room in the queue of any kernel.
const mostUnread = 32

// Expect implements [Partial]. It puts what send returns where a Unix socket can carry it: into a copy of the header.
// Numbers that a running engine goes on counting only have to keep apart what is apart.
func (m *engineMachine) Expect(sc *Scenario, n int) map[string]int {
	eased := map[string]int{}
	for i := range sc.Steps {
		st := &sc.Steps[i]
		sending := st.Message()
		if e, ok := wire.ErrnoByName(st.Errno); ok && sending != nil && e != wire.OK && st.Ret == -1 {
			msg := st.sent()
			h, err := m.d.Header(msg)
			if err != nil {
				continue
			}
			h.Errno, h.Len = m.d.ErrnoNumber(e), wire.HeaderLen/8
			st.Ret, st.Errno = max(len(msg), sending.Len), ""
			st.Rx = append([]Message{{Socket: st.Socket, Hex: m.d.AppendHeader(nil, h)}}, st.Rx...)
		}
		if m.k.Numbers != nil {
			for k := range st.Rx {
				for _, v := range m.k.Numbers(m.d, st.Rx[k].Hex) {
					if st.Rx[k].Ease(v) && i < n {
						eased[v.Name]++
					}
				}
			}
		}
	}
	return eased
}

// Ease makes a value of m volatile, and says whether it was not so already.
func (m *Message) Ease(v Span) bool {
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
	msg = bytes.Clone(msg)
	s.renumber(msg, uint32(Privileged.PID), s.c.PID())
	if err := s.c.Send(ctx, msg); err != nil {
		s.err = err
		return ErrnoOf(err)
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
		return ErrnoOf(s.err)
	}
	for {
		var msg []byte
		if msg, s.err = s.c.Recv(ctx); s.err != nil {
			if errors.Is(s.err, context.DeadlineExceeded) {
				s.err = &GoneError{fmt.Errorf("the engine at %s has not answered within %v", s.m.address, s.m.patience)}
			} else if errors.Is(s.err, io.EOF) {
				s.err = &GoneError{s.err}
			}
			return ErrnoOf(s.err)
		}
		if h, err := s.m.d.Header(msg); err == nil && h.PID == markPID {
			if h.Seq == s.m.marks {
				s.filled = s.m.moves
				return wire.OK
			}
			continue
		} else if err == nil && h.Type == wire.MsgXPromisc {
			// a promiscuous socket gets a copy of the refusal
			if h, err := s.m.d.Header(msg[wire.HeaderLen:]); err == nil && h.PID == markPID {
				continue
			}
		}
		msg = bytes.Clone(msg)
		s.renumber(msg, s.c.PID(), uint32(Privileged.PID))
		s.queue = append(s.queue, msg)
	}
}

// renumber has a message come from another process, if the kernel looks at that: the recordings' is made up. What is
// wrapped in an X_PROMISC changes with it, and the number of the process is that of the wrapping.
func (s *engineSocket) renumber(msg []byte, from, to uint32) {
	for s.m.k.LooksAtPID {
		h, err := s.m.d.Header(msg)
		if err != nil {
			return
		}
		if h.PID == from {
			h.PID = to
		}
		wraps := h.Type == wire.MsgXPromisc && len(msg) >= 2*wire.HeaderLen
		if wraps && uint32(h.Seq) == from {
			h.Seq = wire.Seq(to)
		}
		if s.m.d.PutHeader(msg, h); !wraps {
			return
		}
		msg = msg[wire.HeaderLen:]
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
