package engine

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/kernel/event"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Told is what those who follow the events of an engine know of an SA: its last state, if any. The zero value is an SA
// that nobody has heard of. The control lock guards it.
type Told struct{ state uint8 }

// Inherit has an SA that takes the place of another one go on from its state; of that one nothing more is told.
func (t *Told) Inherit(old *Told) { *t, *old = *old, Told{} }

// An SAName is how people know an SA.
type SAName struct {
	Type     wire.SAType // unspecified: that of Proto, for who has no types
	Proto    uint8       // IP protocol, where there is no type
	SPI      uint32
	Src, Dst netip.Addr // Src may be invalid: none
}

// typ is the SA type.
func (n *SAName) typ() wire.SAType {
	if n.Type != wire.SATypeUnspec {
		return n.Type
	}
	return map[uint8]wire.SAType{ip.ProtoESP: wire.SATypeESP, ip.ProtoAH: wire.SATypeAH,
		ip.ProtoComp: wire.SATypeIPComp}[n.Proto]
}

// TellState tells those who follow the events that an SA is in a state, unless they know. An SA that dies before
// anybody has heard of it is not told of. The control lock is held, and no leaf.
func (e *Engine) TellState(t *Told, state sadb.State, name func() SAName) {
	was := *t
	if t.state = uint8(state) + 1; was == *t || was.state == 0 && state == sadb.Dead {
		return
	}
	if !e.events.wants() {
		return
	}
	r := &record{kind: event.SA, sa: name(), state: state}
	if was.state > 0 {
		r.was = sadb.State(was.state - 1)
		r.known = true
	}
	e.note(r)
}
