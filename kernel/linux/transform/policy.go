package transform

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/spd"
)

// Policy is one policy as it is at a moment.
type Policy struct {
	ID        uint32 // chosen by the transforms
	Direction Direction
	Selector  spd.Selector
	Priority  uint32 // the smaller one is tried first
	Block     bool
	Limits    Limits
	Templates []Template // immutable

	AddTime, UseTime int64 // seconds of Unix time; 0: never
	References       int   // who refers to it beside the one who asks
}

// MaxPolicies is how many there may be. The original leaves that to memory.
const MaxPolicies = 1 << 20

// MaxTemplates is how many templates a policy may have (XFRM_MAX_DEPTH).
const MaxTemplates = 6

// Template is one of the protections that a policy wants, from the inside to the outside.
type Template struct {
	Proto    uint8 // IP protocol number
	Mode     Mode
	ReqID    uint32     // 0: any SA will do
	Optional bool       // a packet may pass without it
	Src, Dst netip.Addr // the ends of a tunnel; invalid: those of the packet
	V6       bool       // the family of the outer packet

	// Which algorithms an ACQUIRE proposes: a bit for each, by PF_KEY's number, as in the original.
	Auth, Encrypt uint32
}

// Acquisition is what a packet is missing: an SA between two ends for a template of its policy.
type Acquisition struct {
	Proto         uint8 // of IP
	Src, Dst      netip.Addr
	Seq           uint32 // under which it is answered
	PolicyID      uint32
	Priority      uint32 // of the policy
	Auth, Encrypt uint32 // of the template
}

// Mapping is where a packet of an SA with NAT-T came from, which is not the address or port of that SA.
type Mapping struct {
	Proto uint8
	SPI   uint32
	Seq   uint32     // of the SA
	Src   netip.Addr // of the SA
	Sport uint16     // of the SA
	From  netip.AddrPort
}

// Migration moves the templates of a policy, and their SAs, to other addresses.
type Migration struct {
	Selector  spd.Selector
	Direction Direction
	Moves     []Move
	// What the transforms pass on as it came, if it came.
	KMAddress *KMAddress
}

// Move is one pair of ends: those that templates and SAs have, and those they get.
type Move struct {
	Proto          uint8
	Mode           Mode
	ReqID          uint32
	OldSrc, OldDst netip.Addr
	NewSrc, NewDst netip.Addr
}

// KMAddress is where the key managers of both sides can be reached.
type KMAddress struct {
	Reserved      uint32
	Local, Remote netip.Addr
}
