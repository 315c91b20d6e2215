package conform

import (
	"time"

	"github.com/pfkeyd/pfkeyd/packet"
)

// What any kernel can be asked for, whichever kernel's recording asks for it. The parameters of an operation that only
// one kernel's recordings have may say which of these it is, with a method
//
//	Common() any
//
// It returns one of the types here, a [*pfkey.Policy] that is to be added, or the parameters of an operation that
// several kernels have; an error that says why there is nothing like it; nil if there is nothing that another kernel
// would have to do.

// Outgoing is a packet that leaves, from the first byte of its IP header.
type Outgoing struct{ Packet []byte }

// Do offers the packet to the machine's packet path. One that leaves is kept, to come back.
func (o *Outgoing) Do(p *Player, a *Action, out *Outcome) {
	path := p.Machine.(PacketPath)
	p.Inject(a, o.Packet, out, func(x *packet.Packet) { path.Outbound(x, "") })
	if out.Verdict == packet.Transmitted.String() {
		p.left = append(p.left, out.Inner)
	}
}

// Incoming is a packet that comes in: Packet, or one that has left.
type Incoming struct {
	Packet []byte
	Left   *int     // which of those that left, from 0
	Set    [][2]int // offsets and what stands there instead
	Patch  []Patch  // bytes of messages received earlier; whoever knows where they are there puts them in
}

// Do offers the packet to the machine's packet path.
func (i *Incoming) Do(p *Player, a *Action, out *Outcome) {
	pkt := i.Packet
	if i.Left != nil {
		if *i.Left >= len(p.left) {
			p.Complain("packet %d, which is to come back, did not leave", *i.Left)
			return
		}
		pkt = append([]byte(nil), p.left[*i.Left]...)
	}
	for _, s := range i.Set {
		if s[0] < len(pkt) {
			pkt[s[0]] = uint8(s[1])
		}
	}
	p.Inject(a, pkt, out, p.Machine.(PacketPath).Inbound)
}

// Lapse is time that passes.
type Lapse struct{ time.Duration }

// Do lets the time pass, one thing after the other.
func (l *Lapse) Do(p *Player, _ *Action, out *Outcome) {
	t := p.Machine.(Passing)
	for end := t.Now().Add(l.Duration); ; {
		p.Drain(out)
		if !t.Now().Before(end) {
			return
		}
		t.Wait(end)
	}
}

// Received is what the socket of that name has received until now, the first message first.
func (p *Player) Received(socket string) [][]byte {
	if s := p.byName[socket]; s != nil {
		return s.all
	}
	return nil
}

// Outcomes plays a scenario and returns what came of each step that was played, and what kept steps from being done as
// they are written. k need not be the kernel that was recorded.
func Outcomes(t Target, k *Kernel, sc *Scenario) ([]Outcome, error) {
	r := play(t, k, sc)
	return r.outs, r.err
}

// Trouble is what kept the step from being done as it is written.
func (out *Outcome) Trouble() []string { return out.trouble }
