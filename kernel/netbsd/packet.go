package netbsd

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/sadb"
)

var packets = kame.PacketPage{
	Counters: counters,
	Replays:  replays,
	Permits: map[uint8]string{ip.ProtoESP: "net.inet.ipsec.esp_enable", ip.ProtoAH: "net.inet.ipsec.ah_enable",
		ip.ProtoComp: "net.inet.ipsec.ipcomp_enable"},
	Reinjects:   true,
	CountsUDP:   true,
	CountsOuter: true,
	Chain:       func(v6 bool, n int) kame.Chain { return newChain(v6, n) },
	Choose:      choose,
	Opened:      opened,
	Satisfies:   satisfies,
}

// choose prefers what is new: a MATURE SA to a DYING one, and of these the newest; or else what is old
// (key_lookup_sa_bysaidx).
func choose(k *kame.Kernel, h *kame.Head) *kame.SA {
	if k.Knob(preferredOldSA) != 0 {
		if s := h.Oldest(sadb.Dying); s != nil {
			return s
		}
		return h.Oldest(sadb.Mature)
	}
	if s := h.Newest(sadb.Mature); s != nil {
		return s
	}
	return h.Newest(sadb.Dying)
}

// opened sends a packet that ESP or AH brought out of its tunnel, whatever the mode of the SA; IPComp alone brings none
// (ipe4_encapcheck).
func opened(o *kame.Opened) kame.Course {
	if o.Next != ip.ProtoIPv4 && o.Next != ip.ProtoIPv6 || !had(o.Had, ip.ProtoESP) && !had(o.Had, ip.ProtoAH) {
		return kame.Course{}
	}
	return kame.Course{Strip: true, Via: engine.ViaInput}
}

func had(layers []kame.Layer, proto uint8) bool {
	return slices.ContainsFunc(layers, func(l kame.Layer) bool { return l.Proto == proto })
}

// satisfies wants the protocol of a request, of any SA (ipsec_sp_reject).
func satisfies(_ *kame.Policy, q *kame.PolicyRequest, layers []kame.Layer) bool {
	return had(layers, q.Proto)
}

// chain is the first mbuf of a packet: bytes that are free in front, used, and free behind.
type chain struct{ front, len, room int }

// Sizes in bytes.
const (
	mbufLen  = 456  // of an mbuf with a packet header
	roomy    = 2048 // of a cluster
	gathered = 60   // what m_pullup puts together, if there is as much
)

// newChain has an IPv4 packet in a cluster with room on both sides, and the header of an IPv6 packet at the end of an
// mbuf of its own.
func newChain(v6 bool, n int) *chain {
	if v6 {
		return &chain{mbufLen - ip.Len6, ip.Len6, 0}
	}
	return &chain{ip.Len6, n, roomy}
}

// Prepend follows M_PREPEND.
func (c *chain) Prepend(n int) {
	if c.front < n {
		*c = chain{mbufLen, 0, 0}
	}
	c.front, c.len = c.front-n, c.len+n
}

// Insert follows m_makespace.
func (c *chain) Insert(at, n int) (inserted int) {
	rest := c.len - at
	switch {
	case n <= c.room:
		c.len, c.room = c.len+n, c.room-n
		return 0
	case n <= c.room+rest:
		c.len, c.room = at+n, c.room+rest-n
	default: // the header has an mbuf of its own, and what stood behind it in this one has another
		c.len, c.room = at, c.room+rest
		if rest > 0 {
			return 2
		}
	}
	return 1
}

// Gather follows m_pullup.
func (c *chain) Gather(n int) {
	n = min(max(n, gathered), c.len)
	*c = chain{0, n, mbufLen - n}
}

// Shorten follows m_adj.
func (c *chain) Shorten(n int) {
	if n < c.len {
		c.len, c.room = n, c.room+c.len-n
	}
}
