package linux

import "net/netip"

// maxTemplates is how many templates a policy may have (XFRM_MAX_DEPTH).
const maxTemplates = 6

// template is one of the protections that a policy wants, from the inside to the outside.
type template struct {
	proto    uint8 // IP protocol number
	mode     mode
	reqID    uint32     // 0: any SA will do
	optional bool       // a packet may pass without it
	src, dst netip.Addr // the ends of a tunnel; invalid: those of the packet
	v6       bool       // the family of the outer packet
}
