package spd

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// ErrPacket says that bytes are no IP packet.
var ErrPacket = errors.New("spd: not an IP packet")

const (
	protoHopByHop = 0
	protoTCP      = 6
	protoUDP      = 17
	protoRouting  = 43
	protoFragment = 44
	protoDstOpts  = 60
	protoSCTP     = 132
)

// ParseFlow reads the flow of an IP packet. Ports of a fragment that does not carry them are 0, as are those of a
// packet too short for them. It allocates nothing and keeps nothing.
func ParseFlow(pkt []byte) (Flow, error) {
	if len(pkt) < 1 {
		return Flow{}, ErrPacket
	}
	var f Flow
	var rest []byte
	switch pkt[0] >> 4 {
	case 4:
		hl := int(pkt[0]&15) * 4
		if hl < 20 || len(pkt) < hl {
			return Flow{}, ErrPacket
		}
		f.Src, f.Dst = netip.AddrFrom4([4]byte(pkt[12:16])), netip.AddrFrom4([4]byte(pkt[16:20]))
		f.Proto = pkt[9]
		if binary.BigEndian.Uint16(pkt[6:])&0x1fff == 0 {
			rest = pkt[hl:]
		}
	case 6:
		if len(pkt) < 40 {
			return Flow{}, ErrPacket
		}
		f.Src, f.Dst = netip.AddrFrom16([16]byte(pkt[8:24])), netip.AddrFrom16([16]byte(pkt[24:40]))
		f.Proto, rest = upperLayer6(pkt)
	default:
		return Flow{}, ErrPacket
	}
	switch f.Proto {
	case protoTCP, protoUDP, protoSCTP:
		if len(rest) >= 4 {
			f.SrcPort, f.DstPort = binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:])
		}
	}
	return f, nil
}

// upperLayer6 goes over the extension headers of an IPv6 packet. It returns nothing of a later fragment.
func upperLayer6(pkt []byte) (proto uint8, rest []byte) {
	proto, rest = pkt[6], pkt[40:]
	for {
		switch proto {
		case protoHopByHop, protoRouting, protoDstOpts:
			if len(rest) < 8 || len(rest) < int(rest[1])*8+8 {
				return proto, nil
			}
			proto, rest = rest[0], rest[int(rest[1])*8+8:]
		case protoFragment:
			if len(rest) < 8 {
				return proto, nil
			}
			if binary.BigEndian.Uint16(rest[2:])>>3 != 0 {
				return rest[0], nil
			}
			proto, rest = rest[0], rest[8:]
		default:
			return proto, rest
		}
	}
}
