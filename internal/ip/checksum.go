package ip

import "encoding/binary"

// Checksum sums b for the Internet checksum (RFC 1071): its 16-bit words in network order, a last odd byte as if a zero
// followed, in ones' complement and on top of sum, which may be that of a pseudo header. What a header holds is the
// complement, ^Checksum.
func Checksum(sum uint32, b []byte) uint16 {
	s := uint64(sum)
	for ; len(b) >= 4; b = b[4:] { // two words at once: above 16 bits they count for the same
		s += uint64(binary.BigEndian.Uint32(b))
	}
	if len(b) >= 2 {
		s += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// SetHeaderChecksum makes the checksum of an IPv4 header right, if the header is there.
func SetHeaderChecksum(pkt []byte) {
	if n := FirstLen(pkt); n >= Len4 && n <= len(pkt) {
		pkt[10], pkt[11] = 0, 0
		binary.BigEndian.PutUint16(pkt[10:], ^Checksum(0, pkt[:n]))
	}
}

// SetChecksum makes the checksum right that the upper layer proto has at offset at. It runs from off to the end of pkt,
// a datagram; but for ICMP of IPv4 it covers the addresses, too.
func SetChecksum(pkt []byte, off, at int, proto uint8) {
	pkt[at], pkt[at+1] = 0, 0
	sum := uint32(0)
	if proto != ProtoICMP {
		addrs := pkt[12:20]
		if pkt[0]>>4 == 6 {
			addrs = pkt[8:40]
		}
		sum = uint32(Checksum(uint32(proto)+uint32(len(pkt)-off), addrs))
	}
	c := ^Checksum(sum, pkt[off:])
	if c == 0 && proto == ProtoUDP {
		c = 0xffff // 0 says that there is none
	}
	binary.BigEndian.PutUint16(pkt[at:], c)
}

// SetUDPChecksum makes the checksum of the UDP datagram right that runs from off to the end of pkt.
func SetUDPChecksum(pkt []byte, off int) { SetChecksum(pkt, off, off+6, ProtoUDP) }
