package ipsec

import (
	"encoding/binary"
	"net/netip"
)

const (
	protoICMP   = 1
	protoTCP    = 6
	protoICMPv6 = 58

	makeTTL = 64
	tcpLen  = 20
	echoLen = 8
)

// MakeUDP makes an IP packet with a UDP datagram, lengths and checksums right. Its time to live is 64, its
// identification 0. Errors: ErrAddress for addresses that are not of one family, ErrTooLong.
func MakeUDP(src, dst netip.AddrPort, payload []byte) ([]byte, error) {
	segment := make([]byte, udpLen, udpLen+len(payload))
	binary.BigEndian.PutUint16(segment, src.Port())
	binary.BigEndian.PutUint16(segment[2:], dst.Port())
	binary.BigEndian.PutUint16(segment[4:], uint16(udpLen+len(payload)))
	return makeIP(src.Addr(), dst.Addr(), protoUDP, append(segment, payload...), 6)
}

// MakeEcho makes an ICMP or ICMPv6 echo request; otherwise it is as MakeUDP.
func MakeEcho(src, dst netip.Addr, id, seq uint16, payload []byte) ([]byte, error) {
	segment := make([]byte, echoLen, echoLen+len(payload))
	proto := uint8(protoICMP)
	if segment[0] = 8; dst.Unmap().Is6() {
		proto, segment[0] = protoICMPv6, 128
	}
	binary.BigEndian.PutUint16(segment[4:], id)
	binary.BigEndian.PutUint16(segment[6:], seq)
	return makeIP(src, dst, proto, append(segment, payload...), 2)
}

// MakeSYN makes the TCP segment that opens a connection, with no options; otherwise it is as MakeUDP.
func MakeSYN(src, dst netip.AddrPort, seq uint32) ([]byte, error) {
	segment := make([]byte, tcpLen)
	binary.BigEndian.PutUint16(segment, src.Port())
	binary.BigEndian.PutUint16(segment[2:], dst.Port())
	binary.BigEndian.PutUint32(segment[4:], seq)
	const syn = 0x02
	segment[12], segment[13] = tcpLen/4<<4, syn
	binary.BigEndian.PutUint16(segment[14:], 0xffff) // the window
	return makeIP(src.Addr(), dst.Addr(), protoTCP, segment, 16)
}

// makeIP puts a header in front of segment, whose checksum at offset sum it computes.
func makeIP(src, dst netip.Addr, proto uint8, segment []byte, sum int) ([]byte, error) {
	src, dst = src.Unmap(), dst.Unmap()
	if !src.IsValid() || !dst.IsValid() || src.Is4() != dst.Is4() {
		return nil, ErrAddress
	}
	v6 := src.Is6()
	head, pseudo := ip4Min, uint32(0)
	if v6 {
		head = ip6Len
	}
	if tooLong(head+len(segment), v6) || len(segment) > maxDatagram {
		return nil, ErrTooLong
	}
	if proto != protoICMP {
		addrs := Checksum(uint32(Checksum(0, src.AsSlice())), dst.AsSlice())
		pseudo = uint32(proto) + uint32(len(segment)) + uint32(addrs)
	}
	c := ^Checksum(pseudo, segment)
	if c == 0 && proto == protoUDP {
		c = 0xffff // 0 says that there is none
	}
	binary.BigEndian.PutUint16(segment[sum:], c)

	pkt := make([]byte, head, head+len(segment))
	if v6 {
		pkt[0], pkt[6], pkt[7] = 0x60, proto, makeTTL
		copy(pkt[8:], src.AsSlice())
		copy(pkt[24:], dst.AsSlice())
	} else {
		pkt[0], pkt[8], pkt[9] = 0x45, makeTTL, proto
		copy(pkt[12:], src.AsSlice())
		copy(pkt[16:], dst.AsSlice())
	}
	pkt = append(pkt, segment...)
	setLength(pkt, v6, head)
	return pkt, nil
}
