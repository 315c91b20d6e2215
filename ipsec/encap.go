package ipsec

import (
	"encoding/binary"
	"net/netip"
)

// DFRule says how an outer IPv4 header gets its don't-fragment bit.
type DFRule uint8

// The rules.
const (
	DFClear DFRule = iota
	DFSet
	DFCopy // from an inner IPv4 packet; set for an inner IPv6 packet
)

// TOSRule says how an outer header gets its type of service or traffic class.
type TOSRule uint8

// The rules.
const (
	TOSFixed    TOSRule = iota // Outer.TOS
	TOSCopy                    // all eight bits of the inner one
	TOSCopyDSCP                // the inner one with ECN 0
	TOSCopyECN                 // the inner one, but "congestion experienced" becomes ECT(0) (RFC 3168 section 9.1.1)
)

// Outer is what tunnel mode needs for its outer header.
type Outer struct {
	Src, Dst  netip.Addr // of one family
	TTL       uint8      // time to live or hop limit; 0: 64
	TOS       uint8
	TOSRule   TOSRule
	DF        DFRule // IPv4
	ID        uint16 // IPv4 identification
	FlowLabel uint32 // IPv6, 20 bits
	CopyFlow  bool   // take the flow label of an inner IPv6 packet
}

// Ports are those of UDP encapsulation; the zero value means none.
type Ports struct{ Src, Dst uint16 }

// SealTunnel appends inner, an IP packet, in tunnel mode to dst and returns the longer slice: outer header, UDP header
// if there are ports (ESP only), ESP or AH. dst must not overlap inner. It allocates nothing if dst has room. Errors:
// ErrInner, ErrAddress, ErrTooLong, and those of [Transform.SealESP].
func (t *Transform) SealTunnel(dst, inner []byte, o *Outer, udp Ports, s Sealing) ([]byte, error) {
	if len(inner) == 0 {
		return dst, ErrInner
	}
	var next uint8
	switch v := inner[0] >> 4; {
	case v == 4 && len(inner) >= ip4Min:
		next = protoIPv4
	case v == 6 && len(inner) >= ip6Len:
		next = protoIPv6
	default:
		return dst, ErrInner
	}
	if !o.Src.IsValid() || o.Src.Is4() != o.Dst.Is4() || o.Src.Is6() != o.Dst.Is6() {
		return dst, ErrAddress
	}
	n := len(dst)
	h := ip{v6: o.Src.Is6(), off: ip4Min, nextOff: 9}
	if h.v6 {
		h.off, h.nextOff = ip6Len, 6
	}
	out := grow(dst, h.off)
	putOuter(out[n:], inner, o)
	out, err := t.seal(out, n, h, inner, next, udp, s)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// SealTransport appends pkt, an IP datagram, in transport mode to dst and returns the longer slice. ESP or AH go behind
// an IPv4 header's options; in IPv6 behind hop-by-hop options, routing headers and the destination options before
// those. dst must not overlap pkt; what stands behind the datagram in pkt is left out. It allocates nothing if dst has
// room. Errors: those of [ParseInbound] for a bad header, ErrFragment, ErrTooLong, and those of [Transform.SealESP].
func (t *Transform) SealTransport(dst, pkt []byte, udp Ports, s Sealing) ([]byte, error) {
	routed := false
	h, err := parseIP(pkt, func(h ip, _ int) bool {
		if h.next == protoRouting {
			routed = true
		}
		return h.next != protoDestOpts || !routed
	})
	if err != nil {
		return dst, err
	}
	n := len(dst)
	out := append(dst, pkt[:h.off]...)
	out, err = t.seal(out, n, h, pkt[h.off:h.end], h.next, udp, s)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// seal appends payload, protected, to the IP headers that stand at out[n:], and makes those right.
func (t *Transform) seal(out []byte, n int, h ip, payload []byte, next uint8, udp Ports, s Sealing) ([]byte, error) {
	first, ahLen := uint8(t.suite.Proto), 0
	var err error
	switch {
	case t.suite.Proto == AH:
		if udp != (Ports{}) {
			return out, ErrProtocol
		}
		if len(s.IV) != t.ivLen {
			return out, ErrIV
		}
		if ahLen, err = t.ahLen(h.v6, s.Align); err != nil {
			return out, err
		}
		at := len(out)
		out = grow(out, ahLen)
		putAH(out[at:], ahLen, next, s)
		out = append(out, payload...)
	case udp != (Ports{}):
		first = protoUDP
		out = grow(out, udpLen)
		out, err = t.SealESP(out, payload, next, s)
	default:
		out, err = t.SealESP(out, payload, next, s)
	}
	if err != nil {
		return out, err
	}
	pkt := out[n:]
	if tooLong(len(pkt), h.v6) {
		return out, ErrTooLong
	}
	pkt[h.nextOff] = first
	setLength(pkt, h.v6, h.off)
	if first == protoUDP {
		putUDP(pkt, h, udp)
	}
	if t.suite.Proto == AH {
		return out, t.SealAH(pkt, h.off, uint32(s.Seq>>32))
	}
	return out, nil
}

// ahLen is the length of the AH header.
func (t *Transform) ahLen(v6 bool, align int) (int, error) {
	if align == 0 {
		align = 4
		if v6 {
			align = 8
		}
	}
	if align < 4 || align > 64 || align%4 != 0 {
		return 0, ErrAlign
	}
	return AHLen(t.icv, align), nil
}

func putUDP(pkt []byte, h ip, p Ports) {
	b := pkt[h.off:]
	binary.BigEndian.PutUint16(b, p.Src)
	binary.BigEndian.PutUint16(b[2:], p.Dst)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	b[6], b[7] = 0, 0 // IPv4: none, RFC 3948 section 2.1
	if h.v6 {
		setUDPChecksum6(pkt, b)
	}
}

// putOuter writes the outer header without protocol, length and checksum.
func putOuter(b, inner []byte, o *Outer) {
	tos := o.TOS
	switch o.TOSRule {
	case TOSCopy:
		tos = TOS(inner)
	case TOSCopyDSCP:
		tos = TOS(inner) &^ 3
	case TOSCopyECN:
		if tos = TOS(inner); tos&3 == 3 {
			tos = tos&^3 | 2
		}
	}
	ttl := o.TTL
	if ttl == 0 {
		ttl = 64
	}
	inner6 := inner[0]>>4 == 6
	if o.Src.Is6() {
		flow := o.FlowLabel
		if o.CopyFlow && inner6 {
			flow = binary.BigEndian.Uint32(inner)
		}
		binary.BigEndian.PutUint32(b, 6<<28|uint32(tos)<<20|flow&0xfffff)
		b[7] = ttl
		src, dst := o.Src.As16(), o.Dst.As16()
		copy(b[8:], src[:])
		copy(b[24:], dst[:])
		return
	}
	b[0], b[1] = 0x45, tos
	binary.BigEndian.PutUint16(b[4:], o.ID)
	b[6], b[7] = 0, 0
	if o.DF == DFSet || o.DF == DFCopy && (inner6 || inner[6]&0x40 != 0) {
		b[6] = 0x40
	}
	b[8] = ttl
	src, dst := o.Src.As4(), o.Dst.As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
}
