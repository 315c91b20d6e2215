package illumos

import "github.com/pfkeyd/pfkeyd/internal/ip"

// tunnelTTL is the time to live, and the hop limit, of an outer header that the kernel makes.
const tunnelTTL = 60

// outerHeader puts the header of a tunnel in front of a packet. The type of service is not copied, and no fragment bit
// is set.
func outerHeader(inner []byte, n *need) []byte {
	outer := ip.Fields{Src: n.src, Dst: n.dst, Proto: n.proto, TTL: tunnelTTL}
	return outer.Make(inner)
}
