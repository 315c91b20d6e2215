package freebsd

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

// auths are the algorithms of authentication by their numbers. Keys are not those that are announced: up to a block of
// the hash, and at least a byte.
var auths = []kame.Algorithm{
	{Alg: exactly(wire.AuthSHA1HMAC, 160), Takes: kame.KeyRange(8, 512), MAC: ipsec.HMACSHA1, ICV: 12},
	{Alg: exactly(wire.AuthSHA256HMAC, 256), Takes: kame.KeyRange(8, 512), MAC: ipsec.HMACSHA256, ICV: 16},
	{Alg: exactly(wire.AuthSHA384HMAC, 384), Takes: kame.KeyRange(8, 1024), MAC: ipsec.HMACSHA384, ICV: 24},
	{Alg: exactly(wire.AuthSHA512HMAC, 512), Takes: kame.KeyRange(8, 1024), MAC: ipsec.HMACSHA512, ICV: 32},
	{Alg: exactly(wire.AuthAES128GMAC, 128), Takes: kame.KeyBits(128), NoDriver: true},
	{Alg: exactly(wire.AuthAES192GMAC, 128), Takes: kame.KeyBits(128, 192), NoDriver: true},
	{Alg: exactly(wire.AuthAES256GMAC, 128), Takes: kame.KeyBits(128, 192, 256), NoDriver: true},
	{Alg: wire.Alg{ID: wire.AuthNull, MinBits: 8, MaxBits: 2048}, Takes: kame.AnyKey, MAC: ipsec.ZeroMAC, ICV: 12},
}

// encrypts are the algorithms of encryption by their numbers. Keys of those with a salt are 32 bits longer than
// announced.
var encrypts = []kame.Algorithm{
	{Alg: wire.Alg{ID: wire.EncNull, MaxBits: 2048}, Takes: kame.AnyKey, Cipher: ipsec.NULL, Block: 4},
	{Alg: wire.Alg{ID: wire.EncAESCBC, IVLen: 16, MinBits: 128, MaxBits: 256}, Takes: kame.KeyBits(128, 192, 256),
		Cipher: ipsec.AESCBC, Block: 16},
	{Alg: wire.Alg{ID: wire.EncAESCTR, IVLen: 16, MinBits: 128, MaxBits: 256}, Takes: kame.KeyBits(160, 224, 288),
		Cipher: ipsec.AESCTR, Block: 16},
	{Alg: wire.Alg{ID: wire.EncAESGCM16, IVLen: 12, MinBits: 128, MaxBits: 256}, Takes: kame.KeyBits(160, 224, 288),
		Cipher: ipsec.AESGCM, ICV: 16, Block: 1, Alone: true},
	{Alg: wire.Alg{ID: wire.EncNullAESGMAC, IVLen: 12, MinBits: 128, MaxBits: 256}},
}

// Suite is [kame.Suite] of this page.
func Suite(_ *wire.Dialect, sa *pfkey.SA) (s *ipsec.Suite, tunnel bool, udp ipsec.Ports, err error) {
	return kame.Suite(&page, sa)
}

// AlignESP is [kame.AlignESP] of this page.
func AlignESP(s *ipsec.Suite) int { return kame.AlignESP(&page, s) }
