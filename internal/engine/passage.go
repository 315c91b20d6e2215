package engine

import "github.com/pfkeyd/pfkeyd/wire"

// A Passage is what became of a packet that IP handed to the IPsec of a BSD.
type Passage struct {
	// Errno is what the sender of an outbound packet sees. A packet may be dropped without an error.
	Errno  wire.Errno
	Via    string // where the packet went, one of those below; empty: it was dropped
	Packet []byte // what came out, from the first byte of the IP header; the caller's
}

// Where packets go.
const (
	ViaIP    = "ip"    // it is protected and goes to the output of IPv4
	ViaIP6   = "ip6"   // likewise of IPv6
	ViaClear = "clear" // IPsec left it alone
	ViaFrag  = "frag"  // IP must cut it first and offer the pieces again
	ViaInput = "input" // something was taken off, and it goes to the input of IP again
	ViaUpper = "upper" // it goes to an upper protocol
)
