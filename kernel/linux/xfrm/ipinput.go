package xfrm

import (
	"encoding/binary"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/ip"
)

const (
	headerLen4 = 20
	headerLen6 = 40
)

// versionOf is the version that an IP header names.
func versionOf(pkt []byte) int {
	if len(pkt) == 0 {
		return 0
	}
	return int(pkt[0] >> 4)
}

// ipInput is what IP does with a packet before IPsec, or a program, sees it: ip_rcv and ip6_rcv, with the settings that
// a host has by default. It returns the packet without what a link has put behind it. version is the one that the
// packet is said to have, by the link or by the header that was around it; lo tells whether it comes from the host
// itself.
func (x *Transforms) ipInput(pkt []byte, version int, lo bool) ([]byte, dropCause) {
	switch version {
	case 4:
		return x.ipInput4(pkt, lo)
	case 6:
		return x.ipInput6(pkt, lo)
	}
	return nil, dropNotIP
}

func (x *Transforms) ipInput4(pkt []byte, lo bool) ([]byte, dropCause) {
	if len(pkt) < headerLen4 || pkt[0]>>4 != 4 {
		return nil, dropHeader4
	}
	head, total := int(pkt[0]&15)*4, int(binary.BigEndian.Uint16(pkt[2:]))
	switch {
	case head < headerLen4 || head > len(pkt):
		return nil, dropHeader4
	case ip.Checksum(0, pkt[:head]) != 0xffff:
		return nil, dropChecksum
	case total > len(pkt):
		return nil, dropTruncated4
	case total < head:
		return nil, dropHeader4
	}
	pkt = pkt[:total:total]
	if !lo && x.martian(pkt) {
		return nil, dropAddress4
	}
	routed, ok := options4(pkt[headerLen4:head])
	switch {
	case !ok:
		return nil, dropOption4
	case routed: // net.ipv4.conf.all.accept_source_route is 0; one that has come to its end is no exception
		return nil, dropSourceRoute4
	}
	return pkt, noDrop
}

// martian tells whether no packet of IPv4 may come from the network with such addresses (ip_route_input_slow).
func (x *Transforms) martian(pkt []byte) bool {
	src, dst := netip.AddrFrom4([4]byte(pkt[12:16])), netip.AddrFrom4([4]byte(pkt[16:20]))
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if src.IsUnspecified() { // a host that asks for an address
		return dst != broadcast
	}
	return src.IsLoopback() || dst.IsLoopback() || dst.IsUnspecified() || src.IsMulticast() || src == broadcast ||
		x.e.Host().Own(src)
}

// options4 checks the options of an IPv4 header, and tells whether a source route is among them.
func options4(opts []byte) (routed, ok bool) {
	const (
		end, nop                 = 0, 1
		record, timestamp, cipso = 7, 68, 134
		loose, strict, alert     = 131, 137, 148
	)
	var recorded, stamped bool
	for len(opts) > 0 {
		switch opts[0] {
		case end:
			return routed, true
		case nop:
			opts = opts[1:]
			continue
		}
		if len(opts) < 2 || opts[1] < 2 || int(opts[1]) > len(opts) {
			return routed, false
		}
		o := opts[:opts[1]]
		opts = opts[len(o):]
		switch o[0] {
		case loose, strict:
			if len(o) < 3 || o[2] < 4 || routed {
				return routed, false
			}
			routed = true
		case record:
			if len(o) < 3 || o[2] < 4 || recorded || !roomFor(o, 4) {
				return routed, false
			}
			recorded = true
		case timestamp:
			if len(o) < 4 || o[2] < 5 || stamped || !timestampOK(o) {
				return routed, false
			}
			stamped = true
		case alert:
			if len(o) < 4 {
				return routed, false
			}
		case cipso: // nothing is labelled here
			return routed, false
		}
	}
	return routed, true
}

// roomFor tells whether an option that is filled on the way has room for n bytes more, or none at all.
func roomFor(o []byte, n int) bool {
	at := int(o[2])
	return at > len(o) || at+n-1 <= len(o)
}

// timestampOK checks the option of that name, which counts the hosts that found no room.
func timestampOK(o []byte) bool {
	// Kinds: with the address of who wrote it beside each time; only of hosts that are named.
	const addresses, given = 1, 3
	kind := o[3] & 15
	if int(o[2]) > len(o) {
		return kind == given || o[3]>>4 != 15
	}
	if kind == addresses || kind == given {
		return roomFor(o, 8)
	}
	return roomFor(o, 4)
}

func (x *Transforms) ipInput6(pkt []byte, lo bool) ([]byte, dropCause) {
	if len(pkt) < headerLen6 || pkt[0]>>4 != 6 {
		return nil, dropHeader6
	}
	src, dst := netip.AddrFrom16([16]byte(pkt[8:24])), netip.AddrFrom16([16]byte(pkt[24:40]))
	const scope, reserved, node = 15, 0, 1 // of a multicast address
	switch s := pkt[25] & scope; {
	case src.IsMulticast(), !lo && (src.IsLoopback() || dst.IsLoopback()):
		return nil, dropAddress6
	case dst.IsMulticast() && (s == reserved || s == node && !lo):
		return nil, dropAddress6
	}
	total := headerLen6 + int(binary.BigEndian.Uint16(pkt[4:]))
	if total > len(pkt) {
		return nil, dropTruncated6
	}
	pkt = pkt[:total:total]
	const hopByHop = 0
	if !x.Own(dst) { // others look at the rest
		if pkt[6] == hopByHop {
			return pkt, extension6(pkt[headerLen6:], hopByHop)
		}
		return pkt, noDrop
	}
	return pkt, extensions6(pkt, headerLen6, pkt[6], true)
}

// extensions6 looks at the extension headers of an IPv6 packet from one place on, where the one with the number next
// stands. Hop-by-hop options are only the first.
func extensions6(pkt []byte, off int, next uint8, first bool) dropCause {
	const hopByHop = 0
	for ; ; first = false {
		switch next {
		case hopByHop:
			if !first {
				return dropNextHeader6
			}
		case protoRouting, protoDstOpts:
		default:
			return noDrop
		}
		if cause := extension6(pkt[off:], next); cause != noDrop {
			return cause
		}
		next, off = pkt[off], off+8+int(pkt[off+1])*8
	}
}

// extension6 looks at one extension header.
func extension6(b []byte, kind uint8) dropCause {
	if len(b) < 8 || len(b) < 8+int(b[1])*8 {
		return dropHeader6
	}
	b = b[:8+int(b[1])*8]
	if kind == protoRouting {
		return routing6(b)
	}
	return options6(b[2:], kind != protoDstOpts)
}

// routing6 looks at a routing header, of which the host follows none (net.ipv6.conf.all.accept_source_route,
// seg6_enabled and rpl_seg_enabled are 0).
func routing6(b []byte) dropCause {
	const mobile, rpl, segments = 2, 3, 4
	left := b[3]
	switch typ := b[2]; {
	case typ == rpl || typ == segments:
		return dropSegments6
	case typ == mobile && left == 0:
		return dropMobile6
	case typ == mobile && left == 1 && len(b) == 24:
		return dropUnknownMobile6 // the address in it is no home address of ours
	case left == 0:
		return noDrop
	}
	return dropRouting6
}

// options6 looks at the options of a header (ip6_parse_tlv): padding is zero and at most 7 bytes, and there are at most
// 8 others.
func options6(b []byte, hopByHop bool) dropCause {
	const (
		pad1, padN, alert = 0, 1, 5
		mostPadding, most = 7, 8
		action            = 6 // the bits from here on say what to do with an unknown option, 0: skip it
	)
	padding, n := 0, 0
	for len(b) > 0 {
		if b[0] == pad1 {
			if padding++; padding > mostPadding {
				return dropOption6
			}
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return dropOption6
		}
		o := b[:2+int(b[1])]
		b = b[len(o):]
		if o[0] == padN {
			if padding += len(o); padding > mostPadding {
				return dropOption6
			}
			for _, x := range o[2:] {
				if x != 0 {
					return dropOption6
				}
			}
			continue
		}
		padding = 0
		n++
		switch {
		case n > most, o[0]>>action != 0, hopByHop && o[0] == alert && len(o) != 4:
			return dropOption6
		}
	}
	return noDrop
}
