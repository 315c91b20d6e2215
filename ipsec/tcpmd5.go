package ipsec

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/binary"

	"github.com/pfkeyd/pfkeyd/internal/ip"
)

//lint:file-ignore SA1019 MD5 is what RFC 2385 has.

// Numbers of TCP.
const (
	tcpHeaderLen = 20
	tcpMaxHeader = 60
	tcpChecksum  = 16 // where it stands in the header

	optEnd, optNOP  = 0, 1
	optSignature    = 19
	optSignatureLen = 18
)

// SignTCP returns a TCP segment with its signature (RFC 2385) as an option, checksum right. pkt is an IP datagram whose
// TCP header stands at off. A signature that is there already is replaced; else the option is added behind the others,
// and two bytes of padding. Errors: ErrShort, ErrOption (options that lie, or no room for one more), ErrTooLong.
func SignTCP(pkt []byte, off int, key Key) ([]byte, error) {
	n, at, end, err := tcpSignature(pkt, off)
	if err != nil {
		return nil, err
	}
	out := append([]byte(nil), pkt...)
	if at == 0 {
		const option = optSignatureLen + 2
		if n+option > tcpMaxHeader {
			return nil, ErrOption
		}
		if ip.TooLong(len(pkt)+option, pkt[0]>>4 == 6) {
			return nil, ErrTooLong
		}
		at = off + n + 2
		out = append(out[:off+n], make([]byte, option)...)
		out = append(out, pkt[off+n:]...)
		for i := end; i < off+n; i++ { // what stands behind the end of the options is not looked at
			out[i] = optNOP
		}
		out[at-2], out[at-1], out[at], out[at+1] = optNOP, optNOP, optSignature, optSignatureLen
		out[off+12] += option / 4 << 4
		ip.SetLength(out)
	}
	sum := tcpDigest(out, off, key)
	copy(out[at+2:], sum[:])
	ip.SetChecksum(out, off, off+tcpChecksum, ip.ProtoTCP)
	return out, nil
}

// VerifyTCP checks the signature of a TCP segment, whose header stands at off of an IP datagram. Errors: ErrUnsigned,
// ErrICV (another one), ErrShort, ErrOption.
func VerifyTCP(pkt []byte, off int, key Key) error {
	_, at, _, err := tcpSignature(pkt, off)
	switch {
	case err != nil:
		return err
	case at == 0:
		return ErrUnsigned
	}
	sum := tcpDigest(pkt, off, key)
	if subtle.ConstantTimeCompare(sum[:], pkt[at+2:at+optSignatureLen]) != 1 {
		return ErrICV
	}
	return nil
}

// tcpSignature finds the option with the signature; 0 if there is none. n is the length of the header, end is where the
// options end.
func tcpSignature(pkt []byte, off int) (n, at, end int, err error) {
	if off < ip.Len4 || len(pkt)-off < tcpHeaderLen {
		return 0, 0, 0, ErrShort
	}
	n = int(pkt[off+12]>>4) * 4
	if n < tcpHeaderLen || n > len(pkt)-off {
		return 0, 0, 0, ErrOption
	}
	for i := off + tcpHeaderLen; i < off+n; {
		switch pkt[i] {
		case optEnd:
			return n, at, i, nil
		case optNOP:
			i++
			continue
		}
		if i+1 >= off+n || pkt[i+1] < 2 || i+int(pkt[i+1]) > off+n {
			return 0, 0, 0, ErrOption
		}
		if pkt[i] == optSignature {
			if pkt[i+1] != optSignatureLen {
				return 0, 0, 0, ErrOption
			}
			at = i
		}
		i += int(pkt[i+1])
	}
	return n, at, off + n, nil
}

// tcpDigest is what RFC 2385 section 2.0 signs: addresses, protocol and length, the header without options and with a
// checksum of 0, the data, the key.
func tcpDigest(pkt []byte, off int, key Key) [md5.Size]byte {
	h := md5.New()
	size := len(pkt) - off
	if pkt[0]>>4 == 6 {
		h.Write(pkt[8:40])
		var b [8]byte
		binary.BigEndian.PutUint32(b[:], uint32(size))
		b[7] = ip.ProtoTCP
		h.Write(b[:])
	} else {
		h.Write(pkt[12:20])
		h.Write([]byte{0, ip.ProtoTCP, byte(size >> 8), byte(size)})
	}
	var head [tcpHeaderLen]byte
	copy(head[:], pkt[off:])
	head[tcpChecksum], head[tcpChecksum+1] = 0, 0
	h.Write(head[:])
	h.Write(pkt[off+int(pkt[off+12]>>4)*4:])
	h.Write(key.bytes())
	return [md5.Size]byte(h.Sum(nil))
}
