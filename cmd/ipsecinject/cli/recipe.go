package cli

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
)

// recipe is how send makes its packets.
type recipe struct {
	plain        bool // do not protect
	tunnelMode   bool
	src, dst     netip.Addr // invalid: those of packetInside
	innerSrc     netip.Addr
	innerDst     netip.Addr
	innerPorts   ipsec.Ports
	data         string
	packetInside []byte // instead of a UDP datagram

	spi       uint32
	seq       uint64
	suite     ipsec.Suite
	transform *ipsec.Transform
	udp       ipsec.Ports // of the encapsulation

	badICV, badPadding, badPadLength bool
	short                            int // -1: whole
	align                            int // see [ipsec.Sealing]
}

// packet makes packet number i, counting from 0.
func (r *recipe) packet(i uint64) ([]byte, error) {
	inner := r.packetInside
	if inner == nil {
		var err error
		if inner, err = udpPacket(r.innerSrc, r.innerDst, r.innerPorts, r.data); err != nil {
			return nil, err
		}
	}
	if r.plain {
		return inner, nil
	}
	seq := r.seq + i
	s := ipsec.Sealing{SPI: r.spi, Seq: seq, Align: r.align}
	var err error
	if s.IV, err = r.transform.AppendIV(nil, seq, rand.Reader); err != nil {
		return nil, err
	}
	var p []byte
	if r.tunnelMode {
		p, err = r.transform.SealTunnel(nil, inner, &ipsec.Outer{Src: r.src, Dst: r.dst}, r.udp, s)
	} else {
		p, err = r.transform.SealTransport(nil, inner, r.udp, s)
	}
	if err != nil {
		return nil, err
	}
	return r.spoil(p, uint32(seq>>32))
}

// spoil makes the packet as wrong as it is wanted.
func (r *recipe) spoil(p []byte, seqHi uint32) ([]byte, error) {
	in, err := ipsec.ParseInbound(p)
	if err != nil {
		return nil, err
	}
	if r.badPadding || r.badPadLength {
		plain, err := r.transform.OpenESP(nil, in.ESP(p), seqHi)
		if err != nil {
			return nil, err
		}
		n, _, ok := ipsec.Trailer(plain)
		if !ok {
			return nil, errors.New("no trailer to spoil")
		}
		if r.badPadLength {
			if len(plain)-2 >= 255 {
				return nil, errors.New("the payload is too long for a pad length to exceed it, make --data shorter")
			}
			plain[len(plain)-2] = 255
		} else {
			if n == 0 {
				return nil, errors.New("it needs no padding that could be spoiled, make --data shorter or longer")
			}
			plain[len(plain)-3] ^= 0xff
		}
		if err := reseal(&r.suite, in.ESP(p), plain, r.transform, seqHi); err != nil {
			return nil, err
		}
	}
	if r.badICV {
		at := in.End - 1
		if r.suite.Proto == ipsec.AH {
			at = in.Off + 12
		}
		p[at] ^= 1
	}
	if r.short >= 0 && in.Off+r.short < len(p) {
		p = p[:in.Off+r.short]
		fixLengths(p, in.UDPOff)
	}
	return p, nil
}

// reseal protects plain, which has its padding and trailer already, in the place of what esp protects now. It is the
// only place that seals a trailer that RFC 4303 does not allow, so it is here and not in the ipsec package.
func reseal(s *ipsec.Suite, esp, plain []byte, t *ipsec.Transform, seqHi uint32) error {
	key := s.Key.Bytes()
	head := 8 + t.IVLen()
	iv := esp[8:head]
	body := esp[head : head+len(plain)]
	var block cipher.Block
	var err error
	switch s.Cipher {
	case ipsec.NULL:
		copy(body, plain)
	case ipsec.AESCBC:
		block, err = aes.NewCipher(key)
	case ipsec.DESCBC:
		block, err = des.NewCipher(key)
	case ipsec.TripleDES:
		block, err = des.NewTripleDESCipher(key)
	case ipsec.AESGCM:
		return resealGCM(s, esp, plain, t, seqHi)
	default:
		return fmt.Errorf("the padding of %s cannot be spoiled", s.Cipher)
	}
	if err != nil {
		return err
	}
	if block != nil {
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(body, plain)
	}
	if s.MAC == nil {
		return nil
	}
	hashes := map[*ipsec.MAC]func() hash.Hash{
		ipsec.HMACMD5: md5.New, ipsec.HMACSHA1: sha1.New, ipsec.HMACSHA256: sha256.New, ipsec.HMACSHA384: sha512.New384,
		ipsec.HMACSHA512: sha512.New,
	}
	newHash, ok := hashes[s.MAC]
	if !ok {
		return fmt.Errorf("the padding under %s cannot be spoiled", s.MAC)
	}
	m := hmac.New(newHash, s.AuthKey.Bytes())
	m.Write(esp[:head+len(plain)])
	if s.ESN {
		m.Write(binary.BigEndian.AppendUint32(nil, seqHi))
	}
	copy(esp[head+len(plain):], m.Sum(nil)[:t.ICVLen()])
	return nil
}

func resealGCM(s *ipsec.Suite, esp, plain []byte, t *ipsec.Transform, seqHi uint32) error {
	if t.ICVLen() != 16 {
		return errors.New("the padding of aes-gcm can only be spoiled with an ICV of 128 bits")
	}
	block, err := aes.NewCipher(s.Key.Bytes())
	if err != nil {
		return err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	aad := append([]byte(nil), esp[:4]...)
	if s.ESN {
		aad = binary.BigEndian.AppendUint32(aad, seqHi)
	}
	aad = append(aad, esp[4:8]...)
	nonce := append(s.Salt.Bytes(), esp[8:16]...)
	copy(esp[16:], gcm.Seal(nil, nonce, plain, aad))
	return nil
}

// udpPacket makes an IP packet with a UDP datagram, checksums right.
func udpPacket(src, dst netip.Addr, ports ipsec.Ports, data string) ([]byte, error) {
	if ip.Len6+ip.LenUDP+len(data) > ip.MaxLen {
		return nil, errors.New("--data is too long for a UDP datagram")
	}
	return ip.UDP(netip.AddrPortFrom(src, ports.Src), netip.AddrPortFrom(dst, ports.Dst), []byte(data))
}

// fixLengths makes the lengths in the headers those that are there, and the header checksum right. udp is the offset of
// a UDP header, or 0.
func fixLengths(p []byte, udp int) {
	ip.SetLength(p)
	if udp == 0 {
		return
	}
	binary.BigEndian.PutUint16(p[udp+4:], uint16(len(p)-udp))
	if p[0]>>4 == 6 {
		ip.SetUDPChecksum(p, udp) // over IPv4 ESP in UDP goes without
	}
}
