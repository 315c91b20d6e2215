package wire

import (
	"fmt"
	"net/netip"
)

const addressLen = 8

// Address is one of the address extensions (RFC 2367 section 2.3.3).
type Address struct {
	Proto     uint8 // IP protocol, 0 for any; not on OpenBSD
	PrefixLen uint8 // not on OpenBSD
	Reserved  uint16
	Addr      netip.Addr // without zone; an IPv4-mapped IPv6 address stays IPv6
	Port      uint16     // host order
	Flow      uint32     // IPv6 flow information, host order
	Scope     uint32     // IPv6 scope id
	SrcID     uint32     // IPv6 on illumos: the private source id
}

// AppendAddress appends an address extension of type t to b: 24 bytes for IPv4, 40 for IPv6. An invalid Addr is written
// as an IPv4-sized sockaddr of family 0, on OpenBSD as none.
func (d *Dialect) AppendAddress(b []byte, t ExtType, v Address) []byte {
	sa := v.sockaddr()
	size := pad8(d.sockaddrLen(sa))
	if d.t.plainAddress {
		if v.Proto, v.PrefixLen = 0, 0; !sa.Addr.IsValid() {
			size = 0
		}
	}
	b, p := d.newExt(b, t, addressLen+size)
	p[4], p[5] = v.Proto, v.PrefixLen
	d.put16(p[6:], v.Reserved)
	if size > 0 {
		d.putSockaddr(p[addressLen:], &sa)
	}
	return b
}

// ParseAddress reads an address extension of any type. On OpenBSD it may have no sockaddr, which makes an invalid Addr.
// ErrFamily: the sockaddr is of neither IPv4 nor IPv6, and
// [Dialect.AddressFamily] tells what it says; ErrShort: it is cut. Proto, PrefixLen and Reserved are right in both
// cases if the extension has 8 bytes.
func (d *Dialect) ParseAddress(raw []byte) (Address, error) {
	if err := d.need(raw, addressLen); err != nil {
		return Address{}, err
	}
	v := Address{Reserved: d.u16(raw[6:])}
	if !d.t.plainAddress {
		v.Proto, v.PrefixLen = raw[4], raw[5]
	} else if len(raw) == addressLen {
		return v, nil
	}
	sa, _, err := d.parseSockaddr(raw[addressLen:])
	if err != nil {
		return v, d.fail(raw, addressLen, err)
	}
	v.Addr, v.Port, v.Flow, v.Scope, v.SrcID = sa.Addr, sa.Port, sa.Flow, sa.Scope, sa.SrcID
	return v, nil
}

// AddressFamily is the family field of an address extension's sockaddr; false if the extension ends before it.
func (d *Dialect) AddressFamily(raw []byte) (uint16, bool) {
	if len(raw) < addressLen+2 {
		return 0, false
	}
	return d.family(raw[addressLen:]), true
}

func (v Address) sockaddr() Sockaddr {
	return Sockaddr{Addr: v.Addr, Port: v.Port, Flow: v.Flow, Scope: v.Scope, SrcID: v.SrcID}
}

var shapeAddress = &shape{role: RoleAddress, kind: "address", fields: []field{
	f("proto", 1, asProto, "IP protocol that it is for; 0 is any"),
	f("prefixlen", 1, nil, "leading bits of the address that count"),
	reserved(2),
}, rule: func(d *Dialect, raw []byte) error {
	v, err := d.ParseAddress(raw)
	if err != nil || !d.t.exactAddress {
		return err
	}
	if !v.Addr.IsValid() {
		return nil
	}
	n := d.sockaddrLen(v.sockaddr())
	if d.SockaddrLen && int(raw[addressLen]) != n {
		return d.fail(raw, addressLen, ErrLength)
	}
	return d.exact(raw, addressLen+pad8(n))
}, tail: func(p *teller) {
	p.sockaddr("")
}, brief: func(d *Dialect, r *extRow, raw []byte) string {
	v, _ := d.ParseAddress(raw)
	s := "none"
	if v.Addr.IsValid() {
		s = v.Addr.String()
	}
	if v.PrefixLen != 0 && int(v.PrefixLen) != v.Addr.BitLen() {
		s += fmt.Sprintf("/%d", v.PrefixLen)
	}
	proto := ""
	if v.Proto != 0 {
		proto = "proto:" + protoOrNumber(uint64(v.Proto))
	}
	return list(r.short, s, pair("scope", v.Scope), pair("port", v.Port), proto)
}, sockaddrs: func(d *Dialect, raw []byte, visit func([]byte)) {
	d.eachSockaddr(raw[addressLen:], 1, visit)
}}
