package conform

import (
	"cmp"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Player drives one machine through one scenario.
//
// One goroutine does one thing after the other. A packet that is held at a named point has its own goroutine; while
// that runs, the player waits for it.
type Player struct {
	Machine Machine
	// Own is for the operations of the kernel, to keep what they need from step to step.
	Own any

	k     *Kernel
	sc    *Scenario
	buf   []byte
	depth int // of steps executed inside it

	socks  []*Socket // in the order of opening
	byName map[string]*Socket

	armed   []*Step // steps to execute at a named point
	flights map[uint64]*flight
	nextID  uint64
	held    []*flight
	left    [][]byte // packets that left, see [Outgoing]

	mu      sync.Mutex // guards what follows
	events  []event    // of this step, in order
	trouble []string   // of this step
	burnt   bool       // the machine has panicked
}

// Socket is a socket with everything it has received.
type Socket struct {
	pfkey.Socket
	Owner  pfkey.Cred // who makes the calls
	name   string
	closed bool
	all    [][]byte
}

// flight is one packet of ours. Its fields are written by whichever goroutine runs, of which there is one at a time.
type flight struct {
	id      uint64
	until   string
	calling bool        // the call that brought it in has not returned
	held    bool        // at until
	waits   packet.Kind // said to wait, which nobody has been told yet

	paused, resume, returned chan struct{}
}

type event struct {
	f *flight // nil: a packet the machine made itself
	v packet.Verdict
}

// Who plays: nobody in particular, as the recordings' pid is made up.
var (
	Privileged   = pfkey.Cred{PID: 1234, Privileged: true}
	unprivileged = pfkey.Cred{PID: 1234, UID: 1000, GID: 1000}
)

// buffers for Recv: no PF_KEY message is longer than 65535 words.
var buffers = sync.Pool{New: func() any { b := make([]byte, wire.MaxLen); return &b }}

// playing is what came of playing a scenario.
type playing struct {
	outs  []Outcome // of the steps that were played, from the first one on
	skip  string    // why the rest was not; "" if the machine could do all of it
	whole bool      // skip is about the scenario, none of which was played
	want  *Scenario // what to expect of the machine
	// expect changes answers that deviate into what is to be expected of the machine; nil: they stay.
	expect func(*Scenario)
	eased  map[string]int // what is volatile in it and is not in the recording, see partial
	took   time.Duration  // all steps together, if the time of the machine passes
	err    error
}

// play boots a machine for sc and notes its outcome of every step that it can do.
func play(t Target, k *Kernel, sc *Scenario) (r playing) {
	p := &Player{k: k, sc: sc, byName: map[string]*Socket{}, flights: map[uint64]*flight{}}
	p.Machine, r.err = t.Boot(sc, p.point)
	if r.err != nil {
		return r
	}
	r.want = sc
	var n int
	n, r.skip = doable(k, sc, p.Machine)
	if m, ok := p.Machine.(Partial); ok {
		r.want = sc.Clone()
		r.eased = m.Expect(r.want, n)
		r.expect = func(sc *Scenario) { m.Expect(sc, n) }
	}
	if n == 0 {
		p.Machine.Close()
		r.whole = true
		return r
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	p.buf = *buf
	if path, ok := p.Machine.(PacketPath); ok {
		defer path.Watch(p.watch)()
	}
	r.outs = make([]Outcome, n)
	if clock, ok := p.Machine.(Passing); ok {
		begin := clock.Now()
		defer func() { r.took = clock.Now().Sub(begin) }()
	}
	for i := range r.outs {
		if !p.step(&sc.Steps[i], &r.outs[i]) {
			r.outs = r.outs[:i+1] // a machine that panicked may hold its locks for ever
			return r
		}
	}
	p.finish(&r.outs[n-1])
	return r
}

// doable is how many steps of a scenario a machine can do, and why it cannot do the next one. Unless the machine is
// partial, it is all of them or none.
func doable(k *Kernel, sc *Scenario, m Machine) (int, string) {
	if one := []byte{1, 0}; m.Dialect().Order.Uint16(one) != k.Dialect.Order.Uint16(one) {
		return 0, "the recordings have another byte order than the target"
	}
	if sc.Why != "" && !slices.ContainsFunc(k.Deviations, func(d Deviation) bool { return d.Amend(sc.Clone()) }) {
		return 0, "no answers were recorded: " + sc.Why
	}
	some, isPartial := m.(Partial)
	for i := range sc.Steps {
		st := &sc.Steps[i]
		why := k.Ops[st.Op].unmet(st, m)
		if why == "" && isPartial {
			why = some.Cannot(st)
		}
		if why != "" {
			if !isPartial {
				i = 0
			}
			return i, why
		}
	}
	return len(sc.Steps), ""
}

// unmet says why a machine cannot do a step; "" if it can.
func (o *Op) unmet(st *Step, m Machine) string {
	if _, ok := st.Args.(doer); !ok {
		return fmt.Sprintf("op %s can be read, not played yet", st.Op)
	}
	if o.Needs != nil && !o.Needs.Has(m) {
		return fmt.Sprintf("op %s needs %s, which the target has not", st.Op, o.Needs.What)
	}
	return ""
}

// step plays one step and notes what it brought. It returns false if the machine panicked.
func (p *Player) step(st *Step, out *Outcome) bool {
	if st.At != "" {
		p.armed = append(p.armed, st)
		return true
	}
	p.events = nil
	p.guard(func() {
		st.Args.(doer).Do(p, &st.Action, out)
		if path, has := p.Machine.(PacketPath); has && len(p.held) == 0 {
			if n := path.InFlight(); n != 0 {
				p.Complain("%d packets are neither ended nor waiting, though nothing moves", int64(n))
			}
		}
		if !p.k.Ops[st.Op].Keeps && !st.NoRx {
			p.Drain(out)
		}
	})
	for _, e := range p.events {
		out.Packets = append(out.Packets, e.fate())
	}
	out.trouble = append(out.trouble, p.trouble...)
	p.trouble = nil
	return !p.burnt
}

// guard runs f and turns a panic into trouble.
func (p *Player) guard(f func()) {
	defer func() {
		if v := recover(); v != nil {
			p.Complain("the emulator panicked: %v\n%s", v, debug.Stack())
			p.mu.Lock()
			p.burnt = true
			p.mu.Unlock()
		}
	}()
	f()
}

// Complain notes what keeps a step from being done as it was recorded.
func (p *Player) Complain(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble = append(p.trouble, fmt.Sprintf(format, args...))
}

// finish lets go of what is still held, and looks whether the machine is alive when the original is not.
func (p *Player) finish(last *Outcome) {
	p.guard(func() {
		for len(p.held) > 0 {
			p.Resume()
		}
		if p.sc.Panic || p.sc.Why != "" {
			p.probe()
		}
		for _, s := range p.socks {
			if !s.closed {
				s.Close()
			}
		}
		p.Machine.Close()
	})
	last.trouble = append(last.trouble, p.trouble...)
}

// probe sends a message that every live kernel answers.
func (p *Player) probe() {
	s, errno := p.Machine.Open(Privileged, RawSocket, wire.Version)
	if errno != wire.OK {
		p.Complain("after what the original does not survive, no socket can be opened: %v", errno)
		return
	}
	defer s.Close()
	if errno := s.Send(Flush(p.Machine.Dialect(), uint32(Privileged.PID)), Privileged); errno != wire.OK {
		p.Complain("after what the original does not survive, a request gets %v", errno)
	} else if n, _, errno := s.Recv(p.buf, 0); errno != wire.OK || n < wire.HeaderLen {
		p.Complain("after what the original does not survive, a request is not answered")
	}
}

// Drain reads every open socket until all are empty.
func (p *Player) Drain(out *Outcome) {
	for more := true; more; {
		more = false
		for _, s := range p.socks {
			for p.Receive(s, func(m Message) { out.Rx = append(out.Rx, m) }) {
				more = true
			}
		}
	}
	p.BySocket(out.Rx)
}

// BySocket puts messages into the order in which their sockets were opened.
func (p *Player) BySocket(ms []Message) {
	place := map[string]int{}
	for i, s := range p.socks {
		place[s.name] = i
	}
	slices.SortStableFunc(ms, func(a, b Message) int { return cmp.Compare(place[a.Socket], place[b.Socket]) })
}

// Receive reads one message, if there is one. The end of file is none.
func (p *Player) Receive(s *Socket, take func(Message)) bool {
	m, errno := s.read(p.buf, 0)
	if errno != wire.OK {
		if errno != wire.EAGAIN {
			p.Complain("receiving on %s: %v", s.name, errno)
		}
		return false
	}
	if m.EOF {
		return false
	}
	if m.Trunc {
		p.Complain("a message on %s was longer than any can be", s.name)
	}
	take(m)
	return true
}

// read reads one message, with a buffer and flags as a recording has them.
func (s *Socket) read(buf []byte, flags pfkey.RecvFlags) (Message, wire.Errno) {
	if s.closed {
		return Message{}, wire.EAGAIN
	}
	n, size, errno := s.Recv(buf, flags)
	if errno != wire.OK {
		return Message{}, errno
	}
	m := Message{Socket: s.name, Hex: slices.Clone(buf[:n]), Trunc: size > n, EOF: size == 0}
	if m.EOF {
		return m, wire.OK
	}
	if m.Trunc && flags&pfkey.RecvTrunc != 0 {
		m.Ret = size
	}
	s.all = append(s.all, m.Hex)
	return m, wire.OK
}

// Result fills in what the system call returned.
func (out *Outcome) Result(ret int, e wire.Errno) {
	out.Ret = ret
	if e != wire.OK {
		out.Ret, out.Errno = -1, e.String()
	}
}

// Socket finds the socket an action works on; nil, with a complaint, if it could not be opened.
func (p *Player) Socket(a *Action, out *Outcome) *Socket {
	s := p.byName[a.Socket]
	if s == nil || s.closed {
		p.Complain("socket %s is not open", a.Socket)
		out.Result(-1, wire.EBADF)
		return nil
	}
	return s
}

// message is what an action sends: its bytes, patched, and padded with zeros if it says how long they are.
func (p *Player) message(s *Sending, out *Outcome) []byte {
	msg := make([]byte, max(len(s.Hex), s.Len))
	copy(msg, s.Hex)
	for _, x := range s.Patch {
		p.Patch(msg, x)
	}
	if s.Patch != nil {
		out.Sent = slices.Clone(msg)
	}
	return msg
}

// Patch copies bytes of a message received earlier into msg.
func (p *Player) Patch(msg []byte, x Patch) {
	var all [][]byte
	if s := p.byName[x.Socket]; s != nil {
		all = s.all
	}
	n := x.Msg
	if n < 0 {
		n += len(all)
	}
	if n < 0 || n >= len(all) || x.From > len(all[n])-x.Len {
		p.Complain("the message %d of socket %s, of which bytes %d to %d are to be sent again, did not come", x.Msg,
			x.Socket, x.From, x.From+x.Len-1)
		return
	}
	copy(msg[x.At:x.At+x.Len], all[n][x.From:])
}
