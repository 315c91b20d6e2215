package packetport

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/pfkeyd/pfkeyd/ipsec"
)

// Numbers of protocols in IP headers.
const (
	protoHopByHop = 0
	protoICMP     = 1
	protoIPv4     = 4
	protoTCP      = 6
	protoUDP      = 17
	protoIPv6     = 41
	protoRouting  = 43
	protoFragment = 44
	protoESP      = 50
	protoAH       = 51
	protoICMPv6   = 58
	protoNone     = 59
	protoOptions  = 60
)

// datagram is an IP packet as far as this package looks into it.
type datagram struct {
	src, dst netip.Addr
	proto    uint8
	offset   int    // of the fragment, in bytes
	more     bool   // fragments follow
	payload  []byte // behind the IP headers, cut to the length that the header claims; shorter if bytes are missing
}

// parse reads the IP headers, without trusting a length in them.
func parse(b []byte) (d datagram, ok bool) {
	if len(b) == 0 {
		return d, false
	}
	switch b[0] >> 4 {
	case 4:
		hl := int(b[0]&15) * 4
		if hl < 20 || len(b) < hl {
			return d, false
		}
		d.src, d.dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		d.proto = b[9]
		frag := binary.BigEndian.Uint16(b[6:])
		d.offset, d.more = int(frag&0x1fff)*8, frag&0x2000 != 0
		end := min(len(b), max(hl, int(binary.BigEndian.Uint16(b[2:]))))
		d.payload = b[hl:end]
		return d, true
	case 6:
		if len(b) < 40 {
			return d, false
		}
		d.src, d.dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		end := min(len(b), 40+int(binary.BigEndian.Uint16(b[4:])))
		d.proto, d.payload = b[6], b[40:end]
		for {
			switch d.proto {
			case protoHopByHop, protoRouting, protoOptions:
				if len(d.payload) < 8 {
					return d, true
				}
				n := 8 + int(d.payload[1])*8
				if n > len(d.payload) {
					return d, true
				}
				d.proto, d.payload = d.payload[0], d.payload[n:]
			case protoFragment:
				if len(d.payload) < 8 {
					return d, true
				}
				frag := binary.BigEndian.Uint16(d.payload[2:])
				d.offset, d.more = int(frag&^7), frag&1 != 0
				d.proto, d.payload = d.payload[0], d.payload[8:]
				if d.offset != 0 {
					return d, true
				}
			default:
				return d, true
			}
		}
	}
	return d, false
}

// spi finds the SPI of the outermost protection: ESP, AH, or ESP in UDP.
func spi(packet []byte) (uint32, bool) {
	in, err := ipsec.ParseInbound(packet)
	return in.SPI, err == nil
}

// espInUDP returns what is behind the UDP header when it is ESP and not IKE, whose marker is an SPI of 0, nor a
// keepalive.
func espInUDP(udp []byte) ([]byte, bool) {
	if len(udp) < 8+4 {
		return nil, false
	}
	if binary.BigEndian.Uint16(udp) != ipsec.NATTPort && binary.BigEndian.Uint16(udp[2:]) != ipsec.NATTPort {
		return nil, false
	}
	esp := udp[8:]
	return esp, binary.BigEndian.Uint32(esp) != 0
}

// Line describes an IP packet in one line for people, such as "192.0.2.2 > 192.0.2.1 udp 500 > 500, 20 bytes". It never
// fails, and shows nothing of what a protocol carries.
func Line(packet []byte) string {
	if len(packet) == 0 {
		return ""
	}
	d, ok := parse(packet)
	if !ok {
		return fmt.Sprintf("not an IP packet, %d bytes", len(packet))
	}
	s := d.src.String() + " > " + d.dst.String() + " "
	if d.offset != 0 {
		s += fmt.Sprintf("%s fragment at %d, %d bytes", protoName(d.proto), d.offset, len(d.payload))
	} else {
		s += protocol(d.proto, d.payload, 0)
	}
	if d.more {
		s += ", more fragments"
	}
	return s
}

func protoName(p uint8) string {
	switch p {
	case protoICMP:
		return "icmp"
	case protoIPv4:
		return "ipv4"
	case protoTCP:
		return "tcp"
	case protoUDP:
		return "udp"
	case protoIPv6:
		return "ipv6"
	case protoESP:
		return "esp"
	case protoAH:
		return "ah"
	case protoICMPv6:
		return "icmp6"
	case protoNone:
		return "no next header"
	}
	return "protocol " + strconv.Itoa(int(p))
}

// maxDepth bounds how far Line follows headers in headers.
const maxDepth = 4

func protocol(proto uint8, p []byte, depth int) string {
	name := protoName(proto)
	short := fmt.Sprintf("%s, %d bytes", name, len(p))
	if depth == maxDepth {
		return short
	}
	switch proto {
	case protoUDP:
		if len(p) < 8 {
			return short
		}
		s := fmt.Sprintf("udp %d > %d", binary.BigEndian.Uint16(p), binary.BigEndian.Uint16(p[2:]))
		if esp, ok := espInUDP(p); ok {
			return s + " " + protocol(protoESP, esp, depth+1)
		}
		return fmt.Sprintf("%s, %d bytes", s, len(p)-8)
	case protoTCP:
		if len(p) < 20 {
			return short
		}
		flags := ""
		for i, f := range []byte("FSRPAUEC") {
			if p[13]>>i&1 != 0 {
				flags += string(f)
			}
		}
		return fmt.Sprintf("tcp %d > %d [%s], %d bytes", binary.BigEndian.Uint16(p), binary.BigEndian.Uint16(p[2:]),
			flags,
			max(0, len(p)-int(p[12]>>4)*4))
	case protoICMP, protoICMPv6:
		if len(p) < 8 {
			return short
		}
		var kind string
		switch [2]uint8{proto, p[0]} {
		case [2]uint8{protoICMP, 8}, [2]uint8{protoICMPv6, 128}:
			kind = "echo request"
		case [2]uint8{protoICMP, 0}, [2]uint8{protoICMPv6, 129}:
			kind = "echo reply"
		default:
			return fmt.Sprintf("%s type %d code %d, %d bytes", name, p[0], p[1], len(p)-8)
		}
		return fmt.Sprintf("%s %s id %d seq %d, %d bytes", name, kind, binary.BigEndian.Uint16(p[4:]),
			binary.BigEndian.Uint16(p[6:]), len(p)-8)
	case protoESP:
		if len(p) < 8 {
			return short
		}
		return fmt.Sprintf("esp spi %#x seq %d, %d bytes", binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[4:]),
			len(p)-8)
	case protoAH:
		if len(p) < 12 {
			return short
		}
		s := fmt.Sprintf("ah spi %#x seq %d", binary.BigEndian.Uint32(p[4:]), binary.BigEndian.Uint32(p[8:]))
		n := (int(p[1]) + 2) * 4
		if n < 12 || n > len(p) {
			return fmt.Sprintf("%s, length %d of %d bytes", s, n, len(p))
		}
		return s + " " + protocol(p[0], p[n:], depth+1)
	case protoIPv4, protoIPv6:
		d, ok := parse(p)
		if !ok {
			return short
		}
		if d.offset != 0 {
			return fmt.Sprintf("%s %s > %s fragment at %d", name, d.src, d.dst, d.offset)
		}
		return fmt.Sprintf("%s %s > %s %s", name, d.src, d.dst, protocol(d.proto, d.payload, depth+1))
	}
	return short
}
