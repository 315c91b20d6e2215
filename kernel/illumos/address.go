package illumos

import (
	"encoding/binary"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/wire"
)

// class is what kind of address an ADDRESS extension holds; sadb_addrcheck.
type class uint8

const (
	classNotThere class = iota // no such extension
	classUnknown               // its family is neither IPv4 nor IPv6, or a check failed
	classUnspec                // 0.0.0.0 or ::
	classMe                    // one of this host's
	classNotMe                 // unicast, not ours
	classMBcast                // multicast or broadcast
)

// address is a view of an ADDRESS extension. Its sockaddr is edited in place, as the original does, and shows so in
// echoes.
type address struct {
	d   *wire.Dialect
	raw []byte // at least 40 bytes, or to the end of the slack
}

func (r *request) address(k *Kernel, t wire.ExtType) address { return address{k.d, r.ext[t]} }

func (a address) present() bool       { return a.raw != nil }
func (a address) proto() uint8        { return a.raw[4] }
func (a address) setProto(p uint8)    { a.raw[4] = p }
func (a address) prefix() int         { return int(a.raw[5]) }
func (a address) setPrefix(bits int)  { a.raw[5] = uint8(bits) }
func (a address) family() uint16      { return a.d.Order.Uint16(a.raw[8:]) }
func (a address) setFamily(af uint16) { a.d.Order.PutUint16(a.raw[8:], af) }
func (a address) port() uint16        { return binary.BigEndian.Uint16(a.raw[10:]) }
func (a address) is4() bool           { return a.family() == a.d.AFInet }
func (a address) is6() bool           { return a.family() == a.d.AFInet6 }

// addr is the address itself; invalid if the family is unknown.
func (a address) addr() netip.Addr {
	switch {
	case a.is4():
		return netip.AddrFrom4([4]byte(a.raw[12:16]))
	case a.is6():
		return netip.AddrFrom16([16]byte(a.raw[16:32]))
	}
	return netip.Addr{}
}

// setAddr4 turns the sockaddr into an IPv4 one, port kept. What lies behind its 16 bytes stays.
func (a address) setAddr4(ip [4]byte) {
	a.setFamily(a.d.AFInet)
	copy(a.raw[12:16], ip[:])
	clear(a.raw[16:24])
}

// mask clears the bits of the address behind a prefix.
func (a address) mask(bits int) {
	ip := a.raw[16:32]
	if a.is4() {
		ip = a.raw[12:16]
	}
	for i := range ip {
		switch n := bits - i*8; {
		case n <= 0:
			ip[i] = 0
		case n < 8:
			ip[i] &= 0xff << (8 - n)
		}
	}
}

var badFamily = map[wire.ExtType]wire.IllumosDiagnostic{
	wire.ExtAddressSrc:              wire.IllumosDiagBadSrcAF,
	wire.ExtAddressDst:              wire.IllumosDiagBadDstAF,
	wire.IllumosExtXAddressInnerSrc: wire.IllumosDiagBadInnerSrcAF,
	wire.IllumosExtXAddressInnerDst: wire.IllumosDiagBadInnerDstAF,
	wire.IllumosExtXAddressNattLoc:  wire.IllumosDiagBadNATTLocAF,
	wire.IllumosExtXAddressNattRem:  wire.IllumosDiagBadNATTRemAF,
}

// addrCheck normalises one address in place (an IPv4-mapped one becomes IPv4, an inner one is masked to its prefix) and
// classifies it; sadb_addrcheck.
func (k *Kernel) addrCheck(r *request, t wire.ExtType) (class, result) {
	if !r.has(t) {
		return classNotThere, result{}
	}
	a := r.address(k, t)
	inner := t == wire.IllumosExtXAddressInnerSrc || t == wire.IllumosExtXAddressInnerDst
	if ip := a.addr(); ip.Is4In6() {
		a.setAddr4(ip.Unmap().As4())
		if inner && a.prefix() >= 96 {
			a.setPrefix(a.prefix() - 96)
		}
	}
	if !a.is4() && !a.is6() {
		return classUnknown, einval(badFamily[t])
	}
	if inner {
		if a.prefix() > a.addr().BitLen() {
			if t == wire.IllumosExtXAddressInnerSrc {
				return classUnknown, einval(wire.IllumosDiagPrefixInnerSrc)
			}
			return classUnknown, einval(wire.IllumosDiagPrefixInnerDst)
		}
		a.mask(a.prefix())
	}
	return k.classify(a.addr()), result{}
}

func (k *Kernel) classify(ip netip.Addr) class {
	host := k.e.Host()
	switch {
	case ip.IsUnspecified():
		return classUnspec
	case ip.IsMulticast() || host.Broadcast(ip):
		return classMBcast
	case host.Own(ip):
		return classMe
	}
	return classNotMe
}

// addrFix checks all addresses of a message against each other; sadb_addrfix. It fills in r.src and r.dst.
func (k *Kernel) addrFix(r *request) (res result) {
	if r.src, res = k.addrCheck(r, wire.ExtAddressSrc); res.failed() {
		return res
	}
	if r.src == classMBcast {
		return einval(wire.IllumosDiagBadSrc)
	}
	if r.dst, res = k.addrCheck(r, wire.ExtAddressDst); res.failed() {
		return res
	}
	if r.dst == classUnspec {
		return einval(wire.IllumosDiagBadDst)
	}
	if res = k.nattFix(r); res.failed() {
		return res
	}
	if res = k.innerFix(r); res.failed() {
		return res
	}
	src, dst := r.address(k, wire.ExtAddressSrc), r.address(k, wire.ExtAddressDst)
	if !src.present() || !dst.present() {
		return result{}
	}
	if r.has(wire.IllumosExtXAddressInnerSrc) {
		innerSrc, innerDst := r.address(k, wire.IllumosExtXAddressInnerSrc),
			r.address(k, wire.IllumosExtXAddressInnerDst)
		if innerSrc.port()|innerDst.port() != 0 && src.port()|dst.port() != 0 {
			return einval(wire.IllumosDiagDualPortSets)
		}
	}
	if src.family() == dst.family() {
		return result{}
	}
	switch sp, dp := src.proto(), dst.proto(); {
	case sp == dp:
	case sp == 0:
		src.setProto(dp)
	case dp == 0:
		dst.setProto(sp)
	default:
		return einval(wire.IllumosDiagProtoMismatch)
	}
	if r.src == classUnspec && src.is6() && dst.is4() {
		src.setAddr4([4]byte{})
		return result{}
	}
	return einval(wire.IllumosDiagAFMismatch)
}

// nattFix checks the addresses of NAT traversal: both IPv4, neither of them ours.
func (k *Kernel) nattFix(r *request) result {
	c, res := k.addrCheck(r, wire.IllumosExtXAddressNattLoc)
	switch {
	case res.failed():
		return res
	case c == classNotThere:
	case c != classNotMe && c != classUnspec:
		return einval(wire.IllumosDiagMalformedNATTLoc)
	case !r.address(k, wire.IllumosExtXAddressNattLoc).is4():
		return einval(wire.IllumosDiagBadNATTLocAF)
	}
	c, res = k.addrCheck(r, wire.IllumosExtXAddressNattRem)
	switch {
	case res.failed():
		return res
	case c == classNotThere:
	case c != classNotMe && (c != classUnspec || !r.has(wire.IllumosExtXAddressInnerSrc)):
		return einval(wire.IllumosDiagMalformedNATTRem)
	case !r.address(k, wire.IllumosExtXAddressNattRem).is4():
		return einval(wire.IllumosDiagBadNATTRemAF)
	}
	return result{}
}

// innerFix checks the addresses of tunnel mode.
func (k *Kernel) innerFix(r *request) result {
	switch src, dst := r.has(wire.IllumosExtXAddressInnerSrc), r.has(wire.IllumosExtXAddressInnerDst); {
	case !src && !dst:
		return result{}
	case !dst:
		return einval(wire.IllumosDiagMissingInnerDst)
	case src:
		if _, res := k.addrCheck(r, wire.IllumosExtXAddressInnerDst); res.failed() {
			return res
		}
		if _, res := k.addrCheck(r, wire.IllumosExtXAddressInnerSrc); res.failed() {
			return res
		}
		if r.address(k, wire.IllumosExtXAddressInnerSrc).family() != r.address(k,
			wire.IllumosExtXAddressInnerDst).family() {
			return einval(wire.IllumosDiagInnerAFMismatch)
		}
		return result{}
	}
	return einval(wire.IllumosDiagMissingInnerSrc)
}
