package ipsec

// Checksum sums b for the Internet checksum (RFC 1071): its 16-bit words in network order, a last odd byte as if a zero
// followed, in ones' complement and on top of sum, which may be that of a pseudo header. What a header holds is the
// complement, ^Checksum.
func Checksum(sum uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
