package conform_test

import (
	"errors"
	"sync"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// echo is a target that does what a recording says, whatever is asked of it: the machine that must pass. Tests then
// change the recording, or bend the machine.
type echo struct {
	mu   sync.Mutex
	says map[string]*conform.Scenario
	bend func(m *echoMachine, i int, out *conform.Outcome) // may change what the machine does in step i
}

func (e *echo) Boot(sc *conform.Scenario, step func(string, *packet.Packet)) (conform.Machine, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return &echoMachine{e: e, sc: e.says[sc.Name], step: step}, nil
}

type echoMachine struct {
	e     *echo
	sc    *conform.Scenario
	step  func(string, *packet.Packet)
	at    int // the next step
	socks []*echoSocket
	now   time.Time
	total map[string]uint64
	holds map[uint64]*packet.Packet
	ids   uint64
	watch func(*packet.Packet, packet.Verdict)
}

type echoSocket struct {
	m      *echoMachine
	name   string
	queue  [][]byte
	closed bool
}

// does is what the recording has for the next step.
func (m *echoMachine) does() *conform.Outcome {
	if m.sc == nil || m.at >= len(m.sc.Steps) { // the boot that tries the target, and the probe after a panic
		return &conform.Outcome{}
	}
	out := m.sc.Steps[m.at].Outcome
	if m.e.bend != nil {
		m.e.bend(m, m.at, &out)
	}
	m.at++
	for _, r := range out.Rx {
		for _, s := range m.socks {
			if s.name == r.Socket {
				s.queue = append(s.queue, r.Hex)
			}
		}
	}
	for _, p := range out.Packets {
		v := verdict(p.Verdict, p.Reason, p.Inner)
		if p.ID == 0 {
			m.watch(&packet.Packet{}, v)
			continue
		}
		if x := m.holds[p.ID]; x != nil {
			x.Done(x, v)
		}
	}
	return &out
}

var reasons = map[string]packet.Reason{"sadb_inlarval_replace": packet.LarvalReplaced,
	"sadb_inlarval_timeout": packet.LarvalGone}

func verdict(kind, counter string, inner []byte) packet.Verdict {
	k, _ := packet.KindByName(kind)
	return packet.Verdict{Kind: k, Reason: reasons[counter], Counter: counter, Inner: inner}
}

func errnoOf(out *conform.Outcome) wire.Errno {
	e, _ := wire.ErrnoByName(out.Errno)
	return e
}

func (m *echoMachine) Dialect() *wire.Dialect { return wire.Illumos() }
func (m *echoMachine) Close()                 {}
func (m *echoMachine) Now() time.Time         { return m.now }
func (m *echoMachine) MoveClock(t time.Time) {
	m.now = t
	if m.sc.Steps[m.at].Op == "clock" {
		m.does()
	}
}
func (m *echoMachine) Age()     { m.does() }
func (m *echoMachine) Own() any { return m }

func (m *echoMachine) Open(c pfkey.Cred, typ, proto int) (pfkey.Socket, wire.Errno) {
	s := &echoSocket{m: m}
	if m.sc != nil && m.at < len(m.sc.Steps) {
		s.name = m.sc.Steps[m.at].Socket
		if e := errnoOf(m.does()); e != wire.OK {
			return nil, e
		}
	}
	m.socks = append(m.socks, s)
	return s, wire.OK
}

func (s *echoSocket) Send(msg []byte, from pfkey.Cred) wire.Errno {
	if s.name == "" {
		s.queue = append(s.queue, msg)
	}
	return errnoOf(s.m.does())
}

func (s *echoSocket) Recv(buf []byte, flags pfkey.RecvFlags) (n, size int, e wire.Errno) {
	if m := s.m; m.at < len(m.sc.Steps) && m.sc.Steps[m.at].Op == "recv" && m.sc.Steps[m.at].Socket == s.name &&
		len(s.queue) == 0 {
		m.does()
	}
	if len(s.queue) == 0 {
		return 0, 0, wire.EAGAIN
	}
	msg := s.queue[0]
	s.queue = s.queue[1:]
	return copy(buf, msg), len(msg), wire.OK
}

func (s *echoSocket) SetOption(o pfkey.Option, value int) wire.Errno { return errnoOf(s.m.does()) }
func (s *echoSocket) GetOption(o pfkey.Option) (int, wire.Errno) {
	out := s.m.does()
	return out.Ret, errnoOf(out)
}
func (s *echoSocket) Call(pfkey.Call) wire.Errno { return errnoOf(s.m.does()) }
func (s *echoSocket) Notify(func())              {}
func (s *echoSocket) Close() {
	if !s.closed && s.m.at < len(s.m.sc.Steps) {
		s.closed = true
		s.m.does()
	}
}

func (m *echoMachine) Inbound(p *packet.Packet) {
	if m.holds == nil {
		m.holds = map[uint64]*packet.Packet{}
	}
	m.ids++
	m.holds[m.ids] = p
	out := m.does()
	if out.Verdict != "" {
		p.Done(p, verdict(out.Verdict, out.Reason, out.Inner))
	}
}

func (m *echoMachine) Outbound(p *packet.Packet, tunnel string) { m.Inbound(p) }
func (m *echoMachine) InFlight() uint64                         { return 0 }
func (m *echoMachine) Watch(f func(*packet.Packet, packet.Verdict)) func() {
	m.watch = f
	return func() {}
}

func (m *echoMachine) AddPolicy([]spd.Tunnel, []spd.Rule) error { return m.err() }
func (m *echoMachine) AlgorithmsChanged()                       { m.does() }
func (m *echoMachine) SetCluster(loaded bool)                   { m.does() }
func (m *echoMachine) RefuseTasks(refuse bool)                  { m.does() }
func (m *echoMachine) Counters() map[string]uint64 {
	if m.total == nil {
		m.total = map[string]uint64{}
	}
	for n, v := range m.does().Counters {
		m.total[n] += v
	}
	now := map[string]uint64{}
	for n, v := range m.total {
		now[n] = v
	}
	return now
}

func (m *echoMachine) err() error {
	if out := m.does(); out.Errno != "" {
		return errors.New(out.Errno)
	}
	return nil
}
