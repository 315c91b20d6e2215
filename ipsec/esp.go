package ipsec

import (
	"crypto/subtle"
	"encoding/binary"
)

// espHeaderLen is SPI and sequence number.
const espHeaderLen = 8

// Sealing is what the protection of one packet needs beside the suite.
type Sealing struct {
	SPI uint32
	Seq uint64 // the high half counts only with extended sequence numbers
	Pad []byte // ESP: what padding is made of, as much as is needed of it; nil: 1, 2, 3, ... as RFC 4303 wants it
	IV  []byte // Transform.IVLen bytes, see [Transform.AppendIV]; none for most of AH
	// ESP: payload, padding and trailer become a multiple of it; AH: the header does. In bytes, 0: as RFC 4303 and RFC
	// 4302 want it
	Align int
}

// OpenESP checks and decrypts an ESP packet, esp running from the SPI to the end of the ICV. It appends payload,
// padding, pad length and next header to dst and returns the longer slice. It allocates nothing if dst has room
// (AES-CTR: one small object), and does not change esp unless dst lies in it: esp[:8+t.IVLen()] as dst decrypts in
// place, any other overlap is a mistake of the caller. seqHi is the high half of an extended sequence number, of no
// effect without.
//
// ErrShort: no room for header, IV, ICV and a trailer; ErrICV; ErrLength: no multiple of the cipher block (looked at
// last). After an error the bytes of dst behind its length are undefined.
func (t *Transform) OpenESP(dst, esp []byte, seqHi uint32) ([]byte, error) {
	if err := t.ready(); err != nil {
		return dst, err
	}
	if t.suite.Proto != ESP {
		return dst, ErrProtocol
	}
	head, end := t.head+t.ivLen, len(esp)-t.icv
	if end-head < 2 {
		return dst, ErrShort
	}
	iv := esp[t.head:head]
	if t.aead != nil {
		s := scratches.Get().(*scratch)
		defer scratches.Put(s)
		return t.aead.open(s, dst, t.aad(s, esp, seqHi), iv, esp[head:])
	}
	if t.icv > 0 {
		m := t.startMAC()
		m.h.Write(esp[:end])
		ok := subtle.ConstantTimeCompare(t.finish(m, seqHi), esp[end:]) == 1
		t.macs.Put(m)
		if !ok {
			return dst, ErrICV
		}
	}
	if (end-head)%t.block != 0 {
		return dst, ErrLength
	}
	n := len(dst)
	dst = grow(dst, end-head)
	t.mode.decrypt(dst[n:], esp[head:end], iv)
	return dst, nil
}

// aad is the ESP header, with the high half of the sequence number between SPI and low half (RFC 4106 section 5).
func (t *Transform) aad(s *scratch, esp []byte, seqHi uint32) []byte {
	if !t.suite.ESN {
		return esp[:espHeaderLen]
	}
	copy(s.aad[:4], esp)
	binary.BigEndian.PutUint32(s.aad[4:], seqHi)
	copy(s.aad[8:], esp[4:8])
	return s.aad[:]
}

// SealESP appends a whole ESP packet with payload, padded with 1, 2, 3, ..., and the next header to dst and returns the
// longer slice. It allocates nothing if dst has room (AES-CTR: one small object). payload may overlap dst's room in any
// way; s.IV and s.Pad may not. Errors: ErrIV, ErrAlign (not a multiple of the cipher block, or above 256), ErrTooLong.
func (t *Transform) SealESP(dst, payload []byte, next uint8, s Sealing) ([]byte, error) {
	if err := t.ready(); err != nil {
		return dst, err
	}
	if t.suite.Proto != ESP {
		return dst, ErrProtocol
	}
	if len(s.IV) != t.ivLen {
		return dst, ErrIV
	}
	align := s.Align
	if align == 0 {
		align = max(t.block, 4)
	}
	if align < 1 || align > 256 || align%t.block != 0 {
		return dst, ErrAlign
	}
	pad := (align - (len(payload)+2)%align) % align
	head := t.head + t.ivLen
	body := len(payload) + pad + 2
	if head+body+t.icv > 65535 {
		return dst, ErrTooLong
	}
	n := len(dst)
	dst = grow(dst, head+body+t.icv)[:n+head+body]
	esp := dst[n:]
	copy(esp[head:], payload) // before anything else is written, in case it overlaps
	binary.BigEndian.PutUint32(esp, s.SPI)
	if !t.suite.Old {
		binary.BigEndian.PutUint32(esp[4:], uint32(s.Seq))
	}
	copy(esp[t.head:], s.IV)
	trailer := esp[head+len(payload):]
	for i := range pad {
		trailer[i] = byte(i + 1)
	}
	copy(trailer[:pad], s.Pad)
	trailer[pad], trailer[pad+1] = byte(pad), next

	seqHi := uint32(s.Seq >> 32)
	if t.aead != nil {
		sc := scratches.Get().(*scratch)
		defer scratches.Put(sc)
		return t.aead.seal(sc, dst, n+head, t.aad(sc, esp, seqHi), s.IV), nil
	}
	t.mode.encrypt(esp[head:], esp[head:], s.IV)
	if t.icv > 0 {
		m := t.startMAC()
		m.h.Write(esp)
		dst = append(dst, t.finish(m, seqHi)...)
		t.macs.Put(m)
	}
	return dst, nil
}

// Trailer reads pad length and next header at the end of what [Transform.OpenESP] returned. ok is false if the padding
// would be longer than what is there; below 2 bytes the numbers are 0 too.
func Trailer(plain []byte) (padLen int, next uint8, ok bool) {
	if len(plain) < 2 {
		return 0, 0, false
	}
	padLen, next = int(plain[len(plain)-2]), plain[len(plain)-1]
	return padLen, next, padLen <= len(plain)-2
}

// Payload is what stands before the padding; nil if [Trailer] is not ok. It is a view of plain.
func Payload(plain []byte) []byte {
	padLen, _, ok := Trailer(plain)
	if !ok {
		return nil
	}
	n := len(plain) - 2 - padLen
	return plain[:n:n]
}

// CheckPadding tells whether the padding is 1, 2, 3, ... as RFC 4303 section 2.4 has it. Plain must have an ok
// [Trailer].
func CheckPadding(plain []byte) bool {
	padLen, _, ok := Trailer(plain)
	if !ok {
		return false
	}
	pad := plain[len(plain)-2-padLen : len(plain)-2]
	for i, b := range pad {
		if b != byte(i+1) {
			return false
		}
	}
	return true
}

// CheckLastPad tells whether the last padding byte equals the pad length, or there is none; a cheaper test that some
// kernels do.
func CheckLastPad(plain []byte) bool {
	padLen, _, ok := Trailer(plain)
	return ok && (padLen == 0 || int(plain[len(plain)-3]) == padLen)
}
