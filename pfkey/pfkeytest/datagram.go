package pfkeytest

import (
	"fmt"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/ip"
)

// UDP makes an IP packet with a UDP datagram, such as UDP("192.0.2.1:1000", "192.0.2.2:2000", "hello"). Lengths and
// checksums are right. Addresses that are none, or of two families, panic, as with [netip.MustParseAddrPort].
func UDP(src, dst, payload string) []byte {
	return must(ip.UDP(netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst), []byte(payload)))
}

// Ping makes an IP packet with an ICMP or ICMPv6 echo request, such as Ping("192.0.2.1", "192.0.2.2", 1); seq is its
// sequence number, its identifier is 1, and it has 8 bytes of data. Otherwise it is as [UDP].
func Ping(src, dst string, seq uint16) []byte {
	return must(ip.Echo(netip.MustParseAddr(src), netip.MustParseAddr(dst), 1, seq, []byte("pfkeytest"[:8])))
}

// SYN makes an IP packet with the TCP segment that opens a connection, such as SYN("192.0.2.1:1000", "192.0.2.2:80").
// Otherwise it is as [UDP].
func SYN(src, dst string) []byte {
	return must(ip.SYN(netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst), 1, 0xffff, nil))
}

func must(pkt []byte, err error) []byte {
	if err != nil {
		panic(fmt.Sprintf("pfkeytest: %v", err))
	}
	return pkt
}
