package kame

import "github.com/pfkeyd/pfkeyd/wire"

// A Passage is what became of a packet that IP handed to IPsec.
type Passage struct {
	// Errno is what the sender of an outbound packet sees. A packet may be dropped without an error.
	Errno wire.Errno
	// Via says where the packet went: "ip" and "ip6", it is protected and goes to the output of IPv4 or IPv6; "clear",
	// IPsec left it alone; "frag", IP must cut it first and offer the pieces again; "input", something was taken off
	// and it goes to the input of IP again; "upper", it goes to an upper protocol. Empty: it was dropped.
	Via    string
	Packet []byte // what came out, from the first byte of the IP header; the caller's
}
