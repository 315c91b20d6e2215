// Package spd is what the security policy databases of kernels have in common: selectors, and the test of a flow of
// packets against them. Each kernel decides which policies there are, which of several applies, and what it asks for.
package spd

import "net/netip"

// Flow is what a packet shows to a policy: addresses, protocol and ports in host order. Ports are 0 where the protocol
// has none.
type Flow struct {
	Src, Dst         netip.Addr
	Proto            uint8
	SrcPort, DstPort uint16
}

// Reversed is the flow of the answers.
func (f Flow) Reversed() Flow {
	return Flow{Src: f.Dst, Dst: f.Src, Proto: f.Proto, SrcPort: f.DstPort, DstPort: f.SrcPort}
}

// Selector is what a rule wants of a flow. The zero value of a part (an invalid prefix, protocol 0, port 0) wants
// anything.
type Selector struct {
	Src, Dst         netip.Prefix
	Proto            uint8
	SrcPort, DstPort uint16
}

// Matches tells whether f is one of the flows that s selects. IPv4 and IPv6 never match each other.
func (s Selector) Matches(f Flow) bool {
	return contains(s.Src, f.Src) && contains(s.Dst, f.Dst) && (s.Proto == 0 || s.Proto == f.Proto) &&
		(s.SrcPort == 0 || s.SrcPort == f.SrcPort) && (s.DstPort == 0 || s.DstPort == f.DstPort)
}

func contains(p netip.Prefix, a netip.Addr) bool { return !p.IsValid() || p.Contains(a) }
