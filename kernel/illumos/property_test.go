package illumos_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// An action is one thing that happens to a host.
type action struct {
	kind string // getspi, update, add, delete, flush, wait, arrive
	sa   int    // which one, of a few
	wait int    // in seconds
	// during, of an arrival, happens while the packet, which has seen a LARVAL SA, is about to be stored.
	during []action
}

func (a action) String() string {
	s := a.kind
	switch a.kind {
	case "flush":
	case "wait":
		s += fmt.Sprintf(" %d s", a.wait)
	default:
		s += fmt.Sprintf(" %d", a.sa)
	}
	if a.during != nil {
		s += fmt.Sprintf(" over %v", a.during)
	}
	return s
}

const (
	someSAs     = 3
	hardLimit   = 200 // seconds, of every SA that is not LARVAL
	larvalLimit = 90
	agePasses   = 8 // the ager comes every so many seconds
	reapDelay   = 1 // and a DEAD SA stays so long at least
)

// Actions, as rapid draws them.
var (
	anAction = rapid.Custom(func(t *rapid.T) action {
		a := plainAction(t, "action")
		if a.kind == "arrive" && rapid.Bool().Draw(t, "over") {
			a.during = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) action { return plainAction(t, "during") }), 1,
				3).Draw(t, "during")
			for i := range a.during { // mostly to the same SA, or nothing comes of it
				if a.during[i].kind != "arrive" {
					a.during[i].sa = a.sa
				}
			}
		}
		return a
	})
	actions = rapid.SliceOfN(anAction, 1, 40)
)

func plainAction(t *rapid.T, label string) action {
	kinds := []string{"getspi", "getspi", "update", "update", "add", "delete", "flush", "wait", "arrive", "arrive",
		"arrive"}
	a := action{kind: rapid.SampledFrom(kinds).Draw(t, label), sa: rapid.IntRange(0, someSAs-1).Draw(t, "sa")}
	if a.kind == "wait" {
		a.wait = rapid.IntRange(1, 120).Draw(t, "seconds")
	}
	return a
}

// simple is the whole of an illumos, as far as inbound packets can tell: obvious, and slow if it likes.
type simple struct {
	now  int // seconds since the start
	sas  [someSAs]*simpleSA
	next uint64 // the number of the next packet
	fate map[uint64]string
}

type simpleSA struct {
	state sadb.State
	due   int    // the second at which its time is up
	held  uint64 // the packet that waits; 0: none
}

// drop ends the packet that waits on an SA, if one does.
func (m *simple) drop(s *simpleSA, reason packet.Reason) {
	if s.held != 0 {
		m.fate[s.held] += ", dropped " + reason.String()
		s.held = 0
	}
}

// do is what an action does, and the errno that a request gets.
func (m *simple) do(a action) wire.Errno {
	s := m.sas[a.sa]
	switch a.kind {
	case "getspi":
		if s != nil {
			return wire.EEXIST
		}
		m.sas[a.sa] = &simpleSA{due: m.now + larvalLimit}
	case "add":
		if s != nil {
			return wire.EEXIST
		}
		m.sas[a.sa] = &simpleSA{state: sadb.Mature, due: m.now + hardLimit}
	case "update":
		switch {
		case s == nil:
			return wire.ESRCH
		case s.state != sadb.Larval:
			return wire.EINVAL // a live SA is not given keys
		}
		s.state, s.due = sadb.Mature, m.now+hardLimit
		if s.held != 0 {
			m.fate[s.held] += ", delivered"
			s.held = 0
		}
	case "delete":
		if s == nil {
			return wire.ESRCH
		}
		m.drop(s, packet.LarvalGone)
		m.sas[a.sa] = nil
	case "flush":
		for i, s := range m.sas {
			if s != nil {
				m.drop(s, packet.LarvalGone)
			}
			m.sas[i] = nil
		}
	case "wait":
		for end := m.now + a.wait; m.now < end; {
			if m.now++; m.now%agePasses == 0 {
				m.age()
			}
		}
	case "arrive":
		m.next++
		id := m.next
		if a.during != nil && s != nil && s.state == sadb.Larval {
			for _, d := range a.during {
				m.do(d)
			}
			if now := m.sas[a.sa]; now != s {
				s = nil // it keeps to the SA that it found
			}
		}
		switch {
		case s == nil || s.state == sadb.Dead:
			m.fate[id] = "dropped " + packet.NoSA.String()
		case s.state == sadb.Mature:
			m.fate[id] = "delivered"
		default:
			m.drop(s, packet.LarvalReplaced)
			s.held = id
			m.fate[id] = "queued"
		}
	}
	return wire.OK
}

// age is one pass of the ager.
func (m *simple) age() {
	for i, s := range m.sas {
		switch {
		case s == nil || s.due > m.now:
		case s.state == sadb.Mature:
			s.state, s.due = sadb.Dead, m.now+reapDelay
		default:
			m.drop(s, packet.LarvalGone)
			m.sas[i] = nil
		}
	}
}

// describe is what one may see: the SAs and the packets.
func (m *simple) describe() string {
	var b strings.Builder
	for i, s := range m.sas {
		if s != nil {
			fmt.Fprintf(&b, "SA %d %s holds %d\n", i, strings.ToLower(s.state.String()), s.held)
		}
	}
	for id := uint64(1); id <= m.next; id++ {
		fmt.Fprintf(&b, "packet %d %s\n", id, m.fate[id])
	}
	return b.String()
}

// real is the engine, seen in the same way.
type real struct {
	e      *engine.Engine
	s      pfkey.Socket
	far    *ipsec.Transform
	buf    []byte
	start  time.Time
	next   uint64
	fate   map[uint64]string
	during []action
}

// step runs what is to happen while a packet is about to be stored.
func (r *real) step(point string, _ *packet.Packet) {
	if d := r.during; point == "store" && d != nil {
		r.during = nil
		for _, a := range d {
			r.do(a)
		}
	}
}

func newReal(fault sadb.Fault) (*real, error) {
	r := &real{buf: make([]byte, 4096), start: time.Unix(1_400_000_000, 0), fate: map[uint64]string{}}
	var err error
	r.e, err = kernels.New("illumos", engine.Options{Addrs: []netip.Addr{me}, Start: r.start, Fault: fault.String(),
		Step: r.step})
	if err != nil {
		return nil, err
	}
	if r.far, err = gcm.New(); err != nil {
		return nil, err
	}
	r.s, _ = r.e.Open(privileged, 3, 2)
	return r, nil
}

func spiOf(sa int) wire.SPI { return wire.SPI(0x1000 + sa) }

func (r *real) message(a action) []byte {
	d := r.e.Dialect()
	t := map[string]wire.MsgType{"getspi": wire.MsgGetSPI, "update": wire.MsgUpdate, "add": wire.MsgAdd,
		"delete": wire.MsgDelete, "flush": wire.MsgFlush}[a.kind]
	m := d.AppendHeader(nil, wire.Header{Version: 2, Type: t, SAType: wire.SATypeESP, Seq: 1, PID: 1})
	switch a.kind {
	case "flush":
		return d.Finish(m)
	case "getspi":
		m = d.AppendSPIRange(m, wire.SPIRange{Min: spiOf(a.sa), Max: spiOf(a.sa)})
	case "delete":
		m = d.AppendSA(m, wire.SA{SPI: spiOf(a.sa)})
	default:
		m = d.AppendSA(m, wire.SA{SPI: spiOf(a.sa), State: wire.StateMature, Encrypt: wire.EncAESGCM16})
		m = d.AppendKey(m, wire.ExtKeyEncrypt, pfkey.NewKey([]byte(string(encryptKey)+"salt")))
		m = d.AppendLifetime(m, wire.ExtLifetimeHard, wire.Lifetime{AddTime: hardLimit})
	}
	m = d.AppendAddress(m, wire.ExtAddressSrc, pfkey.Host(peer))
	return d.Finish(d.AppendAddress(m, wire.ExtAddressDst, pfkey.Host(me)))
}

func (r *real) do(a action) (errno wire.Errno) {
	switch a.kind {
	case "wait":
		r.e.Advance(r.e.Now().Add(time.Duration(a.wait) * time.Second))
	case "arrive":
		r.arrive(a)
	default:
		r.s.Send(r.message(a), privileged)
		if n, _, e := r.s.Recv(r.buf, 0); e == wire.OK && n > wire.HeaderLen-1 {
			errno, _ = r.e.Dialect().Errno(r.buf[2])
		}
	}
	for { // EXPIRE messages and the like
		if _, _, e := r.s.Recv(r.buf, 0); e != wire.OK {
			return errno
		}
	}
}

func (r *real) arrive(a action) {
	r.next++
	id := r.next
	pkt, err := r.far.SealTransport(nil, plain, ipsec.Ports{}, ipsec.Sealing{SPI: uint32(spiOf(a.sa)), Seq: id,
		IV: make([]byte, 8)})
	if err != nil {
		panic(err) // the same packet is sealed everywhere here
	}
	r.during = a.during
	r.e.Inbound(&packet.Packet{ID: id, Data: pkt, Done: func(p *packet.Packet, v packet.Verdict) {
		s := v.Kind.String()
		if v.Kind == packet.Dropped {
			s += " " + v.Reason.String()
		}
		if r.fate[id] != "" {
			s = ", " + s
		}
		r.fate[id] += s
	}})
	r.during = nil
}

func (r *real) describe() string {
	st := r.e.Status(-1)
	var lines []string
	for i := range someSAs {
		for _, s := range st.SAs {
			if s.SPI == spiOf(i).String() {
				held := uint64(0)
				if len(s.Held) > 0 {
					held = s.Held[0].ID
				}
				lines = append(lines, fmt.Sprintf("SA %d %s holds %d\n", i, s.State, held))
			}
		}
	}
	slices.Sort(lines)
	for id := uint64(1); id <= r.next; id++ {
		lines = append(lines, fmt.Sprintf("packet %d %s\n", id, r.fate[id]))
	}
	return strings.Join(lines, "")
}

// behaves plays actions on the engine and on the model, and says at which they part.
func behaves(list []action, fault sadb.Fault) error {
	r, err := newReal(fault)
	if err != nil {
		return err
	}
	m := &simple{fate: map[uint64]string{}}
	for i, a := range list {
		want, got := m.do(a), r.do(a)
		if want != got {
			return fmt.Errorf("%v: action %d gets %v, want %v", list[:i+1], i+1, got, want)
		}
		if diff := cmp.Diff(m.describe(), r.describe()); diff != "" {
			return fmt.Errorf("after %v (-model +engine):\n%s", list[:i+1], diff)
		}
		if err := atRest(r.e); err != nil {
			return fmt.Errorf("after %v: %w", list[:i+1], err)
		}
	}
	r.e.Close()
	if b := r.e.Ledger().Balance(); b.Held != 0 || b.InFlight != 0 || b.Injected != r.next {
		return fmt.Errorf("after %v and the end: ledger %+v", list, b)
	}
	return nil
}

// TestBehavesLikeModel: the engine does to SAs and inbound packets what the model above does, whatever is done to it,
// also in the middle of a packet's way.
func TestBehavesLikeModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if err := behaves(actions.Draw(t, "actions"), sadb.NoFault); err != nil {
			t.Fatal(err)
		}
	})
}

// TestFaultsDoNotBehave shows that this notices each fault.
func TestFaultsDoNotBehave(t *testing.T) {
	for _, fault := range []sadb.Fault{sadb.LarvalUnlocked, sadb.LarvalWindow} {
		t.Run(fault.String(), func(t *testing.T) {
			for seed := range 2000 {
				if err := behaves(actions.Example(seed), fault); err != nil {
					t.Logf("example %d: %v", seed, err)
					return
				}
			}
			t.Error("it went unnoticed in 2000 examples")
		})
	}
}
