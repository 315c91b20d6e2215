package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

const (
	sockaddrIn4 = 16
	// The part of a sockaddr_in6 that every system has; illumos adds a source id of 4 bytes.
	sockaddrIn6 = 28
)

// Sockaddr is an IPv4 or IPv6 socket address as it stands inside extensions. An invalid Addr means none.
type Sockaddr struct {
	Addr  netip.Addr // without zone; an IPv4-mapped IPv6 address is IPv6
	Port  uint16
	Flow  uint32 // IPv6: flow information
	Scope uint32 // IPv6: scope id
	SrcID uint32 // IPv6 on illumos: private source id
}

// sockaddrLen is the size of v on the wire, without padding to a word.
func (d *Dialect) sockaddrLen(v Sockaddr) int {
	if v.Addr.Is6() {
		return d.t.sockaddrIn6
	}
	return sockaddrIn4
}

// putSockaddr writes v over zeroed bytes. An invalid address leaves them zero, the length byte of a BSD excepted.
func (d *Dialect) putSockaddr(p []byte, v *Sockaddr) {
	n := d.sockaddrLen(*v)
	var family uint16
	switch {
	case v.Addr.Is4():
		family = d.AFInet
		a := v.Addr.As4()
		copy(p[4:8], a[:])
	case v.Addr.Is6():
		family = d.AFInet6
		a := v.Addr.As16()
		binary.BigEndian.PutUint32(p[4:], v.Flow)
		copy(p[8:24], a[:])
		d.put32(p[24:], v.Scope)
		if n > sockaddrIn6 {
			d.put32(p[28:], v.SrcID)
		}
	}
	if d.SockaddrLen {
		p[0], p[1] = uint8(n), uint8(family)
	} else {
		d.put16(p, family)
	}
	binary.BigEndian.PutUint16(p[2:], v.Port)
}

// family reads the address family of a sockaddr of at least 2 bytes.
func (d *Dialect) family(p []byte) uint16 {
	if d.SockaddrLen {
		return uint16(p[1])
	}
	return d.u16(p)
}

// parseSockaddr reads the sockaddr at the start of p and says how many bytes it has.
func (d *Dialect) parseSockaddr(p []byte) (Sockaddr, int, error) {
	if len(p) < 2 {
		return Sockaddr{}, 0, ErrShort
	}
	switch d.family(p) {
	case d.AFInet:
		if len(p) < sockaddrIn4 {
			return Sockaddr{}, 0, ErrShort
		}
		return Sockaddr{
			Addr: netip.AddrFrom4([4]byte(p[4:8])),
			Port: binary.BigEndian.Uint16(p[2:]),
		}, sockaddrIn4, nil
	case d.AFInet6:
		n := d.t.sockaddrIn6
		if len(p) < n {
			return Sockaddr{}, 0, ErrShort
		}
		v := Sockaddr{
			Addr:  netip.AddrFrom16([16]byte(p[8:24])),
			Port:  binary.BigEndian.Uint16(p[2:]),
			Flow:  binary.BigEndian.Uint32(p[4:]),
			Scope: d.u32(p[24:]),
		}
		if n > sockaddrIn6 {
			v.SrcID = d.u32(p[28:])
		}
		return v, n, nil
	}
	return Sockaddr{}, 0, ErrFamily
}

// parsePair reads two sockaddrs that lie back to back, and says how many bytes both have.
func (d *Dialect) parsePair(p []byte) (src, dst Sockaddr, size int, err error) {
	src, m, err := d.parseSockaddr(p)
	if err != nil {
		return src, dst, 0, err
	}
	dst, n, err := d.parseSockaddr(p[m:])
	return src, dst, m + n, err
}

const familyMeaning = "of the socket address"

var portField = f("port", 2, asPort, "network order; 0 is any")

var (
	sockaddrIn4Fields = []field{
		portField, f("address", 4, asAddr4, "network order"), f("zero", 8, asBytes, "the end of a sockaddr_in"),
	}
	baseIn6Fields = []field{
		portField, f("flowinfo", 4, asNetHex, "flow label and class of IPv6"),
		f("address", 16, asAddr6, "network order"),
		f("scope", 4, nil, "interface of a link-local address"),
	}
	longIn6Fields = append(slices.Clone(baseIn6Fields), f("source id", 4, nil, "unused"))
)

// sockaddrIn6Fields are what follows the family of a sockaddr_in6.
func (d *Dialect) sockaddrIn6Fields() []field {
	if d.t.sockaddrIn6 > sockaddrIn6 {
		return longIn6Fields
	}
	return baseIn6Fields
}

// sockaddr tells of one and moves behind it; false if it is not whole.
func (p *teller) sockaddr(whose string) bool {
	d := p.d
	b := p.take(2)
	if b == nil {
		return false
	}
	family := d.family(b)
	name, value := "family", fmt.Sprintf("%d (%s)", family, d.familyName(family))
	if d.SockaddrLen {
		name, value = "length", fmt.Sprintf("%d, family = %s", b[0], value)
	}
	p.value(b, whose+name, value, meaningOf(whose, familyMeaning))
	switch family {
	case d.AFInet:
		return p.fieldsOf(whose, sockaddrIn4Fields)
	case d.AFInet6:
		return p.fieldsOf(whose, d.sockaddrIn6Fields())
	}
	return false
}
