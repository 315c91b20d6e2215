package spd

import "net/netip"

// Direction says for which packets a [Rule] is meant.
type Direction uint8

// The directions.
const (
	Out Direction = iota
	In
	Both
)

// ActionType says what an action does with a packet.
type ActionType uint8

// The types.
const (
	Apply ActionType = iota // protect it
	Bypass
	Discard
)

// Algorithm numbers of an [Action] that are none.
const (
	NotUsed = -1
	Any     = 0
)

// Action is one way to treat a packet, in the terms of ipsecconf(8) and of PF_POLICY.
type Action struct {
	Type           ActionType
	AH             int  // authentication algorithm of AH; NotUsed, Any
	ESP            int  // encryption algorithm of ESP; NotUsed, Any
	ESPAuth        int  // authentication algorithm of ESP; NotUsed, Any
	Unique         bool // an SA of its own for each flow
	SelfEncap      bool // IPv4 in IPv4 between the packet's own addresses
	KMProtocol     uint32
	KMCookie       uint64
	Replay         uint8  // replay window to propose, 0: the tunable
	EncryptMinBits uint16 // 0: the algorithm's own limit
	EncryptMaxBits uint16
}

// Rule is a policy in the terms of ipsecconf(8) and of PF_POLICY. Src is the local side and Dst the remote one,
// whatever the direction.
type Rule struct {
	Tunnel           string // the tunnel interface whose policy it belongs to; empty: that of the system
	Dir              Direction
	Src, Dst         netip.Prefix // invalid: any
	V6               bool         // the family, where no prefix says it
	Proto            uint8
	SrcPort, DstPort uint16
	Actions          []Action // alternatives, the preferred one first
}

// Is6 tells whether the rule is for IPv6 packets.
func (r *Rule) Is6() bool {
	switch {
	case r.Src.IsValid():
		return r.Src.Addr().Is6()
	case r.Dst.IsValid():
		return r.Dst.Addr().Is6()
	}
	return r.V6
}

// Matches tells whether a flow, as it leaves or as it would arrive, is the rule's. out is the direction the policy is
// looked up for.
func (r *Rule) Matches(f Flow, out bool) bool {
	if out && r.Dir == In || !out && r.Dir == Out || r.Is6() != f.Dst.Is6() {
		return false
	}
	s := Selector{Src: r.Src, Dst: r.Dst, Proto: r.Proto, SrcPort: r.SrcPort, DstPort: r.DstPort}
	return s.Matches(f)
}

// Tunnel is a tunnel interface, which has a policy of its own. Only one that negotiates tunnel mode has inner addresses
// in its SAs.
type Tunnel struct {
	Name       string
	Src, Dst   netip.Addr
	Negotiated bool
}
