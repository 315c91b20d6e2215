package ipsec

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"hash"
)

// MAC is one row of the table of integrity algorithms. To add an algorithm: a row and its function.
type MAC struct {
	Name   string
	KeyLen int // bytes of the key that the RFC demands; an HMAC takes any, the others those of AES
	Size   int // bytes of the full output
	ICV    int // bytes sent unless a kernel says otherwise, with the IV
	IVLen  int // bytes of an IV in front of the ICV, which must never repeat; such a MAC is for AH only
	aes    bool
	new    func(key []byte) (hash.Hash, error)
}

// The integrity algorithms. They are shared, and must not be changed.
var (
	HMACMD5    *MAC = &MAC{"hmac-md5", 16, 16, 12, 0, false, hmacOf(md5.New)}   // RFC 2403
	HMACSHA1   *MAC = &MAC{"hmac-sha1", 20, 20, 12, 0, false, hmacOf(sha1.New)} // RFC 2404
	HMACSHA256 *MAC = &MAC{"hmac-sha256", 32, 32, 16, 0, false,
		hmacOf(sha256.New)} // RFC 4868; 12 bytes in old drafts and Linux PF_KEY
	HMACSHA384    *MAC = &MAC{"hmac-sha384", 48, 48, 24, 0, false, hmacOf(sha512.New384)}   // RFC 4868
	HMACSHA512    *MAC = &MAC{"hmac-sha512", 64, 64, 32, 0, false, hmacOf(sha512.New)}      // RFC 4868
	HMACRIPEMD160 *MAC = &MAC{"hmac-ripemd160", 20, 20, 12, 0, false, hmacOf(newRIPEMD160)} // RFC 2857
	AESXCBC       *MAC = &MAC{"aes-xcbc", 16, 16, 12, 0, true, newXCBC}                     // RFC 3566
	AESCMAC       *MAC = &MAC{"aes-cmac", 16, 16, 12, 0, true, newCMAC}                     // RFC 4494

	KeyedMD5  *MAC = &MAC{"keyed-md5", 16, 16, 16, 0, false, newKeyedMD5}   // RFC 1828
	KeyedSHA1 *MAC = &MAC{"keyed-sha1", 20, 20, 20, 0, false, newKeyedSHA1} // RFC 1852

	// GMAC is AES-GMAC for AH (RFC 4543 section 4); its key has the salt behind it. For ESP it is a cipher, [AESGMAC].
	GMAC *MAC = &MAC{"aes-gmac", 20, 24, 24, 8, true, newAHGMAC}
)

// NullMAC has no ICV and protects nothing. Linux takes it, also for AH. It is not in the table, as nobody should choose
// it.
var NullMAC *MAC = &MAC{Name: "null", new: func([]byte) (hash.Hash, error) { return nullHash{}, nil }}

// ZeroMAC is NullMAC as the BSDs have it: there is an ICV, which is zeros.
var ZeroMAC *MAC = &MAC{Name: "null", Size: 16, ICV: 12,
	new: func([]byte) (hash.Hash, error) { return nullHash{16}, nil }}

// nullHash is a hash of so many zeros.
type nullHash struct{ size int }

func (h nullHash) Write(p []byte) (int, error) { return len(p), nil }
func (h nullHash) Sum(b []byte) []byte         { return append(b, zeroICV[:h.size]...) }
func (h nullHash) Reset()                      {}
func (h nullHash) Size() int                   { return h.size }
func (h nullHash) BlockSize() int              { return 1 }

var macs = []*MAC{HMACMD5, HMACSHA1, HMACSHA256, HMACSHA384, HMACSHA512, HMACRIPEMD160, AESXCBC, AESCMAC,
	KeyedMD5, KeyedSHA1, GMAC}

// MACs lists the table.
func MACs() []*MAC { return append([]*MAC(nil), macs...) }

// String returns the name.
func (m *MAC) String() string {
	if m == nil {
		return "none"
	}
	return m.Name
}

// saltLen is how many bytes of the key are no key of the cipher in it.
func (m *MAC) saltLen() int {
	if m == GMAC {
		return gmacSalt
	}
	return 0
}

func hmacOf(h func() hash.Hash) func([]byte) (hash.Hash, error) {
	return func(key []byte) (hash.Hash, error) { return hmac.New(h, key), nil }
}

// blockMAC is a CBC-MAC whose last block is masked: AES-XCBC-MAC (RFC 3566 section 4) and AES-CMAC (RFC 4493 section
// 2.4), which differ in where the cipher's key and the masks come from.
type blockMAC struct {
	b             cipher.Block
	whole, padded [16]byte // masks of a last block that is full, and of one that is not
	state, buf    [16]byte
	n             int // bytes waiting in buf; a full block waits, because the last one is treated apart
}

// newXCBC encrypts three constants to get a key and the masks. The key that does so may be longer than the RFC has it,
// as kernels allow.
func newXCBC(key []byte) (hash.Hash, error) {
	k, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	var k1 [16]byte
	x := &blockMAC{}
	for i := range k1 {
		k1[i], x.whole[i], x.padded[i] = 1, 2, 3
	}
	k.Encrypt(k1[:], k1[:])
	k.Encrypt(x.whole[:], x.whole[:])
	k.Encrypt(x.padded[:], x.padded[:])
	x.b, err = aes.NewCipher(k1[:])
	return x, err
}

// newCMAC doubles the encrypted zero in GF(2^128) once and twice for the masks (RFC 4493 section 2.3).
func newCMAC(key []byte) (hash.Hash, error) {
	k, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	x := &blockMAC{b: k}
	k.Encrypt(x.whole[:], x.whole[:])
	x.whole = double(x.whole)
	x.padded = double(x.whole)
	return x, nil
}

func double(b [16]byte) (d [16]byte) {
	for i := range 15 {
		d[i] = b[i]<<1 | b[i+1]>>7
	}
	d[15] = b[15]<<1 ^ b[0]>>7*0x87
	return d
}

func (x *blockMAC) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if x.n == 16 {
			x.block(&x.buf)
			x.n = 0
		}
		c := copy(x.buf[x.n:], p)
		x.n += c
		p = p[c:]
	}
	return n, nil
}

func (x *blockMAC) block(b *[16]byte) {
	subtle.XORBytes(x.state[:], x.state[:], b[:])
	x.b.Encrypt(x.state[:], x.state[:])
}

func (x *blockMAC) Sum(in []byte) []byte {
	last, mask, state := x.buf, &x.whole, x.state
	if x.n < 16 {
		mask = &x.padded
		last[x.n] = 0x80
		clear(last[x.n+1:])
	}
	subtle.XORBytes(last[:], last[:], mask[:])
	x.block(&last)
	in = append(in, x.state[:]...)
	x.state = state
	return in
}

func (x *blockMAC) Reset() {
	x.state = [16]byte{}
	x.n = 0
}

func (x *blockMAC) Size() int      { return 16 }
func (x *blockMAC) BlockSize() int { return 16 }

// gmacSalt is how many bytes of the key are the salt of the nonce.
const gmacSalt = 4

// ahGMAC is AES-GMAC as AH has it: the first bytes of what is written as the ICV are the IV, and so are those of the
// sum.
type ahGMAC struct {
	a     cipher.AEAD
	nonce [gmacSalt + 8]byte
	buf   []byte
}

func newAHGMAC(key []byte) (hash.Hash, error) {
	if len(key) < gmacSalt {
		return nil, aes.KeySizeError(len(key))
	}
	n := len(key) - gmacSalt
	b, err := aes.NewCipher(key[:n])
	if err != nil {
		return nil, err
	}
	a, err := cipher.NewGCM(b)
	g := &ahGMAC{a: a}
	copy(g.nonce[:], key[n:])
	return g, err
}

func (g *ahGMAC) setIV(iv []byte) { copy(g.nonce[gmacSalt:], iv) }

func (g *ahGMAC) Write(p []byte) (int, error) {
	g.buf = append(g.buf, p...)
	return len(p), nil
}

func (g *ahGMAC) Sum(in []byte) []byte {
	return g.a.Seal(append(in, g.nonce[gmacSalt:]...), g.nonce[:], nil, g.buf)
}

func (g *ahGMAC) Reset()         { g.buf = g.buf[:0] }
func (g *ahGMAC) Size() int      { return len(g.nonce) - gmacSalt + g.a.Overhead() }
func (g *ahGMAC) BlockSize() int { return aes.BlockSize }
