package illumos

import (
	"encoding/binary"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/ip"
)

const (
	headerLen4 = 20
	headerLen6 = 40
	leastExt   = 8 // of an extension header

	protoHopByHop = 0
	protoRouting  = 43
	protoOptions  = 60
)

// ipInput is what IP does with a packet before IPsec sees it: ip_input and ip_input_v6, with the settings that a host
// has by default.
func ipInput(pkt []byte) dropCause {
	switch {
	case len(pkt) == 0:
		return dropHeader
	case pkt[0]>>4 == 6:
		return ipInput6(pkt)
	}
	return ipInput4(pkt)
}

func ipInput4(pkt []byte) dropCause {
	if len(pkt) < headerLen4 || pkt[0]>>4 != 4 {
		return dropHeader
	}
	src, dst := netip.AddrFrom4([4]byte(pkt[12:16])), netip.AddrFrom4([4]byte(pkt[16:20]))
	head, total := int(pkt[0]&15)*4, int(binary.BigEndian.Uint16(pkt[2:]))
	switch {
	case dst.IsUnspecified(), dst.IsLoopback(), src.IsLoopback():
		return dropAddress
	case total < headerLen4:
		return dropHeader
	case total > len(pkt):
		return dropTruncated
	case head < headerLen4 || head > total:
		return dropHeader
	case ip.Checksum(0, pkt[:head]) != 0xffff:
		return dropChecksum
	}
	return options4(pkt[headerLen4:head])
}

// options4 checks the options of an IPv4 header (ip_input_options). A source route that has come to its end is a route
// no more; another makes the packet one to be forwarded, which a host does not (ip_forward_src_routed is 0).
func options4(opts []byte) dropCause {
	const (
		end, nop          = 0, 1
		record, timestamp = 7, 68
		loose, strict     = 131, 137

		addrLen = 4
	)
	cause := noDrop
	for len(opts) > 0 {
		switch opts[0] {
		case end:
			return cause
		case nop:
			opts = opts[1:]
			continue
		}
		if len(opts) < 2 || opts[1] < 2 || int(opts[1]) > len(opts) {
			return dropMalformedOption
		}
		o := opts[:opts[1]]
		opts = opts[len(o):]
		switch o[0] {
		case loose, strict, record:
			if len(o) < 3 || o[2] < 4 {
				return dropMalformedOption
			}
			if o[0] != record && int(o[2])-1 <= len(o)-addrLen {
				cause = dropSourceRoute
			}
		case timestamp:
			if len(o) < 4 || o[2] < 5 || !timestampOK(o) {
				return dropMalformedOption
			}
		}
	}
	return cause
}

// timestampOK checks the option of that name, which counts the hosts that found no room.
func timestampOK(o []byte) bool {
	const (
		times, addresses, given, oldGiven = 0, 1, 3, 2 // kinds
		timeLen, addrLen                  = 4, 4
	)
	room := timeLen
	switch o[3] & 15 {
	case times:
	case addresses, given, oldGiven:
		room += addrLen
	default:
		return false
	}
	return int(o[2])-1+room <= len(o) || o[3]>>4 != 15
}

func ipInput6(pkt []byte) dropCause {
	if len(pkt) < headerLen6 {
		return dropHeader
	}
	src, dst := netip.AddrFrom16([16]byte(pkt[8:24])), netip.AddrFrom16([16]byte(pkt[24:40]))
	total := headerLen6 + int(binary.BigEndian.Uint16(pkt[4:]))
	switch {
	case dst.IsUnspecified(), dst.IsLoopback(), src.IsLoopback(), dst.Is4In6(), src.Is4In6():
		return dropAddress
	case total > len(pkt):
		return dropTruncated
	}
	return extensions6(pkt[:total], headerLen6, pkt[6], true)
}

// extensions6 looks at the extension headers of an IPv6 packet from one place on, where the one with the number next
// stands. Hop-by-hop options are only the first.
func extensions6(pkt []byte, off int, next uint8, first bool) dropCause {
	for ; ; first = false {
		switch next {
		case protoHopByHop:
			if !first {
				return dropMalformedOption
			}
		case protoRouting, protoOptions:
		default:
			return noDrop
		}
		b := pkt[off:]
		if len(b) < leastExt || len(b) < leastExt+int(b[1])*8 {
			return dropTruncated
		}
		b = b[:leastExt+int(b[1])*8]
		if next == protoRouting {
			if left := b[3]; left != 0 { // whatever its type (RFC 5095); ipv6_forward_src_routed is 0
				return dropRouting
			}
		} else if cause := options6(b[2:], next == protoHopByHop); cause != noDrop {
			return cause
		}
		next, off = b[0], off+len(b)
	}
}

// options6 looks at the options of a header (ip_process_options_v6).
func options6(b []byte, hopByHop bool) dropCause {
	const (
		pad1, padN, limit, alert = 0, 1, 4, 5
		action                   = 6 // the bits from here on say what to do with an unknown option, 0: skip it
	)
	for len(b) > 0 {
		if b[0] == pad1 {
			b = b[1:]
			continue
		}
		if len(b) < 2 {
			return dropMalformedOption
		}
		known := false
		switch n := int(b[1]); b[0] {
		case padN:
			known = true
		case alert:
			known = hopByHop && n == 2
		case limit:
			known = !hopByHop && n == 1
		}
		if !known && b[0]>>action != 0 {
			return dropOption
		}
		if len(b) < 2+int(b[1]) {
			return dropMalformedOption
		}
		b = b[2+int(b[1]):]
	}
	return noDrop
}
