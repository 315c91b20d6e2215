package engine_test

import (
	"context"
	"encoding/hex"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/kernel/event"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// read reads all events that there are, without the time of the machine, which only has to be there.
func read(t *testing.T, r *engine.EventReader) (all []event.Event) {
	t.Helper()
	for more := true; more; {
		all, more = r.Next(all)
	}
	for i := range all {
		if all[i].Real.IsZero() {
			t.Errorf("event %d has no time of the machine", all[i].N)
		}
		all[i].Real = time.Time{}
	}
	return all
}

func compare(t *testing.T, what string, want, got []event.Event) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got)\n%s", what, diff)
	}
}

var eventKey = []byte("sixteen key byte")

// keyedAdd is an ADD with a key, and the same with the key hidden, hexadecimal.
func keyedAdd(d *wire.Dialect) (msg []byte, shown, hidden string) {
	msg = d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAdd, Errno: 17, SAType: wire.SATypeESP, Seq: 3,
		PID: 9})
	msg = d.AppendSA(msg, wire.SA{SPI: 0x1000})
	msg = d.Finish(d.AppendKey(msg, wire.ExtKeyEncrypt, wire.Key{Bits: 128, Data: eventKey}))
	return msg, hex.EncodeToString(msg), hex.EncodeToString(d.Redact(msg))
}

// Messages and what comes of them are events with all that is known of them, in order; keys are hidden.
func TestMessageEvents(t *testing.T) {
	k, e := newFake(t, engine.Options{})
	e.KeepEvents()
	d := e.Dialect()
	msg, _, hidden := keyedAdd(d)
	opener := pfkey.Cred{PID: 7, Privileged: true}
	s, _ := e.Open(opener, 3, 2)
	other, _ := e.Open(pfkey.Cred{PID: 8, Privileged: true}, 3, 2)
	sender := pfkey.Cred{PID: 9, Privileged: true}
	k.room = 2
	for range 2 { // at the third message in its queue there is no room
		s.Send(msg, sender)
	}
	e.Advance(e.Now().Add(time.Second))
	s.Send(msg, sender)
	e.Do(func() { e.Sockets()[1].Lose() }) // one that was not even made
	s.Send([]byte{2}, sender)
	other.Close()
	other.Close() // a second time tells nothing

	start := e.Now().Add(-time.Second).UTC()
	said := func(n uint64, at time.Time, socket uint64, typ event.Type, to string, queued int) event.Event {
		pid := map[uint64]int32{1: 7, 2: 8}[socket]
		if to == event.ToKernel {
			pid = 9
		}
		return event.Event{N: n, Time: at, Type: typ, Socket: socket, PID: pid, Message: &event.MessageEvent{To: to,
			Name: "ADD", SAType: "esp", Seq: 3, PID: 9, Errno: d.ErrnoName(17), SPI: "0x1000", Line: d.Line(msg),
			Data: hidden, Queued: queued}}
	}
	later := start.Add(time.Second)
	short := &event.MessageEvent{To: event.ToKernel, Line: d.Line([]byte{2}), Data: "02"}
	answer := &event.MessageEvent{To: event.ToProgram, Line: short.Line, Data: "02", Queued: 2}
	want := []event.Event{
		{N: 1, Time: start, Type: event.Opened, Socket: 1, PID: 7},
		{N: 2, Time: start, Type: event.Opened, Socket: 2, PID: 8},
		said(3, start, 1, event.Message, event.ToKernel, 0),
		said(4, start, 1, event.Message, event.ToProgram, 1),
		said(5, start, 2, event.Message, event.ToProgram, 1),
		said(6, start, 1, event.Message, event.ToKernel, 0),
		said(7, start, 1, event.Message, event.ToProgram, 2),
		said(8, start, 2, event.Message, event.ToProgram, 2),
		{N: 9, Time: start, Type: event.Clock, Clock: &event.ClockEvent{To: later}},
		said(10, later, 1, event.Message, event.ToKernel, 0),
		said(11, later, 1, event.Lost, event.ToProgram, 2),
		said(12, later, 2, event.Lost, event.ToProgram, 2),
		{N: 13, Time: later, Type: event.Lost, Socket: 2, PID: 8},
		{N: 14, Time: later, Type: event.Message, Socket: 1, PID: 9, Message: short},
		{N: 15, Time: later, Type: event.Lost, Socket: 1, PID: 7, Message: answer},
		{N: 16, Time: later, Type: event.Lost, Socket: 2, PID: 8, Message: answer},
		{N: 17, Time: later, Type: event.Closed, Socket: 2, PID: 8},
	}
	r := e.Events(engine.EventOptions{From: 1})
	defer r.Close()
	compare(t, "events", want, read(t, r))

	some := e.Events(engine.EventOptions{From: 16, Filter: event.Filter{Types: []event.Type{event.Closed}}})
	defer some.Close()
	compare(t, "some of the last", want[16:], read(t, some))
	none := e.Events(engine.EventOptions{})
	defer none.Close()
	compare(t, "what has happened since", nil, read(t, none))
	s.Close()
	compare(t, "what has happened since", []event.Event{{N: 18, Time: later, Type: event.Closed, Socket: 1, PID: 7}},
		read(t, none))
}

// refusing is a kernel that refuses every message.
type refusing struct{ fake }

type refusingEnd struct{ end }

func (k *refusing) Open(s *engine.Socket, _ pfkey.Cred, _, _ int) (engine.Endpoint, pfkey.Errno) {
	return &refusingEnd{end{k: &k.fake, s: s}}, wire.OK
}

func (x *refusingEnd) Request([]byte, pfkey.Cred) pfkey.Errno { return wire.EINVAL }

// That a send fails is an event.
func TestRefusalEvent(t *testing.T) {
	k := &refusing{}
	e, err := engine.New("refusing", engine.Options{},
		func(e *engine.Engine) (engine.Kernel, error) { k.e = e; return k, nil })
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, e)
	r := e.Events(engine.EventOptions{})
	defer r.Close()
	s.Send(nil, pfkey.Cred{PID: 9})
	compare(t, "events", []event.Event{
		{N: 1, Time: e.Now(), Type: event.Message, Socket: 1, PID: 9},
		{N: 2, Time: e.Now(), Type: event.Refused, Socket: 1, PID: 9, Errno: "EINVAL"},
	}, read(t, r))
}

// Who asks for keys sees them in what comes from then on, and takes them along; who does not ask never does.
func TestKeyEvents(t *testing.T) {
	_, e := newFake(t, engine.Options{})
	e.KeepEvents()
	s := open(t, e)
	msg, shown, hidden := keyedAdd(e.Dialect())
	data := func(o engine.EventOptions) (all []string) {
		o.From, o.Filter.Types = 1, []event.Type{event.Message}
		r := e.Events(o)
		defer r.Close()
		for _, ev := range read(t, r) {
			all = append(all, ev.Message.Data)
		}
		return all
	}
	s.Send(msg, root)
	curious := e.Events(engine.EventOptions{Keys: true})
	also := e.Events(engine.EventOptions{Keys: true})
	s.Send(msg, root)
	if diff := cmp.Diff([]string{hidden, hidden, hidden, hidden}, data(engine.EventOptions{})); diff != "" {
		t.Errorf("without keys (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{hidden, hidden, shown, shown}, data(engine.EventOptions{Keys: true})); diff != "" {
		t.Errorf("with keys (-want +got)\n%s", diff)
	}
	curious.Close()
	curious.Close() // counts once
	if got := data(engine.EventOptions{Keys: true}); len(got) != 4 || got[2] != shown {
		t.Errorf("while one has asked for keys: %v", got)
	}
	also.Close()
	if diff := cmp.Diff([]string{hidden, hidden, hidden, hidden},
		data(engine.EventOptions{Keys: true})); diff != "" {
		t.Errorf("when all who had asked are gone (-want +got)\n%s", diff)
	}
}

// espOf is an IPv4 datagram with the beginning of ESP in it.
func espOf(spi byte) []byte {
	b := make([]byte, 28)
	b[0], b[3], b[8], b[9], b[23] = 0x45, 28, 64, ip.ProtoESP, spi
	return b
}

// Packets have their verdicts, and the SPI of their protection, before it is taken off and after it is put on.
func TestPacketEvents(t *testing.T) {
	k, e := newFake(t, engine.Options{})
	r := e.Events(engine.EventOptions{})
	defer r.Close()
	inner := []byte{0x45, 1}
	verdicts := map[uint64]packet.Verdict{
		5: {Kind: packet.Delivered, Inner: inner},
		6: {Kind: packet.Dropped, Reason: packet.NoPackets, Counter: "a_counter"},
		7: {Kind: packet.Transmitted, Inner: espOf(3)},
	}
	k.inbound = func(p *packet.Packet) { p.End(verdicts[p.ID]) }
	plain := []byte{0x45}
	e.Inbound(&packet.Packet{ID: 5, Data: espOf(1)})
	e.Inbound(&packet.Packet{ID: 6, Data: espOf(2)})
	e.Outbound(&packet.Packet{ID: 7, Data: plain}, "")
	inner[1], plain[0] = 9, 9 // the history has its own
	e.Emit(espOf(4))
	text := hex.EncodeToString
	told := func(n uint64, p event.PacketEvent) event.Event {
		return event.Event{N: n, Time: e.Now(), Type: event.Packet, Packet: &p}
	}
	compare(t, "events", []event.Event{
		told(1, event.PacketEvent{ID: 5, Verdict: "delivered", SPI: "0x1", Data: text(espOf(1)), Inner: "4501"}),
		told(2, event.PacketEvent{ID: 6, Verdict: "dropped", Reason: packet.NoPackets.String(), Counter: "a_counter",
			SPI: "0x2", Data: text(espOf(2))}),
		told(3, event.PacketEvent{ID: 7, Verdict: "transmitted", SPI: "0x3", Data: "45", Inner: text(espOf(3))}),
		told(4, event.PacketEvent{Verdict: "sent", SPI: "0x4", Inner: text(espOf(4))}),
	}, read(t, r))
}

// An SA is told of when it is there and when its state is another one, by whatever name it has.
func TestSAEvents(t *testing.T) {
	_, e := newFake(t, engine.Options{})
	src, dst := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.1")
	name := func() engine.SAName {
		return engine.SAName{Type: wire.SATypeAH, Proto: ip.ProtoESP, SPI: 0x1000, Src: src, Dst: dst}
	}
	var sa, heir, before, never engine.Told
	tell := func(told *engine.Told, state sadb.State) {
		e.Do(func() { e.TellState(told, state, name) })
	}
	tell(&before, sadb.Larval) // nobody hears this
	r := e.Events(engine.EventOptions{})
	defer r.Close()
	tell(&sa, sadb.Larval)
	tell(&sa, sadb.Larval)
	tell(&sa, sadb.Mature)
	heir.Inherit(&sa)
	tell(&sa, sadb.Dead)
	tell(&heir, sadb.Dead)
	tell(&never, sadb.Dead)
	tell(&before, sadb.Mature)
	for _, proto := range []uint8{ip.ProtoESP, ip.ProtoAH, ip.ProtoComp} {
		var told engine.Told
		e.Do(func() {
			e.TellState(&told, sadb.Mature, func() engine.SAName {
				return engine.SAName{Proto: proto, SPI: 1, Dst: dst}
			})
		})
	}
	changed := func(n uint64, from, to string) event.Event {
		return event.Event{N: n, Time: e.Now(), Type: event.SA, SA: &event.SAEvent{Type: "ah", SPI: "0x1000",
			Src: "192.0.2.2", Dst: "192.0.2.1", From: from, To: to}}
	}
	made := func(n uint64, typ string) event.Event {
		return event.Event{N: n, Time: e.Now(), Type: event.SA, SA: &event.SAEvent{Type: typ, SPI: "0x1",
			Dst: "192.0.2.1", To: "mature"}}
	}
	d := e.Dialect()
	compare(t, "events", []event.Event{changed(1, "", "larval"), changed(2, "larval", "mature"),
		changed(3, "mature", "dead"), changed(4, "larval", "mature"), made(5, "esp"), made(6, "ah"),
		made(7, d.SATypeName(wire.SATypeIPComp))}, read(t, r))
}

// What is missing is told: how much of what, and why.
func TestMissingEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, e := newFake(t, engine.Options{})
		e.KeepEvents()
		k.inbound = func(p *packet.Packet) { p.End(packet.Verdict{Kind: packet.Dropped}) }
		packets := func(n int) {
			for range n {
				e.Inbound(&packet.Packet{Data: []byte{0x45}})
			}
		}
		missing := func(r *engine.EventReader) (all []event.Event) {
			for _, ev := range read(t, r) {
				if ev.Type == event.Missing {
					all = append(all, ev)
				}
			}
			return all
		}
		later := func() { time.Sleep(2 * time.Second) } // of the bubble
		packets(1200)
		r := e.Events(engine.EventOptions{From: 1})
		defer r.Close()
		lost := func(n, count uint64, why string, of event.Type) event.Event {
			return event.Event{N: n, Time: e.Now(), Type: event.Missing,
				Missing: &event.MissingEvent{Count: count, Why: why, Of: of}}
		}
		compare(t, "nobody reads", []event.Event{lost(1001, 200, event.WhyUnread, event.Packet)}, missing(r))
		later()
		packets(10_100) // one more than at once is taken: the first gives the time of those before back
		later()
		compare(t, "too much", []event.Event{lost(0, 2, event.WhySlow, event.Packet),
			lost(11_003, 99, event.WhyFast, event.Packet)}, missing(r))
		s := open(t, e)
		for range 3001 {
			s.Send([]byte{2}, root)
			s.Recv(make([]byte, 8), 0)
		}
		s.Close()
		compare(t, "other events, which have half of the history", []event.Event{lost(0, 1004, event.WhySlow, "")},
			missing(r))
	})
}

// A reader waits for what happens, and no longer than it is open.
func TestEventsWait(t *testing.T) {
	_, e := newFake(t, engine.Options{})
	r := e.Events(engine.EventOptions{Filter: event.Filter{Types: []event.Type{event.Opened}}})
	done := make(chan bool)
	go func() { done <- r.Wait(context.Background()) }()
	open(t, e)
	if !<-done || len(read(t, r)) != 1 {
		t.Error("the reader is not woken by an event")
	}
	go func() { done <- r.Wait(context.Background()) }()
	r.Close()
	if <-done {
		t.Error("the reader is woken by nothing")
	}
}
