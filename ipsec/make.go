package ipsec

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/ip"
)

// MakeUDP makes an IP packet with a UDP datagram, something to protect: lengths and checksums are right, its time to
// live is 64, its identification 0. Errors: ErrAddress for addresses that are not of one family, ErrTooLong.
func MakeUDP(src, dst netip.AddrPort, payload []byte) ([]byte, error) {
	return ip.UDP(src, dst, payload)
}
