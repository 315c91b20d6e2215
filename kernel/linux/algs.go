package linux

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/wire"
)

// algorithm is one row of what the kernel offers to PF_KEY.
type algorithm struct {
	id               uint8
	ivLen            uint8  // bytes
	minBits, maxBits uint16 // as REGISTER says
	icvLen           int    // bytes of an authentication algorithm
	cipher           *ipsec.Cipher
	mac              *ipsec.MAC // nil: a cipher
	// keyOK is what the implementation takes, in bytes, which is not what REGISTER says; nil: anything.
	keyOK func(n int) bool
}

func exactly(sizes ...int) func(int) bool {
	return func(n int) bool { return slices.Contains(sizes, n) }
}

func between(least, most int) func(int) bool {
	return func(n int) bool { return least <= n && n <= most }
}

// The algorithms in the order of REGISTER and of proposals. To add one: a row, and its implementation in package ipsec.
var (
	authAlgs = []algorithm{
		{id: wire.AuthNull, mac: ipsec.NullMAC},
		{id: wire.AuthMD5HMAC, minBits: 128, maxBits: 128, icvLen: 12, mac: ipsec.HMACMD5},
		{id: wire.AuthSHA1HMAC, minBits: 160, maxBits: 160, icvLen: 12, mac: ipsec.HMACSHA1},
		{id: wire.AuthSHA256HMAC, minBits: 256, maxBits: 256, icvLen: 12, mac: ipsec.HMACSHA256},
		{id: wire.AuthSHA384HMAC, minBits: 384, maxBits: 384, icvLen: 24, mac: ipsec.HMACSHA384},
		{id: wire.AuthSHA512HMAC, minBits: 512, maxBits: 512, icvLen: 32, mac: ipsec.HMACSHA512},
		{id: wire.AuthRIPEMD160HMAC, minBits: 160, maxBits: 160, icvLen: 12, mac: ipsec.HMACRIPEMD160},
		{id: wire.AuthAESXCBCMAC, minBits: 128, maxBits: 128, icvLen: 12, mac: ipsec.AESXCBC,
			keyOK: exactly(16, 24, 32)},
	}
	encryptAlgs = []algorithm{
		{id: wire.EncNull, cipher: ipsec.NULL, keyOK: exactly(0)},
		{id: wire.EncDESCBC, ivLen: 8, minBits: 64, maxBits: 64, cipher: ipsec.DESCBC, keyOK: exactly(8)},
		{id: wire.Enc3DESCBC, ivLen: 8, minBits: 192, maxBits: 192, cipher: ipsec.TripleDES, keyOK: exactly(24)},
		{id: wire.EncCAST128CBC, ivLen: 8, minBits: 40, maxBits: 128, cipher: ipsec.CAST128CBC,
			keyOK: between(5, 16)},
		{id: wire.EncBlowfishCBC, ivLen: 8, minBits: 40, maxBits: 448, cipher: ipsec.BlowfishCBC,
			keyOK: between(4, 56)},
		{id: wire.EncAESCBC, ivLen: 8, minBits: 128, maxBits: 256, cipher: ipsec.AESCBC,
			keyOK: exactly(16, 24, 32)},
		{id: wire.EncSerpentCBC, ivLen: 8, minBits: 128, maxBits: 256, cipher: ipsec.SerpentCBC,
			keyOK: between(0, 32)},
		{id: wire.EncCamelliaCBC, ivLen: 8, minBits: 128, maxBits: 256, cipher: ipsec.CamelliaCBC,
			keyOK: exactly(16, 24, 32)},
		{id: wire.EncTwofishCBC, ivLen: 8, minBits: 128, maxBits: 256, cipher: ipsec.TwofishCBC,
			keyOK: exactly(16, 24, 32)},
		{id: wire.EncAESCTR, ivLen: 8, minBits: 160, maxBits: 288, cipher: ipsec.AESCTR,
			keyOK: exactly(20, 28, 36)},
	}
)

// Highest numbers of algorithms.
const (
	authMax     = wire.AuthNull
	encryptMax  = wire.EncTwofishCBC
	compressMax = wire.CompLZJH
)

func findAlg(table []algorithm, id uint8) *algorithm {
	for i := range table {
		if table[i].id == id {
			return &table[i]
		}
	}
	return nil
}

func authAlg(id uint8) *algorithm    { return findAlg(authAlgs, id) }
func encryptAlg(id uint8) *algorithm { return findAlg(encryptAlgs, id) }

// takes tells whether the implementation accepts a key of n bytes.
func (a *algorithm) takes(n int) bool { return a.keyOK == nil || a.keyOK(n) }

func (k *Kernel) appendSupported(b []byte, t wire.ExtType, table []algorithm) []byte {
	v := wire.Supported{Algs: make([]wire.Alg, 0, len(table))}
	for i := range table {
		a := &table[i]
		v.Algs = append(v.Algs, wire.Alg{ID: a.id, IVLen: a.ivLen, MinBits: a.minBits, MaxBits: a.maxBits})
	}
	return k.d.AppendSupported(b, t, v)
}

// newTransform makes what protects an SA's packets; nil if there is none: IPCOMP, and the few key lengths that no
// implementation for Go takes.
func newTransform(s *sa) *ipsec.Transform {
	suite := ipsec.Suite{Proto: ipsec.AH}
	switch s.proto {
	case protoAH:
	case protoESP:
		suite.Proto = ipsec.ESP
		if encryptAlg(s.encrypt) == nil {
			return nil
		}
	default:
		return nil
	}
	fillSuite(&suite, s.auth, s.encrypt, s.authKey(), s.encryptKey())
	t, err := suite.New()
	if err != nil {
		return nil
	}
	t.OwnKeys()
	return t
}
