package kame

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
// as it is, and what gets no shorter; it counts on the SA all the same.
func (k *Kernel) compress(s *passing, sa *SA, p *Protection, h *ip.Header) outcome {
	payload := s.pkt[h.Off:]
	if len(payload) < compThreshold {
		k.tally.count(s.p, CountShort.of(ip.ProtoComp), 1)
		k.record(sa, len(s.pkt))
		return outcome{}
	}
	k.tally.count(s.p, CountOutput.of(ip.ProtoComp), 1)
	if ip.TooLong(len(s.pkt)+compHeader, s.V6) {
		return k.drop(s, packet.BadLength, CountTooBig.of(ip.ProtoComp), wire.EMSGSIZE)
	}
	k.tally.count(s.p, CountOutBytes.of(ip.ProtoComp), len(payload))
	b := ipsec.Deflate(payload)
	if len(b)+compHeader >= len(payload) {
		k.tally.count(s.p, CountUseless.of(ip.ProtoComp), 1)
		k.record(sa, len(s.pkt))
		return outcome{}
	}
	s.chain.Shorten(h.Off + len(b))
	k.tally.count(s.p, CountInserted, s.chain.Insert(h.Off, compHeader))
	pkt := append(make([]byte, 0, h.Off+compHeader+len(b)), s.pkt[:h.Off]...)
	pkt = append(append(pkt, h.Proto, 0, byte(p.SPI>>8), byte(p.SPI)), b...)
	pkt[h.NextOff] = ip.ProtoComp
	ip.SetLength(pkt)
	k.record(sa, len(pkt))
	s.read(pkt)
	return outcome{}
}

// expand takes a packet out of IPComp (ipcomp_input).
func (k *Kernel) expand(s *passing) ([]byte, outcome) {
	next := s.pkt[s.Off]
	payload, ok := ipsec.Inflate(s.pkt[s.Off+compHeader:s.End], ip.MaxLen-s.Off)
	if !ok {
		return nil, k.drop(s, packet.BadCompression, CountCrypto.of(ip.ProtoComp), wire.OK)
	}
	k.tally.count(s.p, CountInBytes.of(ip.ProtoComp), len(payload))
	pkt := append(append(make([]byte, 0, s.Off+len(payload)), s.pkt[:s.Off]...), payload...)
	pkt[s.NextOff] = next
	ip.SetLength(pkt)
	return pkt, outcome{}
}
