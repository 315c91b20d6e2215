package xfrm

import (
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/spd"
)

// datagram is an IP packet on its way, with what its headers say: they are gone over once.
type datagram struct {
	ip.Header
	pkt []byte
}

// outgoing reads a packet that the host sends up to where a transform stands that leaves the IP header as it is: in
// IPv6 before the destination options that follow a routing header, which are for the last destination alone
// (ip6_find_1stfragopt). It returns false if it is no IP packet.
func (d *datagram) outgoing(pkt []byte) bool {
	d.pkt = pkt
	switch d.Parse(pkt) {
	case ip.Fine:
	case ip.TotalLen: // which is looked at when it is sealed
		if d.Off > len(pkt) {
			return false
		}
	default:
		return false
	}
	d.WalkTransport(pkt)
	return true
}

// flow is the packet as policies see it: the type and code of ICMP stand where others have ports.
func (d *datagram) flow() spd.Flow {
	f := spd.FlowOf(&d.Header, d.pkt)
	if f.Proto == ip.ProtoICMP || f.Proto == ip.ProtoICMPv6 {
		h := d.Header
		h.Walk(d.pkt)
		if b := d.pkt[h.Off:]; len(b) >= 2 {
			f.SrcPort, f.DstPort = uint16(b[0]), uint16(b[1])
		}
	}
	return f
}
