package ipsec

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"slices"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"
)

// aead is a keyed combined-mode cipher, safe for concurrent use. aad is the ESP header (with the high half of an
// extended sequence number in its middle), iv the explicit IV.
type aead interface {
	// open appends the plaintext of sealed, which ends with the ICV.
	open(s *scratch, dst, aad, iv, sealed []byte) ([]byte, error)
	// seal encrypts buf in place and appends the ICV, for which there is room. The first skip bytes of buf are not its
	// business.
	seal(s *scratch, buf []byte, skip int, aad, iv []byte) []byte
}

// scratch is memory for one packet that would otherwise be allocated.
type scratch struct {
	nonce [16]byte
	aad   [12]byte
	sum   [64]byte
	buf   []byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// gcm is any AEAD of the Go libraries with a nonce of salt and IV.
type gcm struct {
	a    cipher.AEAD
	salt [4]byte
}

func (g *gcm) nonce(s *scratch, iv []byte) []byte {
	copy(s.nonce[:], g.salt[:])
	copy(s.nonce[4:12], iv)
	return s.nonce[:12]
}

func (g *gcm) open(s *scratch, dst, aad, iv, sealed []byte) ([]byte, error) {
	out, err := g.a.Open(dst, g.nonce(s, iv), sealed, aad)
	if err != nil {
		return dst, ErrICV
	}
	return out, nil
}

func (g *gcm) seal(s *scratch, buf []byte, skip int, aad, iv []byte) []byte {
	return g.a.Seal(buf[:skip], g.nonce(s, iv), buf[skip:], aad)
}

func newGCM(key, salt []byte, icv int) (aead, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if icv < 12 {
		a, err := cipher.NewGCM(b)
		return &shortGCM{gcm{a, [4]byte(salt)}, icv}, err
	}
	a, err := cipher.NewGCMWithTagSize(b, icv)
	return &gcm{a, [4]byte(salt)}, err
}

func newChaCha(key, salt []byte, icv int) (aead, error) {
	a, err := chacha20poly1305.New(key)
	return &gcm{a, [4]byte(salt)}, err
}

// shortGCM is GCM with an ICV shorter than the standard library permits. It never takes the tag on trust: encryption is
// its own inverse, so sealing the ciphertext gives the plaintext (and a tag of no use), and sealing that again gives
// the ciphertext back with the full tag of what arrived, whose beginning is compared. Two passes of the library's fast
// code.
type shortGCM struct {
	gcm
	icv int
}

func (g *shortGCM) open(s *scratch, dst, aad, iv, sealed []byte) ([]byte, error) {
	n := len(sealed) - g.icv
	nonce := g.nonce(s, iv)
	s.buf = grow(s.buf[:0], 2*(n+16))
	plain := g.a.Seal(s.buf[:0], nonce, sealed[:n], nil)[:n]
	again := g.a.Seal(s.buf[n+16:n+16], nonce, plain, aad)
	if subtle.ConstantTimeCompare(again[n:n+g.icv], sealed[n:]) != 1 {
		clear(plain)
		return dst, ErrICV
	}
	dst = append(dst, plain...)
	clear(plain)
	return dst, nil
}

func (g *shortGCM) seal(s *scratch, buf []byte, skip int, aad, iv []byte) []byte {
	n := len(buf)
	s.buf = g.a.Seal(s.buf[:0], g.nonce(s, iv), buf[skip:], aad)
	return append(buf[:skip], s.buf[:n-skip+g.icv]...)
}

// gmac is GCM that encrypts nothing: all of the packet is additional data (RFC 4543).
type gmac struct{ gcm }

func newGMAC(key, salt []byte, icv int) (aead, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	a, err := cipher.NewGCM(b)
	return &gmac{gcm{a, [4]byte(salt)}}, err
}

func (g *gmac) all(s *scratch, aad, iv, plain []byte) {
	s.buf = append(append(append(s.buf[:0], aad...), iv...), plain...)
}

func (g *gmac) open(s *scratch, dst, aad, iv, sealed []byte) ([]byte, error) {
	n := len(sealed) - 16
	g.all(s, aad, iv, sealed[:n])
	if _, err := g.a.Open(s.sum[:0], g.nonce(s, iv), sealed[n:], s.buf); err != nil {
		return dst, ErrICV
	}
	return append(dst, sealed[:n]...), nil
}

func (g *gmac) seal(s *scratch, buf []byte, skip int, aad, iv []byte) []byte {
	g.all(s, aad, iv, buf[skip:])
	return g.a.Seal(buf, g.nonce(s, iv), nil, s.buf)
}

// ccm is counter mode with CBC-MAC, with a nonce of 11 bytes and so a length of 4 (RFC 3610, RFC 4309 section 4).
type ccm struct {
	b    cipher.Block
	salt [3]byte
	icv  int
}

func newCCM(key, salt []byte, icv int) (aead, error) {
	b, err := aes.NewCipher(key)
	return &ccm{b, [3]byte(salt), icv}, err
}

// tag writes the encrypted tag of plain into s.sum[:16].
func (c *ccm) tag(s *scratch, aad, iv, plain []byte) {
	mac := s.sum[:16]
	c.start(mac, iv, uint32(len(plain)))
	mac[0] = 1<<6 | byte((c.icv-2)/2)<<3 | 3 // there is additional data; tag length; length of the length
	c.b.Encrypt(mac, mac)
	block := s.sum[16:32]
	clear(block)
	binary.BigEndian.PutUint16(block, uint16(len(aad))) // 8 or 12 bytes: fits the block
	copy(block[2:], aad)
	subtle.XORBytes(mac, mac, block)
	c.b.Encrypt(mac, mac)
	for len(plain) > 0 {
		n := subtle.XORBytes(mac, mac, plain[:min(16, len(plain))])
		c.b.Encrypt(mac, mac)
		plain = plain[n:]
	}
	c.start(block, iv, 0)
	c.b.Encrypt(block, block)
	subtle.XORBytes(mac, mac, block)
}

// start lays out a block: flags, nonce, four bytes of length or counter.
func (c *ccm) start(block, iv []byte, n uint32) {
	block[0] = 3
	copy(block[1:4], c.salt[:])
	copy(block[4:12], iv)
	binary.BigEndian.PutUint32(block[12:], n)
}

func (c *ccm) crypt(s *scratch, dst, src, iv []byte) {
	block, stream := s.sum[32:48], s.sum[48:64]
	for i := uint32(1); len(src) > 0; i++ {
		c.start(block, iv, i)
		c.b.Encrypt(stream, block)
		n := subtle.XORBytes(dst, src[:min(16, len(src))], stream)
		src, dst = src[n:], dst[n:]
	}
}

func (c *ccm) open(s *scratch, dst, aad, iv, sealed []byte) ([]byte, error) {
	n := len(sealed) - c.icv
	s.buf = grow(s.buf[:0], n)
	c.crypt(s, s.buf, sealed[:n], iv)
	c.tag(s, aad, iv, s.buf)
	if subtle.ConstantTimeCompare(s.sum[:c.icv], sealed[n:]) != 1 {
		clear(s.buf)
		return dst, ErrICV
	}
	dst = append(dst, s.buf...)
	clear(s.buf)
	return dst, nil
}

func (c *ccm) seal(s *scratch, buf []byte, skip int, aad, iv []byte) []byte {
	c.tag(s, aad, iv, buf[skip:])
	c.crypt(s, buf[skip:], buf[skip:], iv)
	return append(buf, s.sum[:c.icv]...)
}

// grow makes b longer by n bytes, whose contents are undefined.
func grow(b []byte, n int) []byte { return slices.Grow(b, n)[:len(b)+n] }
