package kame

import (
	"math"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// PacketPage is what an heir has of its own about packets.
type PacketPage struct {
	Counters CounterPage
	Replays  ReplayPage

	// Permits are the knobs without which there is no such protocol, by its number.
	Permits map[uint8]string
	// Discarded is what the sender of a packet sees that a policy discards.
	Discarded wire.Errno
	// KnobsFirst: the knob that forbids a protocol is looked at before an SA is looked for.
	KnobsFirst bool
	// CountsOptional: that there is no SA counts even where the policy can do without.
	CountsOptional bool
	// Reinjects: a packet that needs no SA of those it could have goes back to IP, as if it had got one.
	Reinjects bool
	// CountsUDP: what an SA has sent counts with the UDP header around it.
	CountsUDP bool
	// CountsOuter: what an SA has received counts with the header of its tunnel.
	CountsOuter bool
	// Chain is how the original holds a packet of so many bytes, of which a counter tells; nil: it does not.
	Chain func(v6 bool, n int) Chain
	// Choose is the SA of a head for packets that go out; nil: none is usable. The lock of the heads is held.
	Choose func(*Kernel, *Head) *SA
	// Opened says where a packet goes that one transform has been taken off. It takes no lock.
	Opened func(*Opened) Course
	// Satisfies says whether a packet that came in had what a request of a policy wants.
	Satisfies func(p *Policy, q *PolicyRequest, had []Layer) bool
	// PolicyBeforeUDP: the policy is asked about a UDP packet before ESP is taken out of it.
	PolicyBeforeUDP bool
}

// A Chain is how the original holds the beginning of a packet in its buffers.
type Chain interface {
	Prepend(n int)                   // a header is put in front
	Insert(at, n int) (inserted int) // a header is put in behind the first bytes; how many buffers it takes
	Gather(n int)                    // the first bytes are put into a buffer of their own
	Shorten(n int)                   // so many bytes are left
}

// noChain stands where the heir's counters do not tell.
type noChain struct{}

func (noChain) Prepend(int)         {}
func (noChain) Insert(int, int) int { return 0 }
func (noChain) Gather(int)          {}
func (noChain) Shorten(int)         {}

// passing is a packet on its way.
type passing struct {
	ip.Header
	p     *packet.Packet // which counts it
	pkt   []byte
	chain Chain
}

// outcome is an [engine.Passage], and for a packet that was dropped why, and in which counter that shows.
type outcome struct {
	engine.Passage
	reason  packet.Reason
	counter Counter
	gone    bool   // nothing has become of it, as its SA has just gone
	port    uint16 // of a packet taken out of UDP: that to which it came
	most    int    // of a packet that IP must cut: how long the pieces may be, in bytes
}

// drop is the end of a packet. Its sender sees errno, if it is on its way out.
func drop(reason packet.Reason, c Counter, errno wire.Errno) outcome {
	return outcome{Passage: engine.Passage{Errno: errno}, reason: reason, counter: c}
}

// drop counts, and is the end of a packet.
func (k *Kernel) drop(s *passing, reason packet.Reason, c Counter, errno wire.Errno) outcome {
	k.tally.count(s.p, c, 1)
	return drop(reason, c, errno)
}

// end gives the verdict on a packet that was dropped.
func (k *Kernel) end(p *packet.Packet, o outcome) {
	v := packet.Verdict{Kind: packet.Dropped, Reason: o.reason}
	if o.counter != none {
		v.Counter = k.tally.names[o.counter]
	}
	p.End(v)
}

// read reads the first header of a packet.
func (s *passing) read(pkt []byte) bool {
	s.pkt = pkt
	if s.Parse(pkt) != ip.Fine {
		return false
	}
	s.pkt = pkt[:s.End]
	return true
}

// disabled tells whether a knob forbids a protocol.
func (k *Kernel) disabled(proto uint8) bool { return k.Knob(k.page.Packets.Permits[proto]) == 0 }

// choose finds the SA for packets that go out. A head serves for its own request id and mode, and one without a mode
// serves for every mode.
func (k *Kernel) choose(x *Index) (found *SA) {
	k.Heads(x, func(h *Head) bool {
		if x.ReqID != 0 && h.ReqID != x.ReqID || h.Mode != wire.ModeAny && h.Mode != x.Mode ||
			!portsAgree(h.Src, x.Src) || !portsAgree(h.Dst, x.Dst) {
			return true
		}
		found = k.page.Packets.Choose(k, h)
		return false
	})
	return found
}

// portsAgree compares ports, of which 0 is any.
func portsAgree(a, b Sockaddr) bool {
	return a.Len() == 0 || b.Len() == 0 || a.Port() == 0 || b.Port() == 0 || a.Port() == b.Port()
}

// numbers are what an SA gives a packet that goes out.
type numbers struct {
	seq uint64 // of the packet
	iv  uint64 // of the IV, which never repeats
}

// assign gives a packet its numbers; false if the SA must not be used any more, either because it is gone or because
// its numbers are used up.
func (s *SA) assign(p *Protection) (n numbers, usable, left bool) {
	s.Lock()
	defer s.Unlock()
	if st := s.State(); st != sadb.Mature && st != sadb.Dying {
		return n, false, false
	}
	s.ivs++
	n.iv = s.ivs
	if p.Proto == ip.ProtoComp || p.Flags&wire.KAMEFlagXOld != 0 {
		return n, true, true
	}
	s.Traffic.Seq++
	if !p.esn() {
		if s.Traffic.Seq > math.MaxUint32 && p.Flags&wire.KAMEFlagXCycSeq == 0 {
			s.Traffic.Seq--
			return n, true, false
		}
		s.Traffic.Seq = uint64(uint32(s.Traffic.Seq))
	}
	n.seq = s.Traffic.Seq
	return n, true, true
}

// esn tells whether sequence numbers have 64 bits.
func (p *Protection) esn() bool { return p.Transform != nil && p.Transform.Suite().ESN }

// record counts a packet on its SA (key_sa_recordxfer).
func (k *Kernel) record(s *SA, bytes int) {
	s.Lock()
	look := k.usedLocked(s, bytes)
	s.Unlock()
	if look {
		k.flag(s)
	}
}

// A Layer is a transform that a packet came in with.
type Layer struct {
	Proto uint8
	Mode  wire.Mode
	Dst   netip.Addr
}

// encapsulated says which UDP ports belong to sockets that take ESP out.
type encapsulated struct{ first, last uint16 }

// EncapPorts sets which UDP ports belong to sockets that take ESP out of what they receive. At first that is port 4500
// alone, as on a host with a key daemon. It is called before packets come.
func (k *Kernel) EncapPorts(first, last uint16) { k.encaps = encapsulated{first, last} }

func (e encapsulated) has(port uint16) bool { return e.first <= port && port <= e.last }

// newTransform is what seals and opens packets; nil for an SA that has no such thing, or a key that no implementation
// takes: CAST-128 with up to 80 bits.
func newTransform(u *ipsec.Suite) *ipsec.Transform {
	if u == nil {
		return nil
	}
	t, err := u.New()
	if err != nil {
		u.OwnKeys()
		return nil
	}
	t.OwnKeys()
	return t
}
