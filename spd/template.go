package spd

import "net/netip"

// MaxTemplates is how many templates a rule may have.
const MaxTemplates = 6

// Template is one of the protections that a rule wants, from the inside to the outside. What Mode means is the kernel's business.
type Template struct {
	Proto    uint8 // IP protocol number
	Mode     uint8
	ReqID    uint32     // 0: any SA will do
	Optional bool       // a packet may pass without it
	Src, Dst netip.Addr // the ends of a tunnel; invalid: those of the packet
	V6       bool       // the family of the outer packet
}
