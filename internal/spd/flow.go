package spd

import (
	"encoding/binary"
	"errors"

	"github.com/pfkeyd/pfkeyd/internal/ip"
)

// ErrPacket says that bytes are no IP packet.
var ErrPacket = errors.New("spd: not an IP packet")

// ParseFlow reads the flow of an IP packet, whose own length it does not look at. Ports of a fragment that does not
// carry them are 0, as are those of a packet too short for them. It allocates nothing and keeps nothing.
func ParseFlow(pkt []byte) (Flow, error) {
	var h ip.Header
	switch h.Parse(pkt) {
	case ip.Fine:
	case ip.TotalLen:
		if h.Off > len(pkt) {
			return Flow{}, ErrPacket
		}
	default:
		return Flow{}, ErrPacket
	}
	return FlowOf(&h, pkt), nil
}

// FlowOf is the flow of a packet of which h has been read, up to any of its headers.
func FlowOf(h *ip.Header, pkt []byte) Flow {
	f := Flow{Src: h.Src, Dst: h.Dst, Proto: h.Proto}
	off, first := h.Off, h.FragOff == 0
	if h.AtExtension() || h.V6 && h.Proto == ip.ProtoFragment {
		rest := *h
		first = rest.WalkAll(pkt) && rest.FragOff == 0
		off, f.Proto = rest.Off, rest.Proto
	}
	switch f.Proto {
	case ip.ProtoTCP, ip.ProtoUDP, ip.ProtoSCTP:
		if first && len(pkt)-off >= 4 {
			f.SrcPort, f.DstPort = binary.BigEndian.Uint16(pkt[off:]), binary.BigEndian.Uint16(pkt[off+2:])
		}
	}
	return f
}
