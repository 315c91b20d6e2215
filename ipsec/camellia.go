package ipsec

import (
	"crypto/cipher"
	"encoding/binary"
	"math/bits"
)

// camellia is the block cipher of RFC 3713. Table look-ups make its time depend on key and data, as with every cipher
// of its age that has no help from the processor.
type camellia struct {
	kw [4]uint64  // whitening, two at each end
	k  [24]uint64 // one a round
	ke [6]uint64  // of the FL layers
	n  int        // rounds: 18 or 24
}

// camelliaS is SBOX1; the other three are rotations of it (RFC 3713 section 2.4.1).
var camelliaS = [256]byte{
	112, 130, 44, 236, 179, 39, 192, 229, 228, 133, 87, 53, 234, 12, 174, 65,
	35, 239, 107, 147, 69, 25, 165, 33, 237, 14, 79, 78, 29, 101, 146, 189,
	134, 184, 175, 143, 124, 235, 31, 206, 62, 48, 220, 95, 94, 197, 11, 26,
	166, 225, 57, 202, 213, 71, 93, 61, 217, 1, 90, 214, 81, 86, 108, 77,
	139, 13, 154, 102, 251, 204, 176, 45, 116, 18, 43, 32, 240, 177, 132, 153,
	223, 76, 203, 194, 52, 126, 118, 5, 109, 183, 169, 49, 209, 23, 4, 215,
	20, 88, 58, 97, 222, 27, 17, 28, 50, 15, 156, 22, 83, 24, 242, 34,
	254, 68, 207, 178, 195, 181, 122, 145, 36, 8, 232, 168, 96, 252, 105, 80,
	170, 208, 160, 125, 161, 137, 98, 151, 84, 91, 30, 149, 224, 255, 100, 210,
	16, 196, 0, 72, 163, 247, 117, 219, 138, 3, 230, 218, 9, 63, 221, 148,
	135, 92, 131, 2, 205, 74, 144, 51, 115, 103, 246, 243, 157, 127, 191, 226,
	82, 155, 216, 38, 200, 55, 198, 59, 129, 150, 111, 75, 19, 190, 99, 46,
	233, 121, 167, 140, 159, 110, 188, 142, 41, 245, 249, 182, 47, 253, 180, 89,
	120, 152, 6, 106, 231, 70, 113, 186, 212, 37, 171, 66, 136, 162, 141, 250,
	114, 7, 185, 85, 248, 238, 172, 10, 54, 73, 42, 104, 60, 56, 241, 164,
	64, 40, 211, 123, 187, 201, 67, 193, 21, 227, 173, 244, 119, 199, 128, 158,
}

// sigma are the constants of the key schedule.
var sigma = [6]uint64{
	0xa09e667f3bcc908b, 0xb67ae8584caa73b2, 0xc6ef372fe94f82be,
	0x54ff53a5f1d36f1c, 0x10e527fade682d1d, 0xb05688c2b3e6c1fd,
}

// half is a 128-bit number of the key schedule.
type half struct{ hi, lo uint64 }

func (h half) rotate(n uint) half {
	if n >= 64 {
		h.hi, h.lo = h.lo, h.hi
		n -= 64
	}
	return half{h.hi<<n | h.lo>>(64-n), h.lo<<n | h.hi>>(64-n)}
}

// newCamellia takes keys of 16, 24 or 32 bytes.
func newCamellia(key []byte) (cipher.Block, error) {
	u := func(i int) uint64 { return binary.BigEndian.Uint64(key[8*i:]) }
	kl := half{u(0), u(1)}
	var kr half
	switch len(key) {
	case 24:
		kr = half{u(2), ^u(2)}
	case 32:
		kr = half{u(2), u(3)}
	}
	ka := half{kl.hi ^ kr.hi, kl.lo ^ kr.lo}
	ka.lo ^= camelliaF(ka.hi, sigma[0])
	ka.hi ^= camelliaF(ka.lo, sigma[1])
	ka.hi, ka.lo = ka.hi^kl.hi, ka.lo^kl.lo
	ka.lo ^= camelliaF(ka.hi, sigma[2])
	ka.hi ^= camelliaF(ka.lo, sigma[3])

	c := &camellia{n: 18}
	k, ke := c.k[:0], c.ke[:0]
	pair := func(to *[]uint64, h half, n uint) {
		h = h.rotate(n)
		*to = append(*to, h.hi, h.lo)
	}
	c.kw[0], c.kw[1] = kl.hi, kl.lo
	if len(key) == 16 {
		pair(&k, ka, 0)
		pair(&k, kl, 15)
		pair(&k, ka, 15)
		pair(&ke, ka, 30)
		pair(&k, kl, 45)
		k = append(k, ka.rotate(45).hi, kl.rotate(60).lo)
		pair(&k, ka, 60)
		pair(&ke, kl, 77)
		pair(&k, kl, 94)
		pair(&k, ka, 94)
		pair(&k, kl, 111)
		last := ka.rotate(111)
		c.kw[2], c.kw[3] = last.hi, last.lo
		return c, nil
	}
	kb := half{ka.hi ^ kr.hi, ka.lo ^ kr.lo}
	kb.lo ^= camelliaF(kb.hi, sigma[4])
	kb.hi ^= camelliaF(kb.lo, sigma[5])
	c.n = 24
	pair(&k, kb, 0)
	pair(&k, kr, 15)
	pair(&k, ka, 15)
	pair(&ke, kr, 30)
	pair(&k, kb, 30)
	pair(&k, kl, 45)
	pair(&k, ka, 45)
	pair(&ke, kl, 60)
	pair(&k, kr, 60)
	pair(&k, kb, 60)
	pair(&k, kl, 77)
	pair(&ke, ka, 77)
	pair(&k, kr, 94)
	pair(&k, ka, 94)
	pair(&k, kl, 111)
	last := kb.rotate(111)
	c.kw[2], c.kw[3] = last.hi, last.lo
	return c, nil
}

// camelliaF is the round function, the P layer written out as what each byte adds to the sum.
func camelliaF(x, k uint64) uint64 {
	x ^= k
	s := &camelliaS
	t1 := uint64(s[byte(x>>56)])
	t2 := uint64(bits.RotateLeft8(s[byte(x>>48)], 1))
	t3 := uint64(bits.RotateLeft8(s[byte(x>>40)], 7))
	t4 := uint64(s[bits.RotateLeft8(byte(x>>32), 1)])
	t5 := uint64(bits.RotateLeft8(s[byte(x>>24)], 1))
	t6 := uint64(bits.RotateLeft8(s[byte(x>>16)], 7))
	t7 := uint64(s[bits.RotateLeft8(byte(x>>8), 1)])
	t8 := uint64(s[byte(x)])
	return t1*0x0101010001000001 ^
		t2*0x0001010101010000 ^
		t3*0x0100010100010100 ^
		t4*0x0101000100000101 ^
		t5*0x0001010100010101 ^
		t6*0x0100010101000101 ^
		t7*0x0101000101010001 ^
		t8*0x0101010001010100
}

func camelliaFL(x, k uint64) uint64 {
	x1, x2 := uint32(x>>32), uint32(x)
	x2 ^= bits.RotateLeft32(x1&uint32(k>>32), 1)
	x1 ^= x2 | uint32(k)
	return uint64(x1)<<32 | uint64(x2)
}

func camelliaFLInv(y, k uint64) uint64 {
	y1, y2 := uint32(y>>32), uint32(y)
	y1 ^= y2 | uint32(k)
	y2 ^= bits.RotateLeft32(y1&uint32(k>>32), 1)
	return uint64(y1)<<32 | uint64(y2)
}

func (c *camellia) BlockSize() int { return 16 }

func (c *camellia) Encrypt(dst, src []byte) {
	_, _ = dst[15], src[15]
	d1 := binary.BigEndian.Uint64(src) ^ c.kw[0]
	d2 := binary.BigEndian.Uint64(src[8:]) ^ c.kw[1]
	for i := 0; i < c.n; i += 2 {
		if i > 0 && i%6 == 0 {
			d1 = camelliaFL(d1, c.ke[i/3-2])
			d2 = camelliaFLInv(d2, c.ke[i/3-1])
		}
		d2 ^= camelliaF(d1, c.k[i])
		d1 ^= camelliaF(d2, c.k[i+1])
	}
	binary.BigEndian.PutUint64(dst, d2^c.kw[2])
	binary.BigEndian.PutUint64(dst[8:], d1^c.kw[3])
}

func (c *camellia) Decrypt(dst, src []byte) {
	_, _ = dst[15], src[15]
	d1 := binary.BigEndian.Uint64(src) ^ c.kw[2]
	d2 := binary.BigEndian.Uint64(src[8:]) ^ c.kw[3]
	for i := c.n; i > 0; i -= 2 {
		if i < c.n && i%6 == 0 {
			d1 = camelliaFL(d1, c.ke[i/3-1])
			d2 = camelliaFLInv(d2, c.ke[i/3-2])
		}
		d2 ^= camelliaF(d1, c.k[i-1])
		d1 ^= camelliaF(d2, c.k[i-2])
	}
	binary.BigEndian.PutUint64(dst, d2^c.kw[0])
	binary.BigEndian.PutUint64(dst[8:], d1^c.kw[1])
}
