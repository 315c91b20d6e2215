package ipsec

import (
	"encoding/binary"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/ip"
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
	next := uint8(ip.ProtoIPv4)
	switch v := inner[0] >> 4; {
	case v == 4 && len(inner) >= ip.Len4:
	case v == 6 && len(inner) >= ip.Len6:
		next = ip.ProtoIPv6
	default:
		return dst, ErrInner
	}
	if !o.Src.IsValid() || o.Src.Is4() != o.Dst.Is4() || o.Src.Is6() != o.Dst.Is6() {
		return dst, ErrAddress
	}
	n := len(dst)
	f := o.fields(inner)
	h := ip.Header{V6: o.Src.Is6(), Off: f.Len(), NextOff: 9}
	if h.V6 {
		h.NextOff = 6
	}
	out := grow(dst, h.Off)
	f.Put(out[n:])
	out, err := t.seal(out, n, &h, inner, next, udp, s)
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
	var h ip.Header
	err := problems[h.Measure(pkt)]
	if err == nil {
		err = walk(&h, pkt[:h.End], true)
	}
	if err != nil {
		return dst, err
	}
	n := len(dst)
	out := append(dst, pkt[:h.Off]...)
	out, err = t.seal(out, n, &h, pkt[h.Off:h.End], h.Proto, udp, s)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// seal appends payload, protected, to the IP headers that stand at out[n:], and makes those right.
func (t *Transform) seal(out []byte, n int, h *ip.Header, payload []byte, next uint8, udp Ports,
	s Sealing) ([]byte, error) {
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
		if ahLen, err = t.ahLen(h.V6, s.Align); err != nil {
			return out, err
		}
		at := len(out)
		out = grow(out, ahLen)
		t.putAH(out[at:], ahLen, next, s)
		out = append(out, payload...)
	case udp != (Ports{}):
		first = ip.ProtoUDP
		out = grow(out, ip.LenUDP)
		out, err = t.SealESP(out, payload, next, s)
	default:
		out, err = t.SealESP(out, payload, next, s)
	}
	if err != nil {
		return out, err
	}
	pkt := out[n:]
	if ip.TooLong(len(pkt), h.V6) {
		return out, ErrTooLong
	}
	pkt[h.NextOff] = first
	ip.SetLength(pkt)
	if first == ip.ProtoUDP {
		ip.PutUDP(pkt[h.Off:], udp.Src, udp.Dst, len(pkt)-h.Off) // IPv4: no checksum, RFC 3948 section 2.1
		if h.V6 {
			ip.SetUDPChecksum(pkt, h.Off) // RFC 8200 section 8.1
		}
	}
	if t.suite.Proto == AH {
		return out, t.SealAH(pkt, h.Off, uint32(s.Seq>>32))
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
	return AHLen(t.head-ahHeaderLen+t.icv, align), nil
}

// fields is the outer header of a packet.
func (o *Outer) fields(inner []byte) ip.Fields {
	f := ip.Fields{Src: o.Src, Dst: o.Dst, TTL: o.TTL, TOS: o.TOS, ID: o.ID, Flow: o.FlowLabel}
	if f.TTL == 0 {
		f.TTL = ip.TTL
	}
	switch o.TOSRule {
	case TOSCopy:
		f.TOS = ip.TOS(inner)
	case TOSCopyDSCP:
		f.TOS = ip.TOS(inner) &^ 3
	case TOSCopyECN:
		if f.TOS = ip.TOS(inner); f.TOS&3 == 3 {
			f.TOS = f.TOS&^3 | 2
		}
	}
	inner6 := inner[0]>>4 == 6
	f.DF = o.DF == DFSet || o.DF == DFCopy && (inner6 || inner[6]&0x40 != 0)
	if o.CopyFlow && inner6 {
		f.Flow = binary.BigEndian.Uint32(inner)
	}
	return f
}
