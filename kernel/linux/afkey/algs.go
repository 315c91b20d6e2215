package afkey

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/wire"
)

// algorithm is one row of what PF_KEY offers.
type algorithm struct {
	id               wire.AlgID
	ivLen            uint8  // bytes
	minBits, maxBits uint16 // as REGISTER says
}

// The algorithms in the order of REGISTER and of proposals. To add one: a row, and what package xfrm's algs.go says.
var (
	authAlgs = []algorithm{
		{id: wire.AuthNull},
		{id: wire.AuthMD5HMAC, minBits: 128, maxBits: 128},
		{id: wire.AuthSHA1HMAC, minBits: 160, maxBits: 160},
		{id: wire.AuthSHA256HMAC, minBits: 256, maxBits: 256},
		{id: wire.AuthSHA384HMAC, minBits: 384, maxBits: 384},
		{id: wire.AuthSHA512HMAC, minBits: 512, maxBits: 512},
		{id: wire.AuthRIPEMD160HMAC, minBits: 160, maxBits: 160},
		{id: wire.AuthAESXCBCMAC, minBits: 128, maxBits: 128},
	}
	encryptAlgs = []algorithm{
		{id: wire.EncNull},
		{id: wire.EncDESCBC, ivLen: 8, minBits: 64, maxBits: 64},
		{id: wire.Enc3DESCBC, ivLen: 8, minBits: 192, maxBits: 192},
		{id: wire.EncCAST128CBC, ivLen: 8, minBits: 40, maxBits: 128},
		{id: wire.EncBlowfishCBC, ivLen: 8, minBits: 40, maxBits: 448},
		{id: wire.EncAESCBC, ivLen: 8, minBits: 128, maxBits: 256},
		{id: wire.EncSerpentCBC, ivLen: 8, minBits: 128, maxBits: 256},
		{id: wire.EncCamelliaCBC, ivLen: 8, minBits: 128, maxBits: 256},
		{id: wire.EncTwofishCBC, ivLen: 8, minBits: 128, maxBits: 256},
		{id: wire.EncAESCTR, ivLen: 8, minBits: 160, maxBits: 288},
	}
	// aeads are offered only where somebody asks for them ([Manager.Offer]): AF_KEY has numbers for them, and none of
	// them. A key ends with its salt, of 24 bits for CCM and of 32 for the others.
	aeads = []algorithm{
		{id: wire.EncAESCCM8, ivLen: 8, minBits: 152, maxBits: 280},
		{id: wire.EncAESCCM12, ivLen: 8, minBits: 152, maxBits: 280},
		{id: wire.EncAESCCM16, ivLen: 8, minBits: 152, maxBits: 280},
		{id: wire.EncAESGCM8, ivLen: 8, minBits: 160, maxBits: 288},
		{id: wire.EncAESGCM12, ivLen: 8, minBits: 160, maxBits: 288},
		{id: wire.EncAESGCM16, ivLen: 8, minBits: 160, maxBits: 288},
		{id: wire.EncNullAESGMAC, ivLen: 8, minBits: 160, maxBits: 288},
	}
)

// Highest numbers of algorithms.
const (
	authMax     = uint8(wire.AuthNull)
	encryptMax  = uint8(wire.EncTwofishCBC)
	compressMax = uint8(wire.CompLZJH)
)

// offered are the rows of some algorithms.
func offered(table []algorithm, have []wire.AlgID) []algorithm {
	return slices.DeleteFunc(slices.Clone(table), func(a algorithm) bool { return !slices.Contains(have, a.id) })
}

// has tells whether there is a row of an algorithm.
func has(table []algorithm, id wire.AlgID) bool {
	return slices.ContainsFunc(table, func(a algorithm) bool { return a.id == id })
}

func (k *Manager) appendSupported(b []byte, t wire.ExtType, table []algorithm) []byte {
	v := wire.Supported{Algs: make([]wire.Alg, 0, len(table))}
	for i := range table {
		a := &table[i]
		v.Algs = append(v.Algs, wire.Alg{ID: a.id, IVLen: a.ivLen, MinBits: a.minBits, MaxBits: a.maxBits})
	}
	return k.d.AppendSupported(b, t, v)
}
