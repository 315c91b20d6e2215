// Package packetline has an IP packet on one line, for people.
package packetline

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
)

// parse goes over the IP headers, and trusts no length in them. carried is what is behind them, cut to the length that
// the header claims; shorter if bytes are missing.
func parse(b []byte) (h ip.Header, carried []byte, ok bool) {
	switch problem := h.Parse(b); {
	case problem == ip.Short, problem == ip.Version, problem == ip.HeaderLen, h.Off > len(b):
		return h, nil, false
	}
	b = b[:min(len(b), max(h.Off, h.End))]
	h.WalkAll(b)
	return h, b[h.Off:], true
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

// Of describes an IP packet in one line for people, such as "192.0.2.2 > 192.0.2.1 udp 500 > 500, 20 bytes". It never
// fails, and shows nothing of what a protocol carries.
func Of(packet []byte) string {
	if len(packet) == 0 {
		return ""
	}
	h, carried, ok := parse(packet)
	if !ok {
		return fmt.Sprintf("not an IP packet, %d bytes", len(packet))
	}
	s := h.Src.String() + " > " + h.Dst.String() + " "
	if h.FragOff != 0 {
		s += fmt.Sprintf("%s fragment at %d, %d bytes", protoName(h.Proto), h.FragOff, len(carried))
	} else {
		s += protocol(h.Proto, carried, 0)
	}
	if h.More {
		s += ", more fragments"
	}
	return s
}

func protoName(p uint8) string {
	switch p {
	case ip.ProtoICMP:
		return "icmp"
	case ip.ProtoIPv4:
		return "ipv4"
	case ip.ProtoTCP:
		return "tcp"
	case ip.ProtoUDP:
		return "udp"
	case ip.ProtoIPv6:
		return "ipv6"
	case ip.ProtoESP:
		return "esp"
	case ip.ProtoAH:
		return "ah"
	case ip.ProtoICMPv6:
		return "icmp6"
	case ip.ProtoNone:
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
	case ip.ProtoUDP:
		if len(p) < 8 {
			return short
		}
		s := fmt.Sprintf("udp %d > %d", binary.BigEndian.Uint16(p), binary.BigEndian.Uint16(p[2:]))
		if esp, ok := espInUDP(p); ok {
			return s + " " + protocol(ip.ProtoESP, esp, depth+1)
		}
		return fmt.Sprintf("%s, %d bytes", s, len(p)-8)
	case ip.ProtoTCP:
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
	case ip.ProtoICMP, ip.ProtoICMPv6:
		if len(p) < 8 {
			return short
		}
		var kind string
		switch [2]uint8{proto, p[0]} {
		case [2]uint8{ip.ProtoICMP, 8}, [2]uint8{ip.ProtoICMPv6, 128}:
			kind = "echo request"
		case [2]uint8{ip.ProtoICMP, 0}, [2]uint8{ip.ProtoICMPv6, 129}:
			kind = "echo reply"
		default:
			return fmt.Sprintf("%s type %d code %d, %d bytes", name, p[0], p[1], len(p)-8)
		}
		return fmt.Sprintf("%s %s id %d seq %d, %d bytes", name, kind, binary.BigEndian.Uint16(p[4:]),
			binary.BigEndian.Uint16(p[6:]), len(p)-8)
	case ip.ProtoESP:
		if len(p) < 8 {
			return short
		}
		return fmt.Sprintf("esp spi %#x seq %d, %d bytes", binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[4:]),
			len(p)-8)
	case ip.ProtoAH:
		if len(p) < 12 {
			return short
		}
		s := fmt.Sprintf("ah spi %#x seq %d", binary.BigEndian.Uint32(p[4:]), binary.BigEndian.Uint32(p[8:]))
		n := (int(p[1]) + 2) * 4
		if n < 12 || n > len(p) {
			return fmt.Sprintf("%s, length %d of %d bytes", s, n, len(p))
		}
		return s + " " + protocol(p[0], p[n:], depth+1)
	case ip.ProtoIPv4, ip.ProtoIPv6:
		h, carried, ok := parse(p)
		if !ok {
			return short
		}
		if h.FragOff != 0 {
			return fmt.Sprintf("%s %s > %s fragment at %d", name, h.Src, h.Dst, h.FragOff)
		}
		return fmt.Sprintf("%s %s > %s %s", name, h.Src, h.Dst, protocol(h.Proto, carried, depth+1))
	}
	return short
}
