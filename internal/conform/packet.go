package conform

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/packet"
)

// A recording tells the fate of a packet as its recorder saw it: what had become of it when the call that brought it in
// returned, and from then on what ended it. Packets that were set free went through a task queue, which ran after
// the call. An engine drives them on at once, so [Player.done] puts the reports into the order that the recorder had.

// Inject brings a packet in by a call, and takes what becomes of it for the outcome. An action that says until runs in
// its own goroutine as far as that point.
func (p *Player) Inject(a *Action, data []byte, out *Outcome, call func(*packet.Packet)) {
	p.nextID++
	f := &flight{id: p.nextID, until: a.Until, calling: true}
	p.flights[f.id] = f
	out.ID = f.id
	x := &packet.Packet{ID: f.id, Data: slices.Clone(data), Done: func(_ *packet.Packet, v packet.Verdict) {
		p.done(f, v)
	}}
	if f.until == "" {
		call(x)
		p.landed(f)
		p.verdict(f, out)
		return
	}
	f.paused, f.resume, f.returned = make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(f.returned)
		p.guard(func() { call(x) })
	}()
	select {
	case <-f.paused:
		p.held = append(p.held, f)
		out.Verdict = paused
	case <-f.returned:
		p.landed(f)
		p.verdict(f, out)
	}
}

// Resume lets the packet go on that has been held longest.
func (p *Player) Resume() {
	if len(p.held) == 0 {
		p.Complain("no packet is held that could go on")
		return
	}
	f := p.held[0]
	p.held = p.held[1:]
	f.held = false
	close(f.resume)
	<-f.returned
	p.landed(f)
}

// done hears the verdicts of a packet.
func (p *Player) done(f *flight, v packet.Verdict) {
	v.Inner = slices.Clone(v.Inner)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case v.Kind != packet.Queued && v.Kind != packet.Held:
		if f.waits != 0 && !inQueue(v) { // it was set free, so the recorder saw it wait first
			p.events = append(p.events, event{f, packet.Verdict{Kind: f.waits}})
		}
		f.waits = 0
	case f.calling:
		f.waits = v.Kind // told when the call returns
		return
	}
	p.events = append(p.events, event{f, v})
}

// inQueue says whether a packet was dropped out of a queue, instead of being set free first.
func inQueue(v packet.Verdict) bool {
	switch v.Reason {
	case packet.LarvalReplaced, packet.LarvalGone, packet.AcquireFull, packet.AcquireGone, packet.AcquireUnheard,
		packet.IdleOverflow, packet.IdleGone, packet.Shutdown:
		return v.Kind == packet.Dropped
	}
	return false
}

// landed notes that the call which brought f in has returned.
func (p *Player) landed(f *flight) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.calling = false
	if f.waits != 0 {
		p.events = append(p.events, event{f, packet.Verdict{Kind: f.waits}})
		f.waits = 0
	}
}

// verdict takes what the call made of f out of the events of this step.
func (p *Player) verdict(f *flight, out *Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.depth > 0 {
		return // a step inside another: all of it shows among the other packets
	}
	i := slices.IndexFunc(p.events, func(e event) bool { return e.f == f })
	if i < 0 {
		return
	}
	x := p.events[i].fate()
	p.events = slices.Delete(p.events, i, i+1)
	out.Verdict, out.Reason, out.Inner = x.Verdict, x.Reason, x.Inner
}

// watch hears the final verdicts of all packets; those that the machine made itself concern it.
func (p *Player) watch(x *packet.Packet, v packet.Verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if x.Done == nil {
		v.Inner = slices.Clone(v.Inner)
		p.events = append(p.events, event{nil, v})
	}
}

func (e event) fate() Fate {
	f := Fate{Verdict: e.v.Kind.String(), Reason: e.v.Counter, Inner: e.v.Inner}
	if e.f != nil {
		f.ID = e.f.id
	}
	return f
}

// point is called by the machine at a named point, on the player's goroutine or on that of a packet it waits for.
func (p *Player) point(name string, x *packet.Packet) {
	if x != nil {
		if f := p.flights[x.ID]; f != nil && f.until == name && f.calling && !f.held && f.paused != nil {
			f.held = true
			f.until = "" // once
			f.paused <- struct{}{}
			<-f.resume
		}
	}
	for i := 0; i < len(p.armed); {
		if p.armed[i].At != name {
			i++
			continue
		}
		st := p.armed[i]
		p.armed = slices.Delete(p.armed, i, i+1) // once, and not again inside itself
		p.nested(st)
		i = 0
	}
}

// nested executes a step inside the one that is being played. Its own result is empty.
func (p *Player) nested(st *Step) {
	if s, ok := p.Machine.(Serial); ok && !p.k.Ops[st.Op].Moves && s.Busy() {
		p.Complain("the point %s lies inside of a request: %s cannot come in there", st.At, st.Op)
		return
	}
	var out Outcome
	p.depth++
	st.Args.(doer).Do(p, &st.Action, &out)
	p.depth--
}
