package illumos

import (
	"github.com/pfkeyd/pfkeyd/internal/ip"
)

// ipInput is what IP does with a packet before IPsec sees it: ip_input and ip_input_v6, with the settings that a host
// has by default. h becomes what the headers say.
func ipInput(h *ip.Header, pkt []byte) dropCause {
	switch problem := h.Parse(pkt); {
	case problem == ip.Short || problem == ip.Version:
		return dropHeader
	case h.V6:
		return ipInput6(h, pkt)
	}
	return ipInput4(h, pkt)
}

func ipInput4(h *ip.Header, pkt []byte) dropCause {
	switch {
	case h.Dst.IsUnspecified(), h.Dst.IsLoopback(), h.Src.IsLoopback():
		return dropAddress
	case h.End < ip.Len4:
		return dropHeader
	case h.End > len(pkt):
		return dropTruncated
	case h.Off < ip.Len4 || h.Off > h.End:
		return dropHeader
	case ip.Checksum(0, pkt[:h.Off]) != 0xffff:
		return dropChecksum
	}
	return options4(pkt[ip.Len4:h.Off])
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

func ipInput6(h *ip.Header, pkt []byte) dropCause {
	switch {
	case h.Dst.IsUnspecified(), h.Dst.IsLoopback(), h.Src.IsLoopback(), h.Dst.Is4In6(), h.Src.Is4In6():
		return dropAddress
	case h.End > len(pkt):
		return dropTruncated
	}
	return extensions6(h, pkt[:h.End])
}

// extensions6 goes over the extension headers of an IPv6 packet, and looks at each. Hop-by-hop options are only the
// first.
func extensions6(h *ip.Header, pkt []byte) dropCause {
	for first := true; h.AtExtension(); first = false {
		kind := h.Proto
		if kind == ip.ProtoHopByHop && !first {
			return dropMalformedOption
		}
		b := h.Step(pkt)
		if b == nil {
			return dropTruncated
		}
		if kind == ip.ProtoRouting {
			if left := b[3]; left != 0 { // whatever its type (RFC 5095); ipv6_forward_src_routed is 0
				return dropRouting
			}
		} else if cause := options6(b[2:], kind == ip.ProtoHopByHop); cause != noDrop {
			return cause
		}
	}
	return noDrop
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
