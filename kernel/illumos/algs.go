package illumos

import (
	"math/bits"
	"slices"

	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/wire"
)

// algorithm is one row of the table that ipsecalgs(8) loads. Lengths are bytes unless they say bits.
type algorithm struct {
	id               wire.AlgID
	minBits, maxBits uint16 // of the key, without salt
	increment        uint16 // bits; shown, but the kernel does not check the step
	ivLen, saltLen   int
	icvLen           int // of an authentication algorithm or a combined cipher
	block            int // what the kernel pads ESP to, also for counter-mode ciphers
	cipher           *ipsec.Cipher
	mac              *ipsec.MAC
	weak             func(key []byte) bool // the crypto framework's own check, after it has corrected parity in place
}

// The stock table of algorithms, in ascending order. To add one: a row, and its implementation in package ipsec.
var (
	authAlgs = []algorithm{
		{id: wire.AuthMD5HMAC, minBits: 128, maxBits: 128, icvLen: 12, mac: ipsec.HMACMD5},
		{id: wire.AuthSHA1HMAC, minBits: 160, maxBits: 160, icvLen: 12, mac: ipsec.HMACSHA1},
		{id: wire.AuthSHA256HMAC, minBits: 256, maxBits: 256, icvLen: 16, mac: ipsec.HMACSHA256},
		{id: wire.AuthSHA384HMAC, minBits: 384, maxBits: 384, icvLen: 24, mac: ipsec.HMACSHA384},
		{id: wire.AuthSHA512HMAC, minBits: 512, maxBits: 512, icvLen: 32, mac: ipsec.HMACSHA512},
	}
	encryptAlgs = []algorithm{
		{id: wire.EncDESCBC, minBits: 64, maxBits: 64, ivLen: 8, block: 8, cipher: ipsec.DESCBC, weak: weakDES},
		{id: wire.Enc3DESCBC, minBits: 192, maxBits: 192, ivLen: 8, block: 8, cipher: ipsec.TripleDES,
			weak: weak3DES},
		{id: wire.EncBlowfishCBC, minBits: 128, maxBits: 128, ivLen: 8, block: 8, cipher: ipsec.BlowfishCBC},
		{id: wire.EncNull, cipher: ipsec.NULL},
		{id: wire.EncAESCBC, minBits: 128, maxBits: 256, increment: 64, block: 16, ivLen: 16,
			cipher: ipsec.AESCBC},
		{id: wire.EncAESCCM8, minBits: 128, maxBits: 256, increment: 64, block: 16, ivLen: 8, saltLen: 3,
			icvLen: 8, cipher: ipsec.AESCCM},
		{id: wire.EncAESCCM12, minBits: 128, maxBits: 256, increment: 64, block: 16, ivLen: 8, saltLen: 3,
			icvLen: 12, cipher: ipsec.AESCCM},
		{id: wire.EncAESCCM16, minBits: 128, maxBits: 256, increment: 64, block: 16, ivLen: 8, saltLen: 3,
			icvLen: 16, cipher: ipsec.AESCCM},
		{id: wire.EncAESGCM8, minBits: 128, maxBits: 256, increment: 64, block: 16, ivLen: 8, saltLen: 4,
			icvLen: 8, cipher: ipsec.AESGCM},
		{id: wire.EncAESGCM12, minBits: 128, maxBits: 256, increment: 64, block: 16, ivLen: 8, saltLen: 4,
			icvLen: 12, cipher: ipsec.AESGCM},
		{id: wire.EncAESGCM16, minBits: 128, maxBits: 256, increment: 64, block: 16, ivLen: 8, saltLen: 4,
			icvLen: 16, cipher: ipsec.AESGCM},
	}
)

func findAlg(table []algorithm, id wire.AlgID) *algorithm {
	for i := range table {
		if table[i].id == id {
			return &table[i]
		}
	}
	return nil
}

func authAlg(id wire.AlgID) *algorithm    { return findAlg(authAlgs, id) }
func encryptAlg(id wire.AlgID) *algorithm { return findAlg(encryptAlgs, id) }

// combined says whether the cipher brings its own ICV.
func (a *algorithm) combined() bool { return a.cipher != nil && a.cipher.AEAD() }

// counter says whether the IV must never repeat.
func (a *algorithm) counter() bool { return a.cipher != nil && a.cipher.Counter }

// keySizeOK is the kernel's test of a key length; ipsec_valid_key_size. Within a range the step is not looked at.
func (a *algorithm) keySizeOK(bits int) bool { return bits >= int(a.minBits) && bits <= int(a.maxBits) }

// Algorithms are those that the kernel has, as REGISTER lists them.
func Algorithms() (auth, encrypt []wire.Alg) { return supported(authAlgs), supported(encryptAlgs) }

// supported lists a table. The IV length counts bytes, whatever the header file says.
func supported(table []algorithm) (algs []wire.Alg) {
	for i := range table {
		a := &table[i]
		algs = append(algs, wire.Alg{ID: a.id, IVLen: uint8(a.ivLen), MinBits: a.minBits, MaxBits: a.maxBits,
			Increment: uint8(a.increment), SaltBits: uint8(a.saltLen * 8)})
	}
	return algs
}

// Weak keys of DES, as the crypto framework finds them. Of the sixteen weak and semi-weak keys it knows six; its table
// of the other ten is byte-reversed on little-endian machines, so their reversed values are refused there instead, and
// they pass.
var (
	weakKeys = [][8]byte{
		{0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01},
		{0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe},
		{0x1f, 0x1f, 0x1f, 0x1f, 0x0e, 0x0e, 0x0e, 0x0e},
		{0xe0, 0xe0, 0xe0, 0xe0, 0xf1, 0xf1, 0xf1, 0xf1},
		{0x01, 0xfe, 0x01, 0xfe, 0x01, 0xfe, 0x01, 0xfe},
		{0xfe, 0x01, 0xfe, 0x01, 0xfe, 0x01, 0xfe, 0x01},
	}
	semiWeakKeysReversed = [][8]byte{
		{0xf1, 0x0e, 0xf1, 0x0e, 0xe0, 0x1f, 0xe0, 0x1f},
		{0x0e, 0xf1, 0x0e, 0xf1, 0x1f, 0xe0, 0x1f, 0xe0},
		{0x01, 0xf1, 0x01, 0xf1, 0x01, 0xe0, 0x01, 0xe0},
		{0xf1, 0x01, 0xf1, 0x01, 0xe0, 0x01, 0xe0, 0x01},
		{0x0e, 0xfe, 0x0e, 0xfe, 0x1f, 0xfe, 0x1f, 0xfe},
		{0xfe, 0x0e, 0xfe, 0x0e, 0xfe, 0x1f, 0xfe, 0x1f},
		{0x01, 0x0e, 0x01, 0x0e, 0x01, 0x1f, 0x01, 0x1f},
		{0x0e, 0x01, 0x0e, 0x01, 0x1f, 0x01, 0x1f, 0x01},
		{0xf1, 0xfe, 0xf1, 0xfe, 0xe0, 0xfe, 0xe0, 0xfe},
		{0xfe, 0xf1, 0xfe, 0xf1, 0xfe, 0xe0, 0xfe, 0xe0},
	}
)

// setParity gives every byte of a DES key odd parity.
func setParity(key []byte) {
	for i, b := range key {
		if bits.OnesCount8(b)%2 == 0 {
			key[i] = b ^ 1
		}
	}
}

func weakDES(key []byte) bool {
	setParity(key)
	return isWeak([8]byte(key))
}

func isWeak(key [8]byte) bool {
	return slices.Contains(weakKeys, key) || slices.Contains(semiWeakKeysReversed, key)
}

// weak3DES refuses three keys of which two are weak, or which are no more than one. A single weak key is first replaced
// by its neighbour, which then makes the second or third one a repetition; in place of a weak first key the original
// uses memory it never wrote, which is zero here.
func weak3DES(key []byte) bool {
	setParity(key)
	k1, k2, k3 := [8]byte(key), [8]byte(key[8:]), [8]byte(key[16:])
	if isWeak(k2) || isWeak(k3) || k1 == k2 || k2 == k3 {
		return true
	}
	if isWeak(k1) {
		clear(key[:8])
	}
	return false
}
