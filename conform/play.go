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

// op is one kind of action.
type op struct {
	socket   bool // works on one
	message  bool // sends Hex
	packet   bool // injects Hex and has a verdict
	bytes    bool // needs Hex for something else
	counters bool // reads them
	keeps    bool // does not read the sockets afterwards
	moves    bool // moves packets only, so that it is possible in the middle of a request
	needs    need
	check    func(*Action) error // of the parameters, when a recording is read
	do       func(*player, *Action, *Outcome)
}

// need is what an op wants of the machine beside sockets.
type need uint8

const (
	needClock need = 1 << iota
	needPackets
	needOwn
	needTime
	needHost
)

var needNames = []string{"a clock that can be moved", "a packet path", "operations of its kernel",
	"time that passes by itself", "a host with a network"}

var commonOps map[string]*op

func init() { // not a literal: an op executes others
	commonOps = map[string]*op{
		"open":   {socket: true, do: (*player).open},
		"close":  {socket: true, do: (*player).close},
		"send":   {socket: true, message: true, do: (*player).send},
		"recv":   {socket: true, keeps: true, do: (*player).recv},
		"opt":    {socket: true, check: checkOption, do: (*player).setOption},
		"getopt": {socket: true, check: checkOption, do: (*player).getOption},
		"inject": {packet: true, moves: true, needs: needPackets, do: (*player).inject},
		"output": {packet: true, moves: true, needs: needPackets, do: (*player).output},
		"resume": {moves: true, needs: needPackets, do: (*player).resume},
	}
}

// unmet names something that an op needs and a machine has not; "" if there is nothing.
func unmet(o *op, m Machine) string {
	var has need
	if _, ok := m.(Clock); ok {
		has |= needClock
	}
	if _, ok := m.(PacketPath); ok {
		has |= needPackets
	}
	if _, ok := m.(Owner); ok {
		has |= needOwn
	}
	if _, ok := m.(Passing); ok {
		has |= needTime
	}
	if _, ok := m.(Network); ok {
		has |= needHost
	}
	for b, name := range needNames {
		if n := need(1) << b; o.needs&n != 0 && has&n == 0 {
			return name
		}
	}
	return ""
}

// player drives one machine through one scenario.
//
// One goroutine does one thing after the other. A packet that is held at a named point has its own goroutine; while
// that runs, the player waits for it.
type player struct {
	f     *family
	m     Machine
	sc    *Scenario
	buf   []byte
	depth int               // of steps executed inside it
	read  map[string]uint64 // counters as they were last read
	zero  time.Time         // the second that the clock was aligned to

	socks  []*played // in the order of opening
	byName map[string]*played

	armed   []*Step // steps to execute at a named point
	flights map[uint64]*flight
	nextID  uint64
	held    []*flight

	mu      sync.Mutex // guards what follows
	events  []event    // of this step, in order
	trouble []string   // of this step
	burnt   bool       // the machine has panicked
}

// played is a socket with everything it has received.
type played struct {
	name   string
	s      pfkey.Socket
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
	privileged   = pfkey.Cred{PID: 1234, Privileged: true}
	unprivileged = pfkey.Cred{PID: 1234, UID: 1000, GID: 1000}
)

// buffers for Recv: no PF_KEY message is longer than 65535 words.
var buffers = sync.Pool{New: func() any { b := make([]byte, wire.MaxLen); return &b }}

// playing is what came of playing a scenario.
type playing struct {
	outs  []Outcome      // of the steps that were played, from the first one on
	skip  string         // why the rest was not; "" if the machine could do all of it
	whole bool           // skip is about the scenario, none of which was played
	want  *Scenario      // what to expect of the machine
	eased map[string]int // what is volatile in it and is not in the recording, see partial
	took  time.Duration  // all steps together, if the time of the machine passes
	err   error
}

// play boots a machine for sc and notes its outcome of every step that it can do.
func play(t Target, f *family, sc *Scenario) (r playing) {
	p := &player{f: f, sc: sc, byName: map[string]*played{}, flights: map[uint64]*flight{}, read: map[string]uint64{}}
	p.m, r.err = t.Boot(sc, p.point)
	if r.err != nil {
		return r
	}
	r.want = sc
	var n int
	n, r.skip = doable(f, sc, p.m)
	if m, ok := p.m.(partial); ok {
		r.want = sc.clone()
		r.eased = m.expect(r.want, n)
	}
	if n == 0 {
		p.m.Close()
		r.whole = true
		return r
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	p.buf = *buf
	if path, ok := p.m.(PacketPath); ok {
		defer path.Watch(p.watch)()
	}
	r.outs = make([]Outcome, n)
	if clock, ok := p.m.(Passing); ok {
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
func doable(f *family, sc *Scenario, m Machine) (int, string) {
	if one := []byte{1, 0}; m.Dialect().Order.Uint16(one) != f.dialect.Order.Uint16(one) {
		return 0, "the recordings have another byte order than the target"
	}
	some, isPartial := m.(partial)
	for i := range sc.Steps {
		st := &sc.Steps[i]
		o, _ := f.op(st.Op)
		if what := unmet(o, m); what != "" {
			if !isPartial {
				i = 0
			}
			return i, fmt.Sprintf("op %s needs %s, which the target has not", st.Op, what)
		}
		if isPartial {
			if why := some.cannot(st); why != "" {
				return i, why
			}
		}
	}
	return len(sc.Steps), ""
}

// step plays one step and notes what it brought. It returns false if the machine panicked.
func (p *player) step(st *Step, out *Outcome) bool {
	if st.At != "" {
		p.armed = append(p.armed, st)
		return true
	}
	p.events = nil
	o, _ := p.f.op(st.Op)
	p.guard(func() {
		o.do(p, &st.Action, out)
		if path, has := p.m.(PacketPath); has && len(p.held) == 0 {
			if n := path.InFlight(); n != 0 {
				p.complain("%d packets are neither ended nor waiting, though nothing moves", int64(n))
			}
		}
		if !o.keeps && !st.NoRx {
			p.drain(out)
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
func (p *player) guard(f func()) {
	defer func() {
		if v := recover(); v != nil {
			p.complain("the emulator panicked: %v\n%s", v, debug.Stack())
			p.mu.Lock()
			p.burnt = true
			p.mu.Unlock()
		}
	}()
	f()
}

func (p *player) complain(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble = append(p.trouble, fmt.Sprintf(format, args...))
}

// finish lets go of what is still held, and looks whether the machine is alive when the original is not.
func (p *player) finish(last *Outcome) {
	p.guard(func() {
		for len(p.held) > 0 {
			p.resume(nil, nil)
		}
		if p.sc.Panic {
			p.probe()
		}
		for _, s := range p.socks {
			if !s.closed {
				s.s.Close()
			}
		}
		p.m.Close()
	})
	last.trouble = append(last.trouble, p.trouble...)
}

// probe sends a message that every live kernel answers.
func (p *player) probe() {
	s, errno := p.m.Open(privileged, rawSocket, wire.Version)
	if errno != wire.OK {
		p.complain("after the step in which the original panics, no socket can be opened: %v", errno)
		return
	}
	defer s.Close()
	if errno := s.Send(p.f.probe(), privileged); errno != wire.OK {
		p.complain("after the step in which the original panics, a request gets %v", errno)
	} else if n, _, errno := s.Recv(p.buf, 0); errno != wire.OK || n < wire.HeaderLen {
		p.complain("after the step in which the original panics, a request is not answered")
	}
}

// drain reads every open socket until all are empty.
func (p *player) drain(out *Outcome) {
	got := map[*played][]Message{}
	for more := true; more; {
		more = false
		for _, s := range p.socks {
			for p.receive(s, func(m Message) { got[s] = append(got[s], m) }) {
				more = true
			}
		}
	}
	for _, s := range p.socks {
		out.Rx = append(out.Rx, got[s]...)
	}
}

// receive reads one message into the buffer of the player.
func (p *player) receive(s *played, take func(Message)) bool {
	m, errno := p.readInto(s, p.buf, 0)
	if errno != wire.OK {
		if errno != wire.EAGAIN {
			p.complain("receiving on %s: %v", s.name, errno)
		}
		return false
	}
	if m.Trunc {
		p.complain("a message on %s was longer than any can be", s.name)
	}
	take(m)
	return true
}

// readInto reads one message, with a buffer and flags as a recording has them.
func (p *player) readInto(s *played, buf []byte, flags pfkey.RecvFlags) (Message, wire.Errno) {
	if s.closed {
		return Message{}, wire.EAGAIN
	}
	n, size, errno := s.s.Recv(buf, flags)
	if errno != wire.OK {
		return Message{}, errno
	}
	m := Message{Socket: s.name, Hex: slices.Clone(buf[:n]), Trunc: size > n}
	if m.Trunc && flags&pfkey.RecvTrunc != 0 {
		m.Ret = size
	}
	s.all = append(s.all, m.Hex)
	return m, wire.OK
}

const rawSocket = 3 // SOCK_RAW on every system

// result fills in what the system call returned.
func (out *Outcome) result(ret int, e wire.Errno) {
	out.Ret = ret
	if e != wire.OK {
		out.Ret, out.Errno = -1, e.String()
	}
}

func (p *player) open(a *Action, out *Outcome) {
	cred := privileged
	if a.NoCap {
		cred = unprivileged
	}
	typ, proto := cmp.Or(a.Type, rawSocket), cmp.Or(a.Proto, wire.Version)
	if proto < 0 {
		proto = 0
	}
	s, errno := p.m.Open(cred, typ, proto)
	out.result(0, errno)
	if errno == wire.OK {
		ps := &played{name: a.Socket, s: s}
		p.socks = append(p.socks, ps)
		p.byName[a.Socket] = ps
	}
}

// socket finds the socket an action works on; nil, with a complaint, if it could not be opened.
func (p *player) socket(a *Action, out *Outcome) *played {
	s := p.byName[a.Socket]
	if s == nil || s.closed {
		p.complain("socket %s is not open", a.Socket)
		out.result(-1, wire.EBADF)
		return nil
	}
	return s
}

func (p *player) close(a *Action, out *Outcome) {
	if s := p.socket(a, out); s != nil {
		s.s.Close()
		s.closed = true
	}
}

func (p *player) send(a *Action, out *Outcome) {
	s := p.socket(a, out)
	if s == nil {
		return
	}
	msg := p.message(a, out)
	out.result(len(msg), s.s.Send(msg, privileged))
}

// message is what an action sends: its bytes, patched, and padded with zeros if it says how long they are.
func (p *player) message(a *Action, out *Outcome) []byte {
	msg := make([]byte, max(len(a.Hex), a.Len))
	copy(msg, a.Hex)
	for _, x := range a.Patch {
		p.patch(msg, x)
	}
	if a.Patch != nil {
		out.Sent = slices.Clone(msg)
	}
	return msg
}

// patch copies bytes of a message received earlier into msg.
func (p *player) patch(msg []byte, x Patch) {
	var all [][]byte
	if s := p.byName[x.Socket]; s != nil {
		all = s.all
	}
	n := x.Msg
	if n < 0 {
		n += len(all)
	}
	if n < 0 || n >= len(all) || x.From > len(all[n])-x.Len {
		p.complain("the message %d of socket %s, of which bytes %d to %d are to be sent again, did not come", x.Msg,
			x.Socket, x.From, x.From+x.Len-1)
		return
	}
	copy(msg[x.At:x.At+x.Len], all[n][x.From:])
}

func (p *player) recv(a *Action, out *Outcome) {
	s := p.socket(a, out)
	if s == nil {
		return
	}
	n := 1
	if a.N != nil {
		n = *a.N
	}
	for ; n > 0 && p.receive(s, func(m Message) { out.Rx = append(out.Rx, m) }); n-- {
	}
}

var optionNames = map[string]pfkey.Option{
	"type": pfkey.OptionType, "sndbuf": pfkey.OptionSendBuffer, "rcvbuf": pfkey.OptionRecvBuffer,
	"loopback": pfkey.OptionUseLoopback,
}

// option finds an option by its name; a number stands for one without a name.
func option(name string) (pfkey.Option, bool) {
	if o, ok := optionNames[name]; ok {
		return o, true
	}
	for _, r := range name {
		if r < '0' || r > '9' {
			return 0, false
		}
	}
	return pfkey.OptionUnknown, name != ""
}

func checkOption(a *Action) error {
	if _, ok := option(a.Name); !ok {
		return fmt.Errorf("unknown option %q", abridged(a.Name))
	}
	return nil
}

func (p *player) setOption(a *Action, out *Outcome) {
	if s := p.socket(a, out); s != nil {
		o, _ := option(a.Name)
		out.result(0, s.s.SetOption(o, a.Val))
	}
}

func (p *player) getOption(a *Action, out *Outcome) {
	if s := p.socket(a, out); s != nil {
		o, _ := option(a.Name)
		v, errno := s.s.GetOption(o)
		out.result(v, errno)
	}
}
