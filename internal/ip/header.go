package ip

import (
	"encoding/binary"
	"net/netip"
)

// Header is what the headers of a datagram say, as far as somebody has gone over them. Offsets are bytes from its
// start.
type Header struct {
	Src, Dst netip.Addr

	Off     int   // of what Proto names: behind the options of IPv4, or the extension headers gone over so far
	NextOff int   // of the byte that is Proto
	End     int   // of the datagram, as its own length has it; what follows is padding of the link
	FragOff int   // where this fragment belongs in the datagram, 0: at its start
	Proto   uint8 // what stands at Off; of a fragment that is not the first, what the whole datagram carries
	V6      bool
	More    bool // fragments follow
	// LateHopByHop tells that one of the extension headers gone over was hop-by-hop options, and not the first, where
	// RFC 8200 section 4.1 wants it.
	LateHopByHop bool
}

// Problem is what is wrong with the first header.
type Problem uint8

// The problems.
const (
	Fine      Problem = iota
	Short             // less is there than the shortest header
	Version           // neither IPv4 nor IPv6
	HeaderLen         // of IPv4: the header says that it is shorter than the shortest
	TotalLen          // the datagram says that it is shorter than its header, or longer than what is there
)

// Parse reads the first header, whatever pkt is. After Short and Version all of h is zero, otherwise all is as the
// header has it, even what the problem is about.
func (h *Header) Parse(pkt []byte) Problem {
	problem := h.Measure(pkt)
	switch {
	case problem == Short || problem == Version:
	case h.V6:
		h.Src, h.Dst = netip.AddrFrom16([16]byte(pkt[8:24])), netip.AddrFrom16([16]byte(pkt[24:40]))
	default:
		h.Src, h.Dst = netip.AddrFrom4([4]byte(pkt[12:16])), netip.AddrFrom4([4]byte(pkt[16:20]))
	}
	return problem
}

// Measure is [Header.Parse] without the addresses, for those who only want to know where things are.
func (h *Header) Measure(pkt []byte) Problem {
	*h = Header{}
	if len(pkt) == 0 {
		return Short
	}
	switch pkt[0] >> 4 {
	case 4:
		return h.parse4(pkt)
	case 6:
		return h.parse6(pkt)
	}
	return Version
}

func (h *Header) parse4(pkt []byte) Problem {
	if len(pkt) < Len4 {
		return Short
	}
	const more, offset = 0x2000, 0x1fff // the latter in units of 8 bytes
	frag := binary.BigEndian.Uint16(pkt[6:])
	h.Off, h.NextOff, h.End = int(pkt[0]&15)*4, 9, int(binary.BigEndian.Uint16(pkt[2:]))
	h.Proto, h.FragOff, h.More = pkt[9], int(frag&offset)*8, frag&more != 0
	switch {
	case h.Off < Len4:
		return HeaderLen
	case h.End < h.Off || h.End > len(pkt):
		return TotalLen
	}
	return Fine
}

func (h *Header) parse6(pkt []byte) Problem {
	if len(pkt) < Len6 {
		return Short
	}
	h.Off, h.NextOff, h.End = Len6, 6, Len6+int(binary.BigEndian.Uint16(pkt[4:]))
	h.Proto, h.V6 = pkt[6], true
	if h.End > len(pkt) {
		return TotalLen
	}
	return Fine
}

// Fragment tells whether the datagram is a part of another, or has at Off a header that says so.
func (h *Header) Fragment() bool { return h.More || h.FragOff != 0 || h.V6 && h.Proto == ProtoFragment }

// AtExtension tells whether what stands at Off is a header that [Header.Step] goes over: IPv6 options or a routing
// header.
func (h *Header) AtExtension() bool {
	return h.V6 && (h.Proto == ProtoHopByHop || h.Proto == ProtoRouting || h.Proto == ProtoDestOptions)
}

// Step goes over the extension header at Off, and returns it: a view of pkt, 8 bytes or more. If pkt ends before it
// does, Step returns nil, and h stays.
func (h *Header) Step(pkt []byte) []byte {
	if len(pkt)-h.Off < leastExtension {
		return nil
	}
	ext := pkt[h.Off:]
	n := leastExtension + int(ext[1])*8
	if n > len(ext) {
		return nil
	}
	h.LateHopByHop = h.LateHopByHop || h.Proto == ProtoHopByHop && h.Off != Len6
	h.NextOff, h.Proto = h.Off, ext[0]
	h.Off += n
	return ext[:n:n]
}

// Walk goes over all extension headers up to the upper layer, or a fragment header. It returns false, and stays there,
// if pkt ends before one of them does.
func (h *Header) Walk(pkt []byte) bool {
	for h.AtExtension() {
		if h.Step(pkt) == nil {
			return false
		}
	}
	return true
}

// WalkAll is [Header.Walk] that goes over fragment headers, too, up to that of a fragment which is not the first:
// behind it stands no header.
func (h *Header) WalkAll(pkt []byte) bool {
	for h.Walk(pkt) {
		if !h.V6 || h.Proto != ProtoFragment {
			return true
		}
		b := pkt[h.Off:]
		if len(b) < leastExtension {
			return false
		}
		at := binary.BigEndian.Uint16(b[2:])
		h.FragOff, h.More = int(at&^7), at&1 != 0
		h.NextOff, h.Proto = h.Off, b[0]
		h.Off += leastExtension
		if h.FragOff != 0 {
			return true
		}
	}
	return false
}

// WalkTransport goes over the extension headers that stay in front of a transform in transport mode: all but
// destination options behind a routing header, which are for the last destination alone. Otherwise it is as
// [Header.Walk].
func (h *Header) WalkTransport(pkt []byte) bool {
	for routed := false; h.AtExtension() && !(routed && h.Proto == ProtoDestOptions); {
		routed = routed || h.Proto == ProtoRouting
		if h.Step(pkt) == nil {
			return false
		}
	}
	return true
}

// FirstLen is the length of the first header of a datagram, with the options of IPv4, as it says it: 0 to 60 bytes,
// which need not be there.
func FirstLen(pkt []byte) int {
	switch {
	case len(pkt) == 0:
		return 0
	case pkt[0]>>4 == 6:
		return Len6
	}
	return int(pkt[0]&15) * 4
}

// TOS returns the type of service or traffic class of a datagram, 0 if it is none.
func TOS(pkt []byte) uint8 {
	switch {
	case len(pkt) >= Len4 && pkt[0]>>4 == 4:
		return pkt[1]
	case len(pkt) >= Len6 && pkt[0]>>4 == 6:
		return pkt[0]<<4 | pkt[1]>>4
	}
	return 0
}

// SetTOS changes the type of service or traffic class, and the header checksum of IPv4. What is no datagram stays as it
// is.
func SetTOS(pkt []byte, tos uint8) {
	switch {
	case len(pkt) >= Len4 && pkt[0]>>4 == 4:
		pkt[1] = tos
		SetHeaderChecksum(pkt)
	case len(pkt) >= Len6 && pkt[0]>>4 == 6:
		pkt[0] = 0x60 | tos>>4
		pkt[1] = pkt[1]&0xf | tos<<4
	}
}
