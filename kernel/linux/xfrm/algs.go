package xfrm

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/wire"
)

// mac is an algorithm of authentication.
type mac struct {
	is    *ipsec.MAC
	icv   int            // bytes
	takes func(int) bool // which keys the implementation takes, in bytes
}

// cipher is an algorithm of encryption.
type cipher struct {
	is    *ipsec.Cipher
	takes func(int) bool
}

// anyKey is what HMAC takes.
func anyKey(int) bool { return true }

func exactly(sizes ...int) func(int) bool {
	return func(n int) bool { return slices.Contains(sizes, n) }
}

func between(least, most int) func(int) bool {
	return func(n int) bool { return least <= n && n <= most }
}

// The algorithms that protect packets; compression is in ipcomp.go. To add one: a row, its implementation in package
// ipsec, and a row in package afkey.
var (
	macs = map[wire.AlgID]mac{
		wire.AuthNull:          {ipsec.NullMAC, 0, anyKey},
		wire.AuthMD5HMAC:       {ipsec.HMACMD5, 12, anyKey},
		wire.AuthSHA1HMAC:      {ipsec.HMACSHA1, 12, anyKey},
		wire.AuthSHA256HMAC:    {ipsec.HMACSHA256, 12, anyKey},
		wire.AuthSHA384HMAC:    {ipsec.HMACSHA384, 24, anyKey},
		wire.AuthSHA512HMAC:    {ipsec.HMACSHA512, 32, anyKey},
		wire.AuthRIPEMD160HMAC: {ipsec.HMACRIPEMD160, 12, anyKey},
		wire.AuthAESXCBCMAC:    {ipsec.AESXCBC, 12, exactly(16, 24, 32)},
	}
	ciphers = map[wire.AlgID]cipher{
		wire.EncNull:        {ipsec.NULL, exactly(0)},
		wire.EncDESCBC:      {ipsec.DESCBC, exactly(8)},
		wire.Enc3DESCBC:     {ipsec.TripleDES, exactly(24)},
		wire.EncCAST128CBC:  {ipsec.CAST128CBC, between(5, 16)},
		wire.EncBlowfishCBC: {ipsec.BlowfishCBC, between(4, 56)},
		wire.EncAESCBC:      {ipsec.AESCBC, exactly(16, 24, 32)},
		wire.EncSerpentCBC:  {ipsec.SerpentCBC, between(0, 32)},
		wire.EncCamelliaCBC: {ipsec.CamelliaCBC, exactly(16, 24, 32)},
		wire.EncTwofishCBC:  {ipsec.TwofishCBC, exactly(16, 24, 32)},
		wire.EncAESCTR:      {ipsec.AESCTR, exactly(20, 28, 36)},
	}
)

// newTransform makes what protects an SA's packets; nil if there is none: IPCOMP, and the few key lengths that no
// implementation for Go takes.
func newTransform(s *sa) *ipsec.Transform {
	suite := ipsec.Suite{Proto: ipsec.AH}
	switch s.Proto {
	case ip.ProtoAH:
	case ip.ProtoESP:
		suite.Proto = ipsec.ESP
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
func FillSuite(s *ipsec.Suite, auth, encrypt wire.AlgID, authKey, encryptKey []byte) {
	if a, ok := macs[auth]; ok {
		s.MAC, s.ICV, s.AuthKey = a.is, a.icv, ipsec.NewKey(authKey)
	}
	if a, ok := ciphers[encrypt]; ok && s.Proto == ipsec.ESP {
		split := len(encryptKey) - min(a.is.SaltLen, len(encryptKey))
		s.Cipher, s.Key, s.Salt = a.is, ipsec.NewKey(encryptKey[:split]), ipsec.NewKey(encryptKey[split:])
	}
}
