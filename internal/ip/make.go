package ip

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// What can be wrong with a datagram that is to be made. Package ipsec hands both on as its own, so they bear its name.
var (
	ErrAddress = errors.New("ipsec: addresses are not of one family")
	ErrTooLong = errors.New("ipsec: datagram would exceed 65535 bytes")
)

// Fields are what a header says beside its length and checksum. Both addresses are of one family, which is that of the
// header.
type Fields struct {
	Src, Dst netip.Addr
	Proto    uint8
	TTL      uint8
	TOS      uint8
	DF       bool   // IPv4: must not be fragmented
	ID       uint16 // IPv4
	Flow     uint32 // IPv6: flow label, 20 bits
}

// Len is how long the header is.
func (f *Fields) Len() int {
	if f.Dst.Is4() {
		return Len4
	}
	return Len6
}

// Put writes the header to the start of b, but for length and checksum, for which [SetLength] is: they stay 0.
func (f *Fields) Put(b []byte) {
	if f.Dst.Is4() {
		clear(b[:Len4])
		b[0], b[1], b[8], b[9] = 0x45, f.TOS, f.TTL, f.Proto
		binary.BigEndian.PutUint16(b[4:], f.ID)
		if f.DF {
			b[6] = 0x40
		}
		src, dst := f.Src.As4(), f.Dst.As4()
		copy(b[12:], src[:])
		copy(b[16:], dst[:])
		return
	}
	binary.BigEndian.PutUint32(b, 6<<28|uint32(f.TOS)<<20|f.Flow&0xfffff)
	b[4], b[5], b[6], b[7] = 0, 0, f.Proto, f.TTL
	src, dst := f.Src.As16(), f.Dst.As16()
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
}

// Make makes a datagram that carries parts, one behind the other.
func (f *Fields) Make(parts ...[]byte) []byte {
	n := f.Len()
	for _, part := range parts {
		n += len(part)
	}
	pkt := make([]byte, f.Len(), n)
	f.Put(pkt)
	for _, part := range parts {
		pkt = append(pkt, part...)
	}
	SetLength(pkt)
	return pkt
}

// SetLength makes the length in the first header that of pkt, and the checksum right if it has one.
func SetLength(pkt []byte) {
	if pkt[0]>>4 == 6 {
		binary.BigEndian.PutUint16(pkt[4:], uint16(len(pkt)-Len6))
		return
	}
	binary.BigEndian.PutUint16(pkt[2:], uint16(len(pkt)))
	SetHeaderChecksum(pkt)
}

// TooLong tells whether a datagram of n bytes is longer than its header can say.
func TooLong(n int, v6 bool) bool { return n > MaxLen && !v6 || n > MaxLen+Len6 }

// PutUDP writes the UDP header of a datagram of n bytes to the start of b, without a checksum.
func PutUDP(b []byte, src, dst uint16, n int) {
	binary.BigEndian.PutUint16(b, src)
	binary.BigEndian.PutUint16(b[2:], dst)
	binary.BigEndian.PutUint16(b[4:], uint16(n))
	b[6], b[7] = 0, 0
}

// UDP makes a UDP datagram, lengths and checksums right. Its time to live is [TTL], its identification 0. Errors:
// ErrAddress, ErrTooLong.
func UDP(src, dst netip.AddrPort, payload []byte) ([]byte, error) {
	var b [LenUDP]byte
	PutUDP(b[:], src.Port(), dst.Port(), LenUDP+len(payload))
	return datagram(src.Addr(), dst.Addr(), ProtoUDP, 6, b[:], payload)
}

// Echo makes an ICMP or ICMPv6 echo request; otherwise it is as [UDP].
func Echo(src, dst netip.Addr, id, seq uint16, payload []byte) ([]byte, error) {
	const request4, request6 = 8, 128
	var b [lenEcho]byte
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], seq)
	if dst.Unmap().Is6() {
		b[0] = request6
		return datagram(src, dst, ProtoICMPv6, 2, b[:], payload)
	}
	b[0] = request4
	return datagram(src, dst, ProtoICMP, 2, b[:], payload)
}

// SYN makes the TCP segment that opens a connection, with options, a multiple of 4 bytes; otherwise it is as [UDP].
func SYN(src, dst netip.AddrPort, seq uint32, window uint16, options []byte) ([]byte, error) {
	const syn = 0x02
	var b [lenTCP]byte
	binary.BigEndian.PutUint16(b[:], src.Port())
	binary.BigEndian.PutUint16(b[2:], dst.Port())
	binary.BigEndian.PutUint32(b[4:], seq)
	b[12], b[13] = uint8((lenTCP+len(options))/4<<4), syn
	binary.BigEndian.PutUint16(b[14:], window)
	return datagram(src.Addr(), dst.Addr(), ProtoTCP, 16, b[:], options)
}

// datagram puts IP's header in front of that of the upper layer, whose checksum at offset sum it computes.
func datagram(src, dst netip.Addr, proto uint8, sum int, header, payload []byte) ([]byte, error) {
	f := Fields{Src: src.Unmap(), Dst: dst.Unmap(), Proto: proto, TTL: TTL}
	if !f.Src.IsValid() || !f.Dst.IsValid() || f.Src.Is4() != f.Dst.Is4() {
		return nil, ErrAddress
	}
	n := len(header) + len(payload)
	if TooLong(f.Len()+n, f.Src.Is6()) {
		return nil, ErrTooLong
	}
	pkt := f.Make(header, payload)
	SetChecksum(pkt, f.Len(), f.Len()+sum, proto)
	return pkt, nil
}
