package afkey

import (
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// algorithm is one row of what PF_KEY offers.
type algorithm struct {
	id               wire.AlgID
	is               transform.Algorithm
	ivLen            uint8  // bytes
	minBits, maxBits uint16 // as REGISTER says
}

// The algorithms in the order of REGISTER and of proposals. To add one: a row, and what package xfrm's algs.go says.
var (
	authAlgs = []algorithm{
		{id: wire.AuthNull, is: transform.DigestNull},
		{id: wire.AuthMD5HMAC, is: transform.HMACMD5, minBits: 128, maxBits: 128},
		{id: wire.AuthSHA1HMAC, is: transform.HMACSHA1, minBits: 160, maxBits: 160},
		{id: wire.AuthSHA256HMAC, is: transform.HMACSHA256, minBits: 256, maxBits: 256},
		{id: wire.AuthSHA384HMAC, is: transform.HMACSHA384, minBits: 384, maxBits: 384},
		{id: wire.AuthSHA512HMAC, is: transform.HMACSHA512, minBits: 512, maxBits: 512},
		{id: wire.AuthRIPEMD160HMAC, is: transform.HMACRIPEMD160, minBits: 160, maxBits: 160},
		{id: wire.AuthAESXCBCMAC, is: transform.AESXCBC, minBits: 128, maxBits: 128},
	}
	encryptAlgs = []algorithm{
		{id: wire.EncNull, is: transform.CipherNull},
		{id: wire.EncDESCBC, is: transform.DESCBC, ivLen: 8, minBits: 64, maxBits: 64},
		{id: wire.Enc3DESCBC, is: transform.TripleDESCBC, ivLen: 8, minBits: 192, maxBits: 192},
		{id: wire.EncCAST128CBC, is: transform.CAST128CBC, ivLen: 8, minBits: 40, maxBits: 128},
		{id: wire.EncBlowfishCBC, is: transform.BlowfishCBC, ivLen: 8, minBits: 40, maxBits: 448},
		{id: wire.EncAESCBC, is: transform.AESCBC, ivLen: 8, minBits: 128, maxBits: 256},
		{id: wire.EncSerpentCBC, is: transform.SerpentCBC, ivLen: 8, minBits: 128, maxBits: 256},
		{id: wire.EncCamelliaCBC, is: transform.CamelliaCBC, ivLen: 8, minBits: 128, maxBits: 256},
		{id: wire.EncTwofishCBC, is: transform.TwofishCBC, ivLen: 8, minBits: 128, maxBits: 256},
		{id: wire.EncAESCTR, is: transform.AESCTR, ivLen: 8, minBits: 160, maxBits: 288},
	}
)

// Highest numbers of algorithms.
const (
	authMax     = uint8(wire.AuthNull)
	encryptMax  = uint8(wire.EncTwofishCBC)
	compressMax = uint8(wire.CompLZJH)
)

// byID finds a row; nil if there is none.
func byID(table []algorithm, id wire.AlgID) *algorithm {
	for i := range table {
		if table[i].id == id {
			return &table[i]
		}
	}
	return nil
}

// idOf is PF_KEY's name of an algorithm; 0 for what has none.
func idOf(table []algorithm, a transform.Algorithm) wire.AlgID {
	for i := range table {
		if table[i].is == a {
			return table[i].id
		}
	}
	return 0
}

// AuthID is what PF_KEY calls an algorithm of authentication; 0 for what has none.
func AuthID(a transform.Algorithm) wire.AlgID { return idOf(authAlgs, a) }

// EncryptID is what PF_KEY calls an algorithm of encryption; 0 for what has none.
func EncryptID(a transform.Algorithm) wire.AlgID { return idOf(encryptAlgs, a) }

// Auth is the algorithm of authentication that PF_KEY calls so; [transform.NoAlgorithm] if there is none.
func Auth(id wire.AlgID) transform.Algorithm { return withID(authAlgs, id) }

// Encrypt is the algorithm of encryption that PF_KEY calls so; [transform.NoAlgorithm] if there is none.
func Encrypt(id wire.AlgID) transform.Algorithm { return withID(encryptAlgs, id) }

func withID(table []algorithm, id wire.AlgID) transform.Algorithm {
	if a := byID(table, id); a != nil {
		return a.is
	}
	return transform.NoAlgorithm
}

func (k *Manager) appendSupported(b []byte, t wire.ExtType, table []algorithm) []byte {
	v := wire.Supported{Algs: make([]wire.Alg, 0, len(table))}
	for i := range table {
		a := &table[i]
		v.Algs = append(v.Algs, wire.Alg{ID: a.id, IVLen: a.ivLen, MinBits: a.minBits, MaxBits: a.maxBits})
	}
	return k.d.AppendSupported(b, t, v)
}
