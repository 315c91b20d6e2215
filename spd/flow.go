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

// FlowOf is the flow of a packet of which h has been read, and perhaps gone over some headers. It goes over those that
// are left.
func FlowOf(h *ip.Header, pkt []byte) Flow {
	whole := h.WalkAll(pkt)
	f := Flow{Src: h.Src, Dst: h.Dst, Proto: h.Proto}
	if !whole || h.FragOff != 0 {
		return f
	}
	switch h.Proto {
	case ip.ProtoTCP, ip.ProtoUDP, ip.ProtoSCTP:
		if b := pkt[h.Off:]; len(b) >= 4 {
			f.SrcPort, f.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		}
	}
	return f
}
