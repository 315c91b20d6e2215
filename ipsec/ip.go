package ipsec

import (
	"encoding/binary"
	"net/netip"
)

// Numbers of RFC 791, RFC 8200 and the protocol registry.
const (
	protoHopByHop = 0
	protoIPv4     = 4
	protoUDP      = 17
	protoIPv6     = 41
	protoRouting  = 43
	protoFragment = 44
	protoDestOpts = 60

	ip4Min = 20
	ip6Len = 40
	udpLen = 8

	maxDatagram = 65535
)

// NATTPort is the UDP port of encapsulated ESP (RFC 3948).
const NATTPort = 4500

// ip is what the IP header of a datagram says, checked against the bytes that are there.
type ip struct {
	v6      bool
	off     int   // of the upper layer, behind options or extension headers
	nextOff int   // of the byte that names the upper layer
	next    uint8 // that byte
	end     int   // of the datagram
}

// parseIP checks the header and walks extension headers up to the first that passes no longer. Fragments are an error,
// with everything but end and off filled in.
func parseIP(pkt []byte, pass func(h ip, length int) bool) (ip, error) {
	if len(pkt) == 0 {
		return ip{}, ErrShort
	}
	switch pkt[0] >> 4 {
	case 4:
		return parseIP4(pkt)
	case 6:
		return parseIP6(pkt, pass)
	}
	return ip{}, ErrVersion
}

func parseIP4(pkt []byte) (ip, error) {
	if len(pkt) < ip4Min {
		return ip{}, ErrShort
	}
	hlen, total := int(pkt[0]&0xf)*4, int(binary.BigEndian.Uint16(pkt[2:]))
	h := ip{off: hlen, nextOff: 9, next: pkt[9], end: total}
	if hlen < ip4Min {
		return ip{}, ErrHeaderLen
	}
	if total < hlen || total > len(pkt) {
		return ip{}, ErrTotalLen
	}
	if binary.BigEndian.Uint16(pkt[6:])&0x3fff != 0 { // more fragments, or an offset
		return h, ErrFragment
	}
	return h, nil
}

func parseIP6(pkt []byte, pass func(h ip, length int) bool) (ip, error) {
	if len(pkt) < ip6Len {
		return ip{}, ErrShort
	}
	h := ip{v6: true, off: ip6Len, nextOff: 6, next: pkt[6], end: ip6Len + int(binary.BigEndian.Uint16(pkt[4:]))}
	if h.end > len(pkt) {
		return ip{}, ErrTotalLen
	}
	for {
		switch h.next {
		case protoFragment:
			return h, ErrFragment
		case protoHopByHop:
			if h.off != ip6Len {
				return h, ErrExtension
			}
		case protoRouting, protoDestOpts:
		default:
			return h, nil
		}
		if h.end-h.off < 8 {
			return h, ErrExtension
		}
		n := (int(pkt[h.off+1]) + 1) * 8
		if n > h.end-h.off {
			return h, ErrExtension
		}
		if pass != nil && !pass(h, n) {
			return h, nil
		}
		h.nextOff, h.next = h.off, pkt[h.off]
		h.off += n
	}
}

// Inbound is where a protected packet has its parts; offsets are bytes from the start of the IP header.
type Inbound struct {
	Src, Dst netip.Addr
	Proto    Proto // of a packet that is neither ESP nor AH: the number found
	SPI, Seq uint32

	Off     int // of the ESP or AH header
	End     int // of the datagram, what follows is padding of the link; of the UDP datagram, if there is one
	NextOff int // of the byte that names the first header of ours: protocol, or next header
	UDPOff  int // of the UDP header; 0: not encapsulated

	SrcPort, DstPort uint16 // of the UDP encapsulation
}

// HeaderEnd is where the headers end that transport mode keeps: before UDP, ESP or AH.
func (in *Inbound) HeaderEnd() int {
	if in.UDPOff != 0 {
		return in.UDPOff
	}
	return in.Off
}

// ESP returns the part that [Transform.OpenESP] takes, a view of pkt, which must be the packet that was parsed.
func (in *Inbound) ESP(pkt []byte) []byte { return pkt[in.Off:in.End:in.End] }

// ParseInbound finds the ESP or AH header of an IP datagram, whatever pkt is. ESP in UDP is recognised by port 4500 on
// either side (RFC 3948). Errors: ErrShort, ErrVersion, ErrHeaderLen, ErrTotalLen, ErrFragment (any fragment header),
// ErrExtension, ErrProtocol, ErrKeepalive, ErrNonESP. What was found up to an error is filled in. It allocates nothing
// and keeps nothing. UDP and IP checksums are not looked at.
func ParseInbound(pkt []byte) (Inbound, error) {
	var in Inbound
	err := in.Parse(pkt)
	return in, err
}

// Parse is [ParseInbound] into in, whatever was there.
func (in *Inbound) Parse(pkt []byte) error {
	*in = Inbound{}
	h, err := parseIP(pkt, nil)
	if h.next == 0 && h.nextOff == 0 {
		return err
	}
	in.Proto, in.Off, in.End, in.NextOff = Proto(h.next), h.off, h.end, h.nextOff
	in.Src, in.Dst = addrs(pkt, h.v6)
	if err != nil {
		return err
	}
	need := espHeaderLen
	switch h.next {
	case uint8(ESP):
	case uint8(AH):
		need = ahHeaderLen
	case protoUDP:
		if err := in.parseUDP(pkt); err != nil {
			return err
		}
	default:
		return ErrProtocol
	}
	if in.End-in.Off < need {
		return ErrShort
	}
	b := pkt[in.Off:]
	if in.Proto == AH {
		b = b[4:]
	}
	in.SPI, in.Seq = binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	return nil
}

func (in *Inbound) parseUDP(pkt []byte) error {
	b := pkt[in.Off:in.End]
	if len(b) < udpLen {
		return ErrShort
	}
	in.SrcPort, in.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	if in.SrcPort != NATTPort && in.DstPort != NATTPort {
		return ErrProtocol
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	if n < udpLen || n > len(b) {
		return ErrTotalLen
	}
	in.UDPOff = in.Off
	in.Off += udpLen
	in.End = in.UDPOff + n
	b = pkt[in.Off:in.End]
	switch {
	case len(b) == 1 && b[0] == 0xff:
		return ErrKeepalive
	case len(b) < 4:
		return ErrShort
	case binary.BigEndian.Uint32(b) == 0:
		return ErrNonESP
	}
	in.Proto = ESP
	return nil
}

func addrs(pkt []byte, v6 bool) (src, dst netip.Addr) {
	if v6 {
		return netip.AddrFrom16([16]byte(pkt[8:24])), netip.AddrFrom16([16]byte(pkt[24:40]))
	}
	return netip.AddrFrom4([4]byte(pkt[12:16])), netip.AddrFrom4([4]byte(pkt[16:20]))
}

// TOS returns the type of service or traffic class of an IP packet, 0 if it is none.
func TOS(pkt []byte) uint8 {
	switch {
	case len(pkt) >= ip4Min && pkt[0]>>4 == 4:
		return pkt[1]
	case len(pkt) >= ip6Len && pkt[0]>>4 == 6:
		return pkt[0]<<4 | pkt[1]>>4
	}
	return 0
}

// SetTOS changes the type of service or traffic class, and the header checksum of IPv4. What is no IP packet stays as
// it is.
func SetTOS(pkt []byte, tos uint8) {
	switch {
	case len(pkt) >= ip4Min && pkt[0]>>4 == 4:
		pkt[1] = tos
		if n := int(pkt[0]&0xf) * 4; n >= ip4Min && n <= len(pkt) {
			setChecksum4(pkt[:n])
		}
	case len(pkt) >= ip6Len && pkt[0]>>4 == 6:
		pkt[0] = 0x60 | tos>>4
		pkt[1] = pkt[1]&0xf | tos<<4
	}
}

// tooLong tells whether a datagram of n bytes is longer than its header can say.
func tooLong(n int, v6 bool) bool { return n > maxDatagram && !v6 || n > maxDatagram+ip6Len }

// setLength writes the length of pkt, an IP datagram, into its header, and the checksum of an IPv4 header of hlen
// bytes.
func setLength(pkt []byte, v6 bool, hlen int) {
	if v6 {
		binary.BigEndian.PutUint16(pkt[4:], uint16(len(pkt)-ip6Len))
		return
	}
	binary.BigEndian.PutUint16(pkt[2:], uint16(len(pkt)))
	setChecksum4(pkt[:hlen])
}

func setChecksum4(hdr []byte) {
	hdr[10], hdr[11] = 0, 0
	binary.BigEndian.PutUint16(hdr[10:], ^Checksum(0, hdr))
}

// setUDPChecksum6 computes the checksum of the UDP datagram udp, which IPv6 demands (RFC 8200 section 8.1).
func setUDPChecksum6(hdr, udp []byte) {
	udp[6], udp[7] = 0, 0
	sum := Checksum(uint32(len(udp))+protoUDP, hdr[8:40]) // pseudo header: addresses, length, protocol
	c := ^Checksum(uint32(sum), udp)
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], c)
}
