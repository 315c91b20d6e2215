package illumos

import (
	"encoding/binary"

	"github.com/pfkeyd/pfkeyd/internal/ip"
)

// tunnelTTL is the time to live, and the hop limit, of an outer header that the kernel makes.
const tunnelTTL = 60

// outerHeader puts the header of a tunnel in front of a packet. The type of service is not copied, and no fragment bit
// is set.
func outerHeader(inner []byte, n *need) []byte {
	if n.dst.Is4() {
		pkt := make([]byte, 20, 20+len(inner))
		pkt[0], pkt[8], pkt[9] = 0x45, tunnelTTL, n.proto
		binary.BigEndian.PutUint16(pkt[2:], uint16(20+len(inner)))
		src, dst := n.src.As4(), n.dst.As4()
		copy(pkt[12:], src[:])
		copy(pkt[16:], dst[:])
		binary.BigEndian.PutUint16(pkt[10:], ^ip.Checksum(0, pkt))
		return append(pkt, inner...)
	}
	pkt := make([]byte, 40, 40+len(inner))
	pkt[0], pkt[6], pkt[7] = 0x60, n.proto, tunnelTTL
	binary.BigEndian.PutUint16(pkt[4:], uint16(len(inner)))
	src, dst := n.src.As16(), n.dst.As16()
	copy(pkt[8:], src[:])
	copy(pkt[24:], dst[:])
	return append(pkt, inner...)
}

// ipHeaderLen is the length of a packet's first IP header, options included and extension headers not.
func ipHeaderLen(pkt []byte) int {
	if pkt[0]>>4 == 4 {
		return int(pkt[0]&15) * 4
	}
	return 40
}

// withTrueLength is a packet whose IP header says how long it is; nil if it is no IP packet.
func withTrueLength(pkt []byte) []byte {
	pkt = append([]byte(nil), pkt...)
	switch {
	case len(pkt) >= 20 && pkt[0]>>4 == 4:
		binary.BigEndian.PutUint16(pkt[2:], uint16(min(len(pkt), 0xffff)))
	case len(pkt) >= 40 && pkt[0]>>4 == 6:
		binary.BigEndian.PutUint16(pkt[4:], uint16(min(len(pkt)-40, 0xffff)))
	default:
		return nil
	}
	return pkt
}
