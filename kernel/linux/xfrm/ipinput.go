package xfrm

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/ip"
)

// versionOf is the version that an IP header names.
func versionOf(pkt []byte) int {
	if len(pkt) == 0 {
		return 0
	}
	return int(pkt[0] >> 4)
}

// ipInput is what IP does with a packet before IPsec, or a program, sees it: ip_rcv and ip6_rcv, with the settings that
// a host has by default. d becomes the packet without what a link has put behind it. version is the one that the packet
// is said to have, by the link or by the header that was around it; lo tells whether it comes from the host itself.
func (x *Transforms) ipInput(d *datagram, pkt []byte, version int, lo bool) dropCause {
	d.Parse(pkt) // what it says is looked at below, in the original's order
	switch version {
	case 4:
		return x.ipInput4(d, pkt, lo)
	case 6:
		return x.ipInput6(d, pkt, lo)
	}
	return dropNotIP
}

func (x *Transforms) ipInput4(d *datagram, pkt []byte, lo bool) dropCause {
	switch {
	case d.V6 || d.Off < ip.Len4 || d.Off > len(pkt):
		return dropHeader4
	case ip.Checksum(0, pkt[:d.Off]) != 0xffff:
		return dropChecksum
	case d.End > len(pkt):
		return dropTruncated4
	case d.End < d.Off:
		return dropHeader4
	}
	d.pkt = pkt[:d.End:d.End]
	if !lo && x.martian(d) {
		return dropAddress4
	}
	routed, ok := options4(pkt[ip.Len4:d.Off])
	switch {
	case !ok:
		return dropOption4
	case routed: // net.ipv4.conf.all.accept_source_route is 0; one that has come to its end is no exception
		return dropSourceRoute4
	}
	return noDrop
}

// martian tells whether no packet of IPv4 may come from the network with such addresses (ip_route_input_slow).
func (x *Transforms) martian(d *datagram) bool {
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if d.Src.IsUnspecified() { // a host that asks for an address
		return d.Dst != broadcast
	}
	return d.Src.IsLoopback() || d.Dst.IsLoopback() || d.Dst.IsUnspecified() || d.Src.IsMulticast() ||
		d.Src == broadcast || x.e.Host().Own(d.Src)
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

func (x *Transforms) ipInput6(d *datagram, pkt []byte, lo bool) dropCause {
	if !d.V6 {
		return dropHeader6
	}
	const scope, reserved, node = 15, 0, 1 // of a multicast address
	switch s := pkt[25] & scope; {
	case d.Src.IsMulticast(), !lo && (d.Src.IsLoopback() || d.Dst.IsLoopback()):
		return dropAddress6
	case d.Dst.IsMulticast() && (s == reserved || s == node && !lo):
		return dropAddress6
	case d.End > len(pkt):
		return dropTruncated6
	}
	d.pkt = pkt[:d.End:d.End]
	if x.Own(d.Dst) {
		return d.extensions6(true)
	}
	// Others look at the rest.
	if d.Proto == ip.ProtoHopByHop {
		if cause := d.extension6(); cause != noDrop {
			return cause
		}
	}
	d.Walk(d.pkt)
	return noDrop
}

// extensions6 goes over the extension headers of an IPv6 packet that are left, and looks at each. Hop-by-hop options
// are only the first.
func (d *datagram) extensions6(first bool) dropCause {
	for ; d.AtExtension(); first = false {
		if d.Proto == ip.ProtoHopByHop && !first {
			return dropNextHeader6
		}
		if cause := d.extension6(); cause != noDrop {
			return cause
		}
	}
	return noDrop
}

// extension6 goes over one extension header, and looks at it.
func (d *datagram) extension6() dropCause {
	kind := d.Proto
	b := d.Step(d.pkt)
	switch {
	case b == nil:
		return dropHeader6
	case kind == ip.ProtoRouting:
		return routing6(b)
	}
	return options6(b[2:], kind == ip.ProtoHopByHop)
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
