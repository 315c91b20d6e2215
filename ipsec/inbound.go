package ipsec

import (
	"encoding/binary"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/ip"
)

// NATTPort is the UDP port of encapsulated ESP (RFC 3948).
const NATTPort = 4500

// problems are the errors for what is wrong with an IP header.
var problems = [...]error{
	ip.Short:     ErrShort,
	ip.Version:   ErrVersion,
	ip.HeaderLen: ErrHeaderLen,
	ip.TotalLen:  ErrTotalLen,
}

// walk goes over the extension headers of pkt, the whole datagram, up to the place of a transform. In transport mode
// that is before destination options which follow a routing header. Hop-by-hop options are only the first. A fragment
// is an error, where that is found.
func walk(h *ip.Header, pkt []byte, transport bool) error {
	for first, routed := true, false; h.AtExtension(); first = false {
		switch {
		case h.Proto == ip.ProtoHopByHop && !first:
			return ErrExtension
		case h.Proto == ip.ProtoDestOptions && transport && routed:
			return nil
		case h.Proto == ip.ProtoRouting:
			routed = true
		}
		if h.Step(pkt) == nil {
			return ErrExtension
		}
	}
	if h.Fragment() {
		return ErrFragment
	}
	return nil
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
	var h ip.Header
	if err := problems[h.Parse(pkt)]; err != nil {
		return err
	}
	err := walk(&h, pkt[:h.End], false)
	in.Src, in.Dst, in.Proto, in.Off, in.End, in.NextOff = h.Src, h.Dst, Proto(h.Proto), h.Off, h.End, h.NextOff
	if err != nil {
		return err
	}
	return in.Find(pkt)
}

// Find is the half of [Inbound.Parse] that finds ESP or AH in a datagram whose IP headers somebody has gone over, who
// has filled in Src, Dst, Proto, Off, End and NextOff, and nothing else.
func (in *Inbound) Find(pkt []byte) error {
	need := espHeaderLen
	switch in.Proto {
	case ESP:
	case AH:
		need = ahHeaderLen
	case ip.ProtoUDP:
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
	if len(b) < ip.LenUDP {
		return ErrShort
	}
	in.SrcPort, in.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	if in.SrcPort != NATTPort && in.DstPort != NATTPort {
		return ErrProtocol
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	if n < ip.LenUDP || n > len(b) {
		return ErrTotalLen
	}
	in.UDPOff = in.Off
	in.Off += ip.LenUDP
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
