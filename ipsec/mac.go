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
	KeyLen int  // bytes of the key that the RFC demands; an HMAC takes any
	Size   int  // bytes of the full output
	ICV    int  // bytes sent unless a kernel says otherwise
	fixed  bool // no other key length is possible
	new    func(key []byte) (hash.Hash, error)
}

// The integrity algorithms.
var (
	HMACMD5       = &MAC{"hmac-md5", 16, 16, 12, false, hmacOf(md5.New)}            // RFC 2403
	HMACSHA1      = &MAC{"hmac-sha1", 20, 20, 12, false, hmacOf(sha1.New)}          // RFC 2404
	HMACSHA256    = &MAC{"hmac-sha256", 32, 32, 16, false, hmacOf(sha256.New)}      // RFC 4868; 12 bytes in old drafts and Linux PF_KEY
	HMACSHA384    = &MAC{"hmac-sha384", 48, 48, 24, false, hmacOf(sha512.New384)}   // RFC 4868
	HMACSHA512    = &MAC{"hmac-sha512", 64, 64, 32, false, hmacOf(sha512.New)}      // RFC 4868
	HMACRIPEMD160 = &MAC{"hmac-ripemd160", 20, 20, 12, false, hmacOf(newRIPEMD160)} // RFC 2857
	AESXCBC       = &MAC{"aes-xcbc", 16, 16, 12, true, newXCBC}                     // RFC 3566
)

var macs = []*MAC{HMACMD5, HMACSHA1, HMACSHA256, HMACSHA384, HMACSHA512, HMACRIPEMD160, AESXCBC}

// MACs lists the table.
func MACs() []*MAC { return append([]*MAC(nil), macs...) }

// String returns the name.
func (m *MAC) String() string {
	if m == nil {
		return "none"
	}
	return m.Name
}

func hmacOf(h func() hash.Hash) func([]byte) (hash.Hash, error) {
	return func(key []byte) (hash.Hash, error) { return hmac.New(h, key), nil }
}

// xcbc is AES-XCBC-MAC, RFC 3566 section 4.
type xcbc struct {
	b          cipher.Block // with K1
	k2, k3     [16]byte
	state, buf [16]byte
	n          int // bytes waiting in buf; a full block waits, because the last one is treated apart
}

func newXCBC(key []byte) (hash.Hash, error) {
	k, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	var k1 [16]byte
	x := &xcbc{}
	for i := range k1 {
		k1[i], x.k2[i], x.k3[i] = 1, 2, 3
	}
	k.Encrypt(k1[:], k1[:])
	k.Encrypt(x.k2[:], x.k2[:])
	k.Encrypt(x.k3[:], x.k3[:])
	x.b, err = aes.NewCipher(k1[:])
	return x, err
}

func (x *xcbc) Write(p []byte) (int, error) {
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

func (x *xcbc) block(b *[16]byte) {
	subtle.XORBytes(x.state[:], x.state[:], b[:])
	x.b.Encrypt(x.state[:], x.state[:])
}

func (x *xcbc) Sum(in []byte) []byte {
	last, key, state := x.buf, &x.k2, x.state
	if x.n < 16 {
		key = &x.k3
		last[x.n] = 0x80
		clear(last[x.n+1:])
	}
	subtle.XORBytes(last[:], last[:], key[:])
	x.block(&last)
	in = append(in, x.state[:]...)
	x.state = state
	return in
}

func (x *xcbc) Reset() {
	x.state = [16]byte{}
	x.n = 0
}

func (x *xcbc) Size() int      { return 16 }
func (x *xcbc) BlockSize() int { return 16 }
