package openbsd

import (
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Lengths in bytes.
const (
	compHeader    = 4
	compThreshold = 90 // what is shorter is not compressed
)

// compress puts a packet into IPComp (ipcomp_output), h being its headers up to what is compressed. What is short stays
// as it is, and what gets no shorter.
func (k *Kernel) compress(s *passing, sa *SA, h *ip.Header) (transformed bool, o outcome) {
	const proto = ip.ProtoComp
	payload := s.pkt[h.Off:]
	if len(payload) < compThreshold {
		k.tally.count(s.p, countIncompressed.of(proto), 1)
		return false, outcome{}
	}
	k.tally.count(s.p, countOutput.of(proto), 1)
	if len(s.pkt)+compHeader > ip.MaxLen {
		return false, k.drop(s, packet.BadLength, countTooBig.of(proto), wire.EMSGSIZE)
	}
	k.tally.count(s.p, countOutBytes.of(proto), len(payload))
	if !k.spend(s, sa, len(payload)) {
		return false, drop(packet.BytesExpired, wire.EINVAL)
	}
	b := ipsec.Deflate(payload)
	if len(payload) <= len(b)+compHeader {
		k.tally.count(s.p, countIncompressed.of(proto), 1)
		return true, outcome{}
	}
	pkt := append(make([]byte, 0, h.Off+compHeader+len(b)), s.pkt[:h.Off]...)
	pkt = append(append(pkt, h.Proto, 0, byte(sa.SPI>>8), byte(sa.SPI)), b...)
	pkt[h.NextOff] = proto
	ip.SetLength(pkt)
	s.read(pkt)
	return true, outcome{}
}

// expand takes a packet out of IPComp (ipcomp_input).
func (k *Kernel) expand(s *passing, sa *SA) outcome {
	next := s.pkt[s.Off]
	compressed := s.pkt[s.Off+compHeader:]
	payload, ok := ipsec.Inflate(compressed, ip.MaxLen-s.Off)
	if !ok {
		return k.drop(s, packet.BadCompression, countNoCrypto, wire.OK)
	}
	if o := k.received(s, sa, len(compressed)); o.reason != packet.NoReason {
		return o
	}
	s.replace(s.pkt[:s.Off], next, payload)
	return outcome{}
}
