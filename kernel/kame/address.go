package kame

import (
	"encoding/binary"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/wire"
)

// Sizes of socket addresses in bytes. They are the same in all heirs.
const (
	sockaddrIn  = 16
	sockaddrIn6 = 28
)

// Sockaddr is a socket address with all of its bytes, as the kernels keep it and show it again: length, family, port in
// network order, then what the family has. Two are equal if all their bytes are.
type Sockaddr [sockaddrIn6]byte

// SockaddrOf reads the address of an address extension. What the extension does not hold is zero.
func SockaddrOf(ext []byte) (s Sockaddr) {
	const fixed = 8
	if len(ext) > fixed {
		n := min(len(ext)-fixed, len(s), int(ext[fixed]))
		copy(s[:], ext[fixed:fixed+n])
		s[0] = ext[fixed]
	}
	return s
}

// Len is the length that the address says of itself, in bytes; Family is the number of its family.
func (s *Sockaddr) Len() int { return int(s[0]) }

// Family is the number of the address family, which is the dialect's.
func (s *Sockaddr) Family() uint8 { return s[1] }

// Port is the port, in host order.
func (s *Sockaddr) Port() uint16 { return binary.BigEndian.Uint16(s[2:]) }

// WithPort is the address with another port.
func (s Sockaddr) WithPort(port uint16) Sockaddr {
	binary.BigEndian.PutUint16(s[2:], port)
	return s
}

// Addr is the IP address of an IPv4 or IPv6 address of full length; invalid for any other.
func (s *Sockaddr) Addr() netip.Addr {
	switch s.Len() {
	case sockaddrIn:
		return netip.AddrFrom4([4]byte(s[4:]))
	case sockaddrIn6:
		return netip.AddrFrom16([16]byte(s[8:]))
	}
	return netip.Addr{}
}

// scope is the interface of a link-local IPv6 address.
func (s *Sockaddr) scope() [4]byte {
	if s.Len() != sockaddrIn6 {
		return [4]byte{}
	}
	return [4]byte(s[24:])
}

// Bits is how many bits the IP address has.
func (s *Sockaddr) Bits() uint8 { return uint8(s.Addr().BitLen()) }

// SockaddrFrom makes the socket address of an IP address and a port in host order.
func (k *Kernel) SockaddrFrom(a netip.Addr, port uint16) (s Sockaddr) {
	if a.Is4() {
		s[0], s[1] = sockaddrIn, uint8(k.d.AFInet)
		copy(s[4:], a.AsSlice())
	} else {
		s[0], s[1] = sockaddrIn6, uint8(k.d.AFInet6)
		copy(s[8:], a.AsSlice())
	}
	return s.WithPort(port)
}

// AnyProto is the upper protocol of an address that stands for all.
const AnyProto = 255

// AppendAddress appends an address extension with all bytes of a socket address; one of length 0 has none.
func (k *Kernel) AppendAddress(b []byte, t wire.ExtType, s Sockaddr, bits, proto uint8) []byte {
	size := 8 + (s.Len()+7)&^7
	b = k.d.AppendExtHeader(b, t, size)
	b = append(b, proto, bits, 0, 0)
	b = append(b, s[:min(s.Len(), len(s))]...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return b
}
