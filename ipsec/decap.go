package ipsec

import "github.com/pfkeyd/pfkeyd/internal/ip"

// DecapTransport appends to dst the IP packet that transport mode protected, and returns the longer slice: the headers
// of pkt before UDP, ESP or AH, with next as their protocol, and payload. Length and IPv4 header checksum are made
// right. in is what [ParseInbound] said of pkt. dst may be pkt[:0], and payload may lie in pkt: then the packet is
// rewritten in place. It allocates nothing if dst has room. Checksums of the payload are not touched (NAT, RFC 3948
// section 3.1.2). Errors: ErrShort, ErrTooLong.
func DecapTransport(dst, pkt []byte, in *Inbound, payload []byte, next uint8) ([]byte, error) {
	h, n, v6 := in.HeaderEnd(), len(dst), in.Src.Is6()
	if h < ip.Len4 || v6 && h < ip.Len6 || h > len(pkt) || uint(in.NextOff) >= uint(h) {
		return dst, ErrShort
	}
	if ip.TooLong(h+len(payload), v6) {
		return dst, ErrTooLong
	}
	out := grow(dst, h+len(payload))
	copy(out[n+h:], payload) // first: with dst in pkt it moves towards the front, and the headers stay where they are
	copy(out[n:], pkt[:h])
	p := out[n:]
	p[in.NextOff] = next
	ip.SetLength(p)
	return out, nil
}

// DecapTunnel returns the inner packet of tunnel mode: what stands before the padding in ESP, or behind the AH header.
// next must be IPv4 (4) or IPv6 (41). The result is a view of b, cut to the inner packet's own length; its checksum is
// not looked at. Errors: ErrProtocol (next names something else), ErrInner.
func DecapTunnel(b []byte, next uint8) ([]byte, error) {
	if next != ip.ProtoIPv4 && next != ip.ProtoIPv6 {
		return nil, ErrProtocol
	}
	var h ip.Header
	if h.Parse(b) != ip.Fine || h.V6 != (next == ip.ProtoIPv6) {
		return nil, ErrInner
	}
	return b[:h.End:h.End], nil
}
