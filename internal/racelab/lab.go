package racelab

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/illumos"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Ours is the variant without a fault.
const Ours = "ours"

// Variants are the names of what can be explored: the two faults (package sadb), and [Ours].
func Variants() []string { return append(sadb.FaultNames(), Ours) }

// faultOf is the name of the engine's option.
func faultOf(variant string) string {
	if variant == Ours {
		return ""
	}
	return variant
}

// The ways in which the SA ends while packets and an UPDATE are under way.
const (
	EndNone    = "none"    // it does not: UPDATE alone
	EndDelete  = "delete"  // DELETE
	EndFlush   = "flush"   // FLUSH
	EndTimeout = "timeout" // the ageing pass after the time a LARVAL SA has; an SA that has been promoted has longer
	EndExpire  = "expire"  // the same pass, when that time is also the hard limit of the promoted SA
)

// Endings are their names.
func Endings() []string { return []string{EndNone, EndDelete, EndFlush, EndTimeout, EndExpire} }

// spi is that of the SA, and the addresses are those of the recordings.
const spi wire.SPI = 0x1000

var (
	far  = netip.MustParseAddr("192.0.2.2")
	near = netip.MustParseAddr("192.0.2.1")

	encryptKey = []byte("racelab, 16 byte")
	salt       = []byte("salt")
	cred       = pfkey.Cred{PID: 1, Privileged: true}
)

// larvalTime is past the moment at which a pass finds that a LARVAL SA has been there too long: after 90 s, in steps of
// 8.
const larvalTime = 96 * time.Second

// A Lab plays schedules of one variant with one ending. It is not safe for concurrent use; several labs are
// independent.
type Lab struct {
	Variant, Ending string
	// Detail has each step tell which messages and which counters moved in it. Explore is faster without.
	Detail bool

	start          time.Time
	packets        [2][]byte
	getSPI, update []byte
	ending         []byte // a message, nil if the clock does it
	enabled        []*player
}

// New makes a lab.
func New(variant, ending string) (*Lab, error) {
	if !slices.Contains(Variants(), variant) {
		return nil, fmt.Errorf("racelab: unknown variant %q (known: %s)", variant, strings.Join(Variants(), ", "))
	}
	if !slices.Contains(Endings(), ending) {
		return nil, fmt.Errorf("racelab: unknown ending %q (known: %s)", ending, strings.Join(Endings(), ", "))
	}
	l := &Lab{Variant: variant, Ending: ending, start: time.Unix(1_400_000_000, 0).UTC()}
	for i := range l.packets {
		var err error
		if l.packets[i], err = seal(spi, uint64(i+1)); err != nil {
			return nil, err
		}
	}
	l.getSPI = getSPIMessage(spi)
	l.update = updateMessage(spi, ending != EndExpire, 32)
	switch ending {
	case EndDelete:
		l.ending = deleteMessage(spi)
	case EndFlush:
		l.ending = message(wire.MsgFlush, nil)
	}
	return l, nil
}

// seal makes an ESP packet from far to near with a small datagram in it.
func seal(spi wire.SPI, seq uint64) ([]byte, error) {
	s := ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESGCM, Key: ipsec.NewKey(encryptKey), Salt: ipsec.NewKey(salt),
		ICV: 16}
	t, err := s.New()
	if err != nil {
		return nil, err
	}
	plain, err := ipsec.MakeUDP(netip.AddrPortFrom(far, 7), netip.AddrPortFrom(near, 9), []byte("race"))
	if err != nil {
		return nil, err
	}
	iv := make([]byte, 8)
	iv[7] = byte(seq)
	return t.SealTransport(nil, plain, ipsec.Ports{}, ipsec.Sealing{SPI: uint32(spi), Seq: seq, IV: iv, Align: 4})
}

func message(t wire.MsgType, more func(d *wire.Dialect, m []byte) []byte) []byte {
	d := wire.Illumos()
	h := wire.Header{Version: wire.Version, Type: t, SAType: wire.SATypeESP, Seq: 1, PID: uint32(cred.PID)}
	m := d.AppendHeader(nil, h)
	if more != nil {
		m = d.AppendAddress(more(d, m), wire.ExtAddressSrc, pfkey.Host(far))
		m = d.AppendAddress(m, wire.ExtAddressDst, pfkey.Host(near))
	}
	return d.Finish(m)
}

func getSPIMessage(spi wire.SPI) []byte {
	return message(wire.MsgGetSPI, func(d *wire.Dialect, m []byte) []byte {
		return d.AppendSPIRange(m, wire.SPIRange{Min: spi, Max: spi})
	})
}

func updateMessage(spi wire.SPI, limits bool, replay uint8) []byte {
	return message(wire.MsgUpdate, func(d *wire.Dialect, m []byte) []byte {
		m = d.AppendSA(m, wire.SA{SPI: spi, Replay: replay, State: wire.StateMature, Encrypt: wire.EncAESGCM16})
		m = d.AppendKey(m, wire.ExtKeyEncrypt, pfkey.NewKey(slices.Concat(encryptKey, salt)))
		if limits {
			m = d.AppendLifetime(m, wire.ExtLifetimeHard, wire.Lifetime{AddTime: 28800})
		}
		return m
	})
}

func deleteMessage(spi wire.SPI) []byte {
	return message(wire.MsgDelete, func(d *wire.Dialect, m []byte) []byte { return d.AppendSA(m, wire.SA{SPI: spi}) })
}

// A Step is one stretch of a schedule: what one actor did until it stopped.
type Step struct {
	Actor Actor
	From  string // the point it started from, "" at its beginning
	To    string // the point it stopped at, "" at its end
	// The SA after it:
	State  sadb.State
	Linked bool     // packets find it
	Held   []uint64 // the packets that wait on it, by number
	// What became known in it:
	Verdicts []Verdict
	// With Detail, what moved in it:
	Messages []Message
	Counters map[string]uint64 // by how much, under the real kernel's names
}

// A Message went through the PF_KEY socket of a run.
type Message struct {
	Sent bool   // to the kernel, otherwise from it
	Data []byte // the whole message, keys included; nobody changes it
}

// A Verdict is told of a packet, by its number, 1 or 2.
type Verdict struct {
	Packet  uint64
	Kind    packet.Kind
	Reason  packet.Reason
	Counter string // as illumos calls it
}

// String is such as "packet 2 dropped: sadb_inlarval_timeout".
func (v Verdict) String() string {
	s := fmt.Sprintf("packet %d %s", v.Packet, v.Kind)
	if v.Kind == packet.Dropped {
		s += ": " + v.Counter
	}
	return s
}

// A Run is one schedule that was played.
type Run struct {
	Schedule string
	Opening  []Message // with Detail: what made the SA, before the first step
	Steps    []Step
	Fates    [2]Fate // of packet 1 and packet 2
	// Trouble is what must not be under any variant: a ledger that does not add up, a packet that ended twice or not at
	// all.
	Trouble error
}

// Fails says whether the schedule did wrong to a packet.
func (r *Run) Fails() bool { return r.Fates[0].Fails() || r.Fates[1].Fails() || r.Trouble != nil }

// Play plays the schedule of a name.
func (l *Lab) Play(schedule string) (*Run, error) {
	r, err := l.play(named(schedule))
	if err != nil {
		return nil, fmt.Errorf("racelab: %w", err)
	}
	if len(r.Schedule) != len(schedule) {
		return nil, fmt.Errorf("racelab: schedule %q goes on after all actors have ended, with %q", schedule,
			r.Schedule)
	}
	return r, nil
}

// Explore plays all schedules in a fixed order and calls visit for each, until it returns false.
func (l *Lab) Explore(visit func(*Run) bool) error {
	var d search
	for {
		r, err := l.play(d.choose)
		if err != nil {
			return fmt.Errorf("racelab: %w", err)
		}
		if !visit(r) || !d.more() {
			return nil
		}
	}
}

// play runs one schedule on a new engine: a LARVAL SA is there, and then everything comes at once.
func (l *Lab) play(choose chooser) (*Run, error) {
	var st stage
	if l.Variant == Ours {
		st.pass = "take" // the promotion has emptied the queue: this is the same place as taken
	}
	e, err := kernels.New("illumos", engine.Options{Addrs: []netip.Addr{near}, Start: l.start,
		Fault: faultOf(l.Variant),
		Step:  st.point})
	if err != nil {
		return nil, err
	}
	sock, errno := e.Open(cred, 3, wire.Version)
	if errno != wire.OK {
		return nil, fmt.Errorf("open: %v", errno)
	}
	if errno := sock.Send(l.getSPI, cred); errno != wire.OK {
		return nil, fmt.Errorf("GETSPI: %v", errno)
	}
	find := func() (*sadb.SA, bool) {
		return e.Kernel().(*illumos.Kernel).FindInbound(sadb.Key{Dst: near, SPI: uint32(spi), Proto: uint8(ipsec.ESP)})
	}
	sa, ok := find()
	if !ok {
		return nil, errors.New("GETSPI made no SA")
	}
	r := &Run{}
	var look *lookout
	if l.Detail {
		look = &lookout{kernel: e.Kernel().(*illumos.Kernel), sock: sock}
		r.Opening = append([]Message{{Sent: true, Data: l.getSPI}}, look.answers()...)
		look.moved()
	}
	var told []Verdict
	arrive := func(i int) func() {
		return func() {
			e.Inbound(&packet.Packet{ID: uint64(i + 1), Data: l.packets[i],
				Done: func(p *packet.Packet, v packet.Verdict) {
					told = append(told, Verdict{p.ID, v.Kind, v.Reason, v.Counter})
				}})
		}
	}
	st.busy = func() bool { // posted work is done at once unless the control lock is held
		busy := true
		e.Post(func() { busy = false })
		return busy
	}
	st.players = []*player{
		newPlayer(Packet1, false, arrive(0)),
		newPlayer(Packet2, false, arrive(1)),
		newPlayer(Update, true, func() { sock.Send(l.update, cred) }),
	}
	if l.Ending != EndNone {
		st.players = append(st.players, newPlayer(End, true, func() {
			if l.ending == nil {
				e.Advance(l.start.Add(larvalTime))
			} else {
				sock.Send(l.ending, cred)
			}
		}))
	}
	var name []byte
	for {
		l.enabled = st.enabled(l.enabled[:0])
		if len(l.enabled) == 0 {
			break
		}
		i, err := choose(r, l.enabled)
		if err != nil {
			return nil, err
		}
		p := l.enabled[i]
		name = append(name, byte(p.actor))
		step := Step{Actor: p.actor, From: p.at}
		told = nil
		st.step(p)
		step.To, step.State, step.Verdicts = p.at, sa.State(), told
		_, step.Linked = find()
		sa.Lock()
		sa.HeldLocked(func(id uint64, _ int) { step.Held = append(step.Held, id) })
		sa.Unlock()
		if l.Detail {
			step.Counters = look.moved()
			if step.From == "" {
				step.Messages = l.asked(p.actor)
			}
			if !st.busy() { // otherwise the socket cannot be read, and has nothing new
				step.Messages = append(step.Messages, look.answers()...)
			}
		}
		r.Steps = append(r.Steps, step)
	}
	r.Schedule = string(name)
	for _, p := range st.players {
		if !p.done {
			return nil, fmt.Errorf("schedule %s: %c is stuck at %q", r.Schedule, p.actor, p.at)
		}
	}
	r.judge(l.Variant)
	r.balance(e.Ledger().Balance())
	return r, nil
}

// asked is the message with which an actor begins, if it begins with one.
func (l *Lab) asked(a Actor) []Message {
	switch {
	case a == Update:
		return []Message{{Sent: true, Data: l.update}}
	case a == End && l.ending != nil:
		return []Message{{Sent: true, Data: l.ending}}
	}
	return nil
}
