package kame

import (
	"encoding/binary"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/spd"
)

// flowOf is what a packet shows to policies, whichever way it goes (ipsec4_get_ulp, ipsec6_get_ulp). h is its first
// header. Only IPv4 hides the upper protocol of fragments, and looks behind an AH.
func (k *Kernel) flowOf(h *ip.Header, pkt []byte) spd.Flow {
	f := spd.Flow{Src: h.Src, Dst: h.Dst, Proto: AnyProto}
	rest := *h
	if h.V6 {
		rest.WalkAll(pkt)
		if rest.FragOff != 0 {
			f.Proto = ip.ProtoFragment
			return f
		}
	} else {
		if h.Fragment() {
			return f
		}
		for rest.Proto == ip.ProtoAH && len(pkt)-rest.Off >= 2 {
			ah := pkt[rest.Off:]
			rest.Proto = ah[0]
			rest.Off += (int(ah[1]) + 2) * 4
		}
	}
	f.Proto, f.SrcPort, f.DstPort = k.page.Upper(rest.V6, rest.Proto, pkt[min(rest.Off, len(pkt)):])
	return f
}

// Upper is what most heirs see of an upper protocol, for [Page].Upper: the ports of TCP and UDP. Where the header of
// one of these is cut, IPv4 hides the protocol, too.
func Upper(v6 bool, proto uint8, payload []byte) (shown uint8, sport, dport uint16) {
	const tcpLen = 20
	least := 0
	switch proto {
	case ip.ProtoTCP:
		least = tcpLen
	case ip.ProtoUDP:
		least = ip.LenUDP
	default:
		return proto, 0, 0
	}
	switch {
	case len(payload) >= least:
		return proto, binary.BigEndian.Uint16(payload), binary.BigEndian.Uint16(payload[2:])
	case v6:
		return proto, 0, 0
	}
	return AnyProto, 0, 0
}
