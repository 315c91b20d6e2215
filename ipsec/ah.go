package ipsec

import (
	"crypto/subtle"
	"encoding/binary"

	"github.com/pfkeyd/pfkeyd/internal/ip"
)

// ahHeaderLen is the AH header up to the ICV.
const ahHeaderLen = 12

// AHLen is the length in bytes of an AH header whose ICV has icv bytes, rounded up to align: 4 for IPv4 and 8 for IPv6
// by RFC 4302 section 2.6, always 8 on Linux.
func AHLen(icv, align int) int { return (ahHeaderLen + icv + align - 1) / align * align }

// AHHeader is what an AH header says.
type AHHeader struct {
	Next uint8
	Len  int // bytes of the whole header, by its own length field; 8 to 1028, not compared with anything
}

// ParseAH reads the header at in.Off of the packet that [ParseInbound] took for AH.
func ParseAH(pkt []byte, in *Inbound) AHHeader {
	return AHHeader{Next: pkt[in.Off], Len: (int(pkt[in.Off+1]) + 2) * 4}
}

// VerifyAH checks the ICV of a whole IP datagram (nothing behind it) whose AH header lies at off. It changes nothing
// and allocates nothing. seqHi is the high half of an extended sequence number, of no effect without.
//
// Mutable fields count as zero, predictable ones as at the destination (RFC 4302 section 3.3.3.1); padding behind the
// ICV enters as it is. Errors: ErrAHLen (the length field leaves no room for the ICV or exceeds the packet), ErrOption,
// ErrExtension, ErrHeaderLen, ErrShort, ErrVersion, ErrICV.
func (t *Transform) VerifyAH(pkt []byte, off int, seqHi uint32) error {
	m, err := t.computeAH(pkt, off, seqHi)
	if err != nil {
		return err
	}
	defer t.macs.Put(m)
	if subtle.ConstantTimeCompare(m.sum[:t.icv], pkt[off+t.head:off+t.head+t.icv]) != 1 {
		return ErrICV
	}
	return nil
}

// SealAH writes the ICV into a complete datagram that has its AH header at off, with everything but the ICV filled in;
// an IV, if the MAC has one, stands in front of it already. Errors are those of [Transform.VerifyAH].
func (t *Transform) SealAH(pkt []byte, off int, seqHi uint32) error {
	m, err := t.computeAH(pkt, off, seqHi)
	if err != nil {
		return err
	}
	copy(pkt[off+t.head:], m.sum[:t.icv])
	t.macs.Put(m)
	return nil
}

var zeroICV [64]byte

func (t *Transform) computeAH(pkt []byte, off int, seqHi uint32) (*macState, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	if t.suite.Proto != AH {
		return nil, ErrProtocol
	}
	if off < ip.Len4 || off > len(pkt) || len(pkt)-off < t.head {
		return nil, ErrShort
	}
	if n := (int(pkt[off+1]) + 2) * 4; n < t.head+t.icv || n > len(pkt)-off {
		return nil, ErrAHLen
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	s.buf = append(s.buf[:0], pkt[:off]...)
	var err error
	switch pkt[0] >> 4 {
	case 4:
		err = mask4(s.buf)
	case 6:
		err = mask6(s.buf)
	default:
		err = ErrVersion
	}
	if err != nil {
		return nil, err
	}
	m := t.startMAC()
	m.h.Write(s.buf)
	m.h.Write(pkt[off : off+t.head])
	if t.ivLen > 0 {
		iv := pkt[off+t.head:][:t.ivLen]
		m.h.(interface{ setIV([]byte) }).setIV(iv)
		m.h.Write(iv)
	}
	m.h.Write(zeroICV[:t.icv-t.ivLen])
	m.h.Write(pkt[off+t.head+t.icv:])
	t.finish(m, seqHi)
	return m, nil
}

// mask4 clears what may change on the way in hdr, an IPv4 header with its options.
func mask4(hdr []byte) error {
	if int(hdr[0]&0xf)*4 != len(hdr) {
		return ErrHeaderLen
	}
	hdr[1] = 0              // type of service
	hdr[6], hdr[7] = 0, 0   // flags and fragment offset
	hdr[8] = 0              // time to live
	hdr[10], hdr[11] = 0, 0 // checksum
	for opts := hdr[ip.Len4:]; len(opts) > 0; {
		const end, nop, lsrr, ssrr = 0, 1, 131, 137
		switch opts[0] {
		case end:
			return nil
		case nop:
			opts = opts[1:]
			continue
		}
		if len(opts) < 2 || opts[1] < 2 || int(opts[1]) > len(opts) {
			return ErrOption
		}
		o := opts[:opts[1]]
		opts = opts[opts[1]:]
		switch o[0] {
		case 130, 133, 134, 148, 149:
			// security, two more of it, router alert, multi-destination: immutable (appendix A1)
			continue
		case lsrr, ssrr:
			// With hops to go, the last of them will be the destination.
			if len(o) >= 7 && int(o[2]) <= len(o)-3 {
				copy(hdr[16:20], o[len(o)-4:])
			}
		}
		clear(o)
	}
	return nil
}

// mask6 clears what may change on the way in hdr, an IPv6 header with extension headers up to its end, and puts source
// routes into the form they have at the destination.
func mask6(hdr []byte) error {
	if len(hdr) < ip.Len6 {
		return ErrShort
	}
	copy(hdr, []byte{0x60, 0, 0, 0}) // traffic class and flow label
	hdr[7] = 0                       // hop limit
	h := ip.Header{V6: true, Off: ip.Len6, Proto: hdr[6]}
	for h.Off < len(hdr) {
		kind := h.Proto
		ext := h.Step(hdr)
		if ext == nil {
			return ErrExtension
		}
		var err error
		switch kind {
		case ip.ProtoHopByHop, ip.ProtoDestOptions:
			err = maskOptions6(ext[2:])
		case ip.ProtoRouting:
			err = maskRouting6(ext, hdr[24:40])
		default:
			err = ErrExtension
		}
		if err != nil {
			return err
		}
	}
	if h.Proto != uint8(AH) {
		return ErrExtension
	}
	return nil
}

func maskOptions6(opts []byte) error {
	const pad1, mayChange = 0, 0x20
	for len(opts) > 0 {
		if opts[0] == pad1 {
			opts = opts[1:]
			continue
		}
		if len(opts) < 2 || int(opts[1])+2 > len(opts) {
			return ErrExtension
		}
		n := int(opts[1]) + 2
		if opts[0]&mayChange != 0 {
			clear(opts[2:n])
		}
		opts = opts[n:]
	}
	return nil
}

// maskRouting6 moves a source route (types 0 and 2) with hops to go to its end: the destination becomes the last
// address, and the addresses passed move up.
func maskRouting6(ext, dst []byte) error {
	if ext[2] != 0 && ext[2] != 2 {
		return nil
	}
	route := ext[8:]
	left := int(ext[3]) * 16
	if len(route)%16 != 0 || left > len(route) {
		return ErrExtension
	}
	if left == 0 {
		return nil
	}
	ext[3] = 0
	todo := route[len(route)-left:]
	last := [16]byte(todo[left-16:])
	copy(todo[16:], todo)
	copy(todo, dst)
	copy(dst, last[:])
	return nil
}

// putAH lays out an AH header of n bytes whose ICV and padding are zero but for the IV.
func (t *Transform) putAH(b []byte, n int, next uint8, s Sealing) {
	clear(b[:n])
	b[0], b[1] = next, byte(n/4-2)
	binary.BigEndian.PutUint32(b[4:], s.SPI)
	if !t.suite.Old {
		binary.BigEndian.PutUint32(b[8:], uint32(s.Seq))
	}
	copy(b[t.head:], s.IV)
}
