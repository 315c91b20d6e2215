package engine

import (
	"context"
	"encoding/hex"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/feed"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/event"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// The classes of events: a flood of packets must not drive out the rest.
const (
	ofControl = iota
	ofPackets
)

// events is the history of an engine. What people read of an event is made when somebody reads it.
type events struct {
	feed *feed.Feed[*record]
	done atomic.Uint64 // how many times control work has had something to tell
	keys atomic.Int64  // how many readers have asked for keys

	// copied is the last message that was delivered, and what the history has of it: all who hear it share that. It is
	// forgotten with the control lock, which guards it.
	copied struct{ of, shown, secret []byte }
}

// record is one event in the history. It is not changed, but for secret.
type record struct {
	kind   event.Type
	at     time.Time // by the engine's clock
	socket uint64
	pid    int32
	errno  wire.Errno

	toKernel bool
	queued   int
	data     []byte // a message without its keys, or a packet
	secret   []byte // the message with its keys, while somebody reads who has asked for them

	id      uint64
	verdict packet.Verdict // Inner is a copy

	sa    SAName
	known bool // the SA was told of before, in the state was
	was   sadb.State
	state sadb.State

	to time.Time
}

// recordSize is what a record counts for beside its bytes.
const recordSize = 512

// wants says whether a record is made of something that has happened under the control lock.
func (ev *events) wants() bool {
	wanted := ev.feed.Wants(ofControl)
	ev.done.Add(1)
	return wanted
}

// KeepEvents has the history kept from now on: without it there are events only while somebody reads. An engine that
// people can look into keeps it.
func (e *Engine) KeepEvents() { e.events.feed.Keep() }

// note puts a record into the history.
func (e *Engine) note(r *record) {
	r.at = e.Now()
	class := ofControl
	if r.kind == event.Packet {
		class = ofPackets
	}
	e.events.feed.Put(class, r, recordSize+len(r.data)+len(r.secret)+len(r.verdict.Inner))
}

// noteSocket takes down that a socket is there, or is gone. The control lock is held.
func (s *Socket) noteSocket(kind event.Type) {
	if s.e.events.wants() {
		s.e.note(&record{kind: kind, socket: s.number, pid: s.cred.PID})
	}
}

// noteRequest takes a message of a program down. The control lock is held.
func (s *Socket) noteRequest(msg []byte, from pfkey.Cred) {
	ev := &s.e.events
	if !ev.wants() {
		return
	}
	r := &record{kind: event.Message, socket: s.number, pid: from.PID, toKernel: true, data: s.e.Dialect().Redact(msg)}
	if ev.keys.Load() > 0 {
		r.secret = slices.Clone(msg)
	}
	s.e.note(r)
}

// noteRefusal takes down that a send has failed. The control lock is held.
func (s *Socket) noteRefusal(errno wire.Errno, from pfkey.Cred) {
	if s.e.events.wants() {
		s.e.note(&record{kind: event.Refused, socket: s.number, pid: from.PID, errno: errno})
	}
}

// noteDelivery takes a message down that is put into the queue, or is lost. The control lock is held.
func (s *Socket) noteDelivery(msg []byte, lost bool) {
	ev := &s.e.events
	if !ev.wants() {
		return
	}
	r := &record{kind: event.Message, socket: s.number, pid: s.cred.PID, queued: s.Messages()}
	if lost {
		r.kind = event.Lost
	}
	c := &ev.copied
	if len(msg) > 0 && (len(c.of) != len(msg) || &c.of[0] != &msg[0]) {
		c.of, c.shown, c.secret = msg, s.e.Dialect().Redact(msg), nil
		if ev.keys.Load() > 0 {
			c.secret = slices.Clone(msg)
		}
	}
	if len(msg) > 0 {
		r.data, r.secret = c.shown, c.secret
	}
	if lost {
		ev.forgetCopy() // the kernel may change what nobody has got
	}
	s.e.note(r)
}

func (ev *events) forgetCopy() { ev.copied.of, ev.copied.shown, ev.copied.secret = nil, nil, nil }

// notePacket takes down what has become of a packet. No lock of the engine is held.
func (e *Engine) notePacket(p *packet.Packet, v packet.Verdict) {
	if !e.events.feed.Wants(ofPackets) {
		return
	}
	r := &record{kind: event.Packet, id: p.ID, verdict: v, data: slices.Clone(p.Data)}
	r.verdict.Inner = slices.Clone(v.Inner)
	e.note(r)
}

// Announce takes down that a virtual clock begins to move; [Engine.Proceed] moves it.
func (e *Engine) Announce(to time.Time) {
	if e.Virtual() && to.After(e.Now()) && e.events.wants() {
		e.note(&record{kind: event.Clock, to: to})
	}
}

// EventOptions say which events are read. The zero value is all that happen from now on.
type EventOptions struct {
	Filter event.Filter
	// From is the number of the first event, if it is still there; 0: the first one that happens from now on, 1: the
	// first one that is there.
	From uint64
	// Keys has keys shown in the messages from now on; those in the history have none.
	Keys bool
}

// An EventReader reads the events of an engine. One goroutine uses it at a time; Close may be called by any. No reader
// holds an engine up: what it is too slow for is missing, and it is told how much.
type EventReader struct {
	e       *Engine
	o       EventOptions
	records *feed.Reader[*record]
	batch   []feed.Record[*record]
	close   atomic.Bool
}

// Events makes a reader of what happens in the engine. It has to be closed.
func (e *Engine) Events(o EventOptions) *EventReader {
	if o.Keys {
		e.events.keys.Add(1)
	}
	from := o.From
	switch from {
	case 0:
		from = feed.Now
	case 1:
		from = 0 // whatever went before it does not count as missing
	}
	classes := []int{ofControl}
	if o.Filter.Packets() {
		classes = append(classes, ofPackets)
	}
	return &EventReader{e: e, o: o, records: e.events.feed.Read(from, classes...),
		batch: make([]feed.Record[*record], 64)}
}

// Next appends the next events to list, a few of many, and returns it. It does not wait. Where events are missing it
// appends one that says so. more says whether to ask again: there may be more.
func (r *EventReader) Next(list []event.Event) (_ []event.Event, more bool) {
	n, missing := r.records.Next(r.batch)
	for class, count := range missing {
		if count > 0 {
			list = append(list, event.Event{Time: r.e.Now(), Real: r.batch[0].At, Type: event.Missing,
				Missing: tellMissing(class, count, event.WhySlow)})
		}
	}
	for i := range r.batch[:n] {
		if ev := r.tell(&r.batch[i]); r.o.Filter.Match(&ev) {
			list = append(list, ev)
		}
	}
	clear(r.batch[:n])
	return list, n > 0
}

// Wait waits until Next may have something. It is false when the reader was closed or ctx has ended.
func (r *EventReader) Wait(ctx context.Context) bool { return r.records.Wait(ctx) }

// Close ends the reader, also one that waits. With the last one that has asked for keys they leave the history.
func (r *EventReader) Close() {
	if r.close.Swap(true) {
		return
	}
	r.records.Close()
	if r.o.Keys && r.e.events.keys.Add(-1) == 0 {
		r.e.events.feed.Each(func(rec **record) {
			if (*rec).secret != nil {
				without := **rec
				without.secret = nil
				*rec = &without
			}
		})
	}
}

// tell makes of a record what people read.
func (r *EventReader) tell(rec *feed.Record[*record]) event.Event {
	if rec.Missing > 0 {
		why := event.WhyUnread
		if rec.Read {
			why = event.WhyFast
		}
		return event.Event{N: rec.N, Time: r.e.Now(), Real: rec.At, Type: event.Missing,
			Missing: tellMissing(rec.Class, rec.Missing, why)}
	}
	v := rec.Value
	ev := event.Event{N: rec.N, Time: v.at.UTC(), Real: rec.At, Type: v.kind, Socket: v.socket, PID: v.pid}
	if v.errno != wire.OK {
		ev.Errno = v.errno.String()
	}
	switch v.kind {
	case event.Message, event.Lost:
		if len(v.data) > 0 {
			ev.Message = r.tellMessage(v)
		}
	case event.SA:
		ev.SA = r.tellSA(v)
	case event.Packet:
		ev.Packet = tellPacket(v)
	case event.Clock:
		ev.Clock = &event.ClockEvent{To: v.to.UTC()}
	}
	return ev
}

func tellMissing(class int, count uint64, why string) *event.MissingEvent {
	m := &event.MissingEvent{Count: count, Why: why}
	if class == ofPackets {
		m.Of = event.Packet
	}
	return m
}

func (r *EventReader) tellMessage(v *record) *event.MessageEvent {
	d := r.e.Dialect()
	bytes := v.data
	if r.o.Keys && v.secret != nil {
		bytes = v.secret
	}
	m := &event.MessageEvent{To: event.ToProgram, Line: d.Line(v.data), Data: hex.EncodeToString(bytes),
		Queued: v.queued}
	if v.toKernel {
		m.To = event.ToKernel
	}
	if h, err := d.Header(v.data); err == nil {
		m.Name, m.SAType, m.Seq, m.PID = d.MsgName(h.Type), d.SATypeName(h.SAType), uint32(h.Seq), h.PID
		if h.Errno != 0 {
			m.Errno = d.ErrnoName(h.Errno)
		}
	}
	if x, ok := d.Find(v.data, wire.ExtSA); ok {
		if sa, err := d.ParseSA(x.Raw); err == nil {
			m.SPI = event.HexSPI(uint32(sa.SPI))
		}
	}
	return m
}

func (r *EventReader) tellSA(v *record) *event.SAEvent {
	d := r.e.Dialect()
	s := &event.SAEvent{Type: d.SATypeName(v.sa.typ()), SPI: event.HexSPI(v.sa.SPI), Dst: v.sa.Dst.String(),
		To: d.StateName(wire.State(v.state))}
	if v.sa.Src.IsValid() {
		s.Src = v.sa.Src.String()
	}
	if v.known {
		s.From = d.StateName(wire.State(v.was))
	}
	return s
}

func tellPacket(v *record) *event.PacketEvent {
	p := &event.PacketEvent{ID: v.id, Verdict: v.verdict.Kind.String(), Counter: v.verdict.Counter,
		Data: hex.EncodeToString(v.data), Inner: hex.EncodeToString(v.verdict.Inner)}
	protected := v.data
	switch v.verdict.Kind {
	case packet.Dropped:
		p.Reason = v.verdict.Reason.String()
	case packet.Transmitted:
		protected = v.verdict.Inner
	case packet.Sent:
		protected, p.Data = v.verdict.Inner, ""
	}
	if in, err := ipsec.ParseInbound(protected); err == nil {
		p.SPI = event.HexSPI(in.SPI)
	}
	return p
}
