package xfrm

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
)

// algorithm is how an algorithm is done here.
type algorithm struct {
	mac    *ipsec.MAC // nil: not one of authentication
	icvLen int        // bytes, of one of authentication
	cipher *ipsec.Cipher
	// keyOK is what the implementation takes, in bytes, which is not what REGISTER says; nil: anything.
	keyOK func(n int) bool
}

func exactly(sizes ...int) func(int) bool {
	return func(n int) bool { return slices.Contains(sizes, n) }
}

func between(least, most int) func(int) bool {
	return func(n int) bool { return least <= n && n <= most }
}

// algorithms are those that protect packets; compression is in ipcomp.go. To add one: a row, its symbol in package
// transform, its implementation in package ipsec, and its number in package afkey.
var algorithms = [...]algorithm{
	transform.DigestNull:    {mac: ipsec.NullMAC},
	transform.HMACMD5:       {mac: ipsec.HMACMD5, icvLen: 12},
	transform.HMACSHA1:      {mac: ipsec.HMACSHA1, icvLen: 12},
	transform.HMACSHA256:    {mac: ipsec.HMACSHA256, icvLen: 12},
	transform.HMACSHA384:    {mac: ipsec.HMACSHA384, icvLen: 24},
	transform.HMACSHA512:    {mac: ipsec.HMACSHA512, icvLen: 32},
	transform.HMACRIPEMD160: {mac: ipsec.HMACRIPEMD160, icvLen: 12},
	transform.AESXCBC:       {mac: ipsec.AESXCBC, icvLen: 12, keyOK: exactly(16, 24, 32)},

	transform.CipherNull:   {cipher: ipsec.NULL, keyOK: exactly(0)},
	transform.DESCBC:       {cipher: ipsec.DESCBC, keyOK: exactly(8)},
	transform.TripleDESCBC: {cipher: ipsec.TripleDES, keyOK: exactly(24)},
	transform.CAST128CBC:   {cipher: ipsec.CAST128CBC, keyOK: between(5, 16)},
	transform.BlowfishCBC:  {cipher: ipsec.BlowfishCBC, keyOK: between(4, 56)},
	transform.AESCBC:       {cipher: ipsec.AESCBC, keyOK: exactly(16, 24, 32)},
	transform.SerpentCBC:   {cipher: ipsec.SerpentCBC, keyOK: between(0, 32)},
	transform.CamelliaCBC:  {cipher: ipsec.CamelliaCBC, keyOK: exactly(16, 24, 32)},
	transform.TwofishCBC:   {cipher: ipsec.TwofishCBC, keyOK: exactly(16, 24, 32)},
	transform.AESCTR:       {cipher: ipsec.AESCTR, keyOK: exactly(20, 28, 36)},
}

// macOf is the row of an algorithm of authentication; nil if it is none.
func macOf(a transform.Algorithm) *algorithm {
	if int(a) < len(algorithms) && algorithms[a].mac != nil {
		return &algorithms[a]
	}
	return nil
}

// cipherOf is the row of an algorithm of encryption; nil if it is none.
func cipherOf(a transform.Algorithm) *algorithm {
	if int(a) < len(algorithms) && algorithms[a].cipher != nil {
		return &algorithms[a]
	}
	return nil
}

// takes tells whether the implementation accepts a key of n bytes. What is not there takes none.
func (a *algorithm) takes(n int) bool { return a != nil && (a.keyOK == nil || a.keyOK(n)) }

// newTransform makes what protects an SA's packets; nil if there is none: IPCOMP, and the few key lengths that no
// implementation for Go takes.
func newTransform(s *sa) *ipsec.Transform {
	suite := ipsec.Suite{Proto: ipsec.AH}
	switch s.Proto {
	case ip.ProtoAH:
	case ip.ProtoESP:
		suite.Proto = ipsec.ESP
		if cipherOf(s.Encrypt) == nil {
			return nil
		}
	default:
		return nil
	}
	FillSuite(&suite, s.Auth, s.Encrypt, s.AuthKey(), s.EncryptKey())
	t, err := suite.New()
	if err != nil {
		return nil
	}
	t.OwnKeys()
	return t
}

// FillSuite sets algorithms and keys of a suite of ESP or AH, where there are such algorithms. The key of a cipher has
// its salt at the end.
func FillSuite(s *ipsec.Suite, auth, encrypt transform.Algorithm, authKey, encryptKey []byte) {
	if a := macOf(auth); a != nil {
		s.MAC, s.ICV, s.AuthKey = a.mac, a.icvLen, ipsec.NewKey(authKey)
	}
	if a := cipherOf(encrypt); s.Proto == ipsec.ESP && a != nil {
		split := len(encryptKey) - min(a.cipher.SaltLen, len(encryptKey))
		s.Cipher, s.Key, s.Salt = a.cipher, ipsec.NewKey(encryptKey[:split]), ipsec.NewKey(encryptKey[split:])
	}
}
