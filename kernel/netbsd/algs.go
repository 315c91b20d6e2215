package netbsd

import (
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// exactly announces keys of one length in bits.
func exactly(id wire.AlgID, bits uint16) wire.Alg {
	return wire.Alg{ID: id, MinBits: bits, MaxBits: bits}
}

// auths are the algorithms of authentication by their numbers. A key has exactly the length that is announced.
var auths = []kame.Algorithm{
	{Alg: exactly(wire.AuthMD5HMAC, 128), Takes: kame.KeyBits(128), MAC: ipsec.HMACMD5, ICV: 12},
	{Alg: exactly(wire.AuthSHA1HMAC, 160), Takes: kame.KeyBits(160), MAC: ipsec.HMACSHA1, ICV: 12},
	{Alg: exactly(wire.AuthSHA256HMAC, 256), Takes: kame.KeyBits(256), MAC: ipsec.HMACSHA256, ICV: 16},
	{Alg: exactly(wire.AuthSHA384HMAC, 384), Takes: kame.KeyBits(384), MAC: ipsec.HMACSHA384, ICV: 24},
	{Alg: exactly(wire.AuthSHA512HMAC, 512), Takes: kame.KeyBits(512), MAC: ipsec.HMACSHA512, ICV: 32},
	{Alg: exactly(wire.AuthRIPEMD160HMAC, 160), Takes: kame.KeyBits(160), MAC: ipsec.HMACRIPEMD160, ICV: 12},
	{Alg: exactly(wire.AuthAESXCBCMAC, 128), Takes: kame.KeyBits(128), MAC: ipsec.AESXCBC, ICV: 12},
	{Alg: exactly(wire.AuthKeyedMD5, 128), Takes: kame.KeyBits(128), MAC: ipsec.KeyedMD5, ICV: 16},
	{Alg: exactly(wire.AuthKeyedSHA1, 160), Takes: kame.KeyBits(160), MAC: ipsec.KeyedSHA1, ICV: 20},
	{Alg: wire.Alg{ID: wire.AuthNull, MaxBits: 2048}, Takes: kame.AnyKey, MAC: ipsec.ZeroMAC, ICV: 12},
}

// encrypts are the algorithms of encryption by their numbers. What is announced as the length of the IV is that of the
// block.
var encrypts = []kame.Algorithm{
	{Alg: wire.Alg{ID: wire.EncDESCBC, IVLen: 8, MinBits: 64, MaxBits: 64}, Takes: kame.KeyBits(64),
		Cipher: ipsec.DESCBC, Block: 8},
	{Alg: wire.Alg{ID: wire.Enc3DESCBC, IVLen: 8, MinBits: 192, MaxBits: 192}, Takes: kame.KeyBits(192),
		Cipher: ipsec.TripleDES, Block: 8},
	{Alg: wire.Alg{ID: wire.EncCAST128CBC, IVLen: 8, MinBits: 40, MaxBits: 128}, Takes: kame.KeyRange(40, 128),
		Cipher: ipsec.CAST128CBC, Block: 8},
	{Alg: wire.Alg{ID: wire.EncBlowfishCBC, IVLen: 8, MinBits: 40, MaxBits: 448}, Takes: kame.KeyRange(40, 448),
		Cipher: ipsec.BlowfishCBC, Block: 8},
	{Alg: wire.Alg{ID: wire.EncNull, IVLen: 4, MaxBits: 2048}, Takes: kame.AnyKey, Cipher: ipsec.NULL, Block: 4},
	{Alg: wire.Alg{ID: wire.EncAESCBC, IVLen: 16, MinBits: 128, MaxBits: 256}, Takes: kame.KeyBits(128, 192, 256),
		Cipher: ipsec.AESCBC, Block: 16},
	{Alg: wire.Alg{ID: wire.EncAESCTR, IVLen: 16, MinBits: 160, MaxBits: 288}, Takes: kame.KeyBits(160, 224, 288),
		Cipher: ipsec.AESCTR, Block: 16},
	{Alg: wire.Alg{ID: wire.EncAESGCM16, IVLen: 4, MinBits: 160, MaxBits: 288}, Takes: kame.KeyBits(160, 224, 288),
		Cipher: ipsec.AESGCM, ICV: 16, Block: 4},
	{Alg: wire.Alg{ID: wire.EncCamelliaCBC, IVLen: 16, MinBits: 64, MaxBits: 256}, Takes: kame.KeyBits(128, 192, 256),
		Cipher: ipsec.CamelliaCBC, Block: 16},
	{Alg: wire.Alg{ID: wire.EncNullAESGMAC, IVLen: 4, MinBits: 160, MaxBits: 288}, Takes: kame.KeyBits(160, 224, 288),
		Cipher: ipsec.AESGMAC, ICV: 16, Block: 4},
	{Alg: wire.Alg{ID: wire.EncSkipjackCBC, IVLen: 8, MinBits: 80, MaxBits: 80}, Takes: kame.KeyBits(80),
		Cipher: ipsec.SkipjackCBC, Block: 8},
}

// Suite is [kame.Suite] of this page.
func Suite(_ *wire.Dialect, sa *pfkey.SA) (s *ipsec.Suite, tunnel bool, udp ipsec.Ports, err error) {
	return kame.Suite(&page, sa)
}

// AlignESP is [kame.AlignESP] of this page.
func AlignESP(s *ipsec.Suite) int { return kame.AlignESP(&page, s) }
