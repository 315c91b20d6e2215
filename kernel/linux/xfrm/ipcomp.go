package xfrm

import (
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
)

const (
	compHeaderLen = 4
	compThreshold = 90 // bytes: what is shorter is not worth it
	compLargest   = 65535
)

// compress makes an IPCOMP header and the compressed payload (RFC 3173, RFC 2394); false if that would not be shorter.
func compress(payload []byte, next uint8, cpi uint16) ([]byte, bool) {
	if len(payload) < compThreshold {
		return nil, false
	}
	b := append([]byte{next, 0, byte(cpi >> 8), byte(cpi)}, ipsec.Deflate(payload)...)
	return b, len(b)+compHeaderLen < len(payload)
}

// decompress reads what follows an IPCOMP header. Nothing may become longer than an IP packet can be.
func decompress(b []byte) (payload []byte, next uint8, ok bool) {
	payload, ok = ipsec.Inflate(b[compHeaderLen:], compLargest)
	return payload, b[0], ok
}

// sealComp puts a packet into IPCOMP. What does not become shorter stays as it is.
func (s *sa) sealComp(pkt []byte) []byte {
	var d datagram
	d.outgoing(pkt)
	b, ok := compress(pkt[d.Off:], d.Proto, uint16(s.SPI))
	if !ok {
		return pkt
	}
	res := append(append(make([]byte, 0, d.Off+len(b)), pkt[:d.Off]...), b...)
	res[d.NextOff] = ip.ProtoComp
	ip.SetLength(res)
	return res
}
