package xfrm

import (
	"bytes"
	"compress/flate"
	"io"

	"github.com/pfkeyd/pfkeyd/internal/ip"
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
	var buf bytes.Buffer
	buf.Write([]byte{next, 0, byte(cpi >> 8), byte(cpi)})
	w, err := flate.NewWriter(&buf, flate.DefaultCompression)
	if err != nil {
		return nil, false
	}
	if _, err = w.Write(payload); err == nil {
		err = w.Close()
	}
	if err != nil || buf.Len()+compHeaderLen >= len(payload) {
		return nil, false
	}
	return buf.Bytes(), true
}

// decompress reads what follows an IPCOMP header. Nothing may become longer than an IP packet can be.
func decompress(b []byte) (payload []byte, next uint8, ok bool) {
	r := flate.NewReader(bytes.NewReader(b[compHeaderLen:]))
	payload, err := io.ReadAll(io.LimitReader(r, compLargest+1))
	if err != nil || len(payload) > compLargest {
		return nil, 0, false
	}
	return payload, b[0], true
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
