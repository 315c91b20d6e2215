package wire

import "slices"

// AlgID is an algorithm: of authentication, of encryption or of compression, as the field says that it stands in. It
// is a symbol: the number in a message is the dialect's, see [Dialect.Auth] and [Dialect.Encrypt]. 0 is none.
type AlgID uint16

// Authentication algorithms (RFC 2367 section 3.5) of every dialect. Which ones a dialect has, its table says.
const (
	AuthNone             AlgID = 0
	AuthMD5              AlgID = 1 // of TCP signatures only
	AuthMD5HMAC          AlgID = 2
	AuthSHA1HMAC         AlgID = 3
	AuthSHA256HMAC       AlgID = 5
	AuthSHA384HMAC       AlgID = 6
	AuthSHA512HMAC       AlgID = 7
	AuthRIPEMD160HMAC    AlgID = 8
	AuthAESXCBCMAC       AlgID = 9
	AuthSM3HMAC          AlgID = 10
	AuthAES128GMAC       AlgID = 11
	AuthAES192GMAC       AlgID = 12
	AuthAES256GMAC       AlgID = 13
	AuthChaCha20Poly1305 AlgID = 14  // behind the cipher of that name
	AuthKeyedMD5         AlgID = 249 // of RFC 1828
	AuthKeyedSHA1        AlgID = 250 // of RFC 1852
	AuthNull             AlgID = 251
)

// Encryption algorithms (RFC 2367 section 3.5) of every dialect. The number behind CCM and GCM is the size of the ICV,
// in bytes.
const (
	EncNone             AlgID = 0
	EncDESCBC           AlgID = 2
	Enc3DESCBC          AlgID = 3
	EncCAST128CBC       AlgID = 6
	EncBlowfishCBC      AlgID = 7
	EncNull             AlgID = 11
	EncAESCBC           AlgID = 12
	EncAESCTR           AlgID = 13
	EncAESCCM8          AlgID = 14
	EncAESCCM12         AlgID = 15
	EncAESCCM16         AlgID = 16
	EncAESGCM8          AlgID = 18
	EncAESGCM12         AlgID = 19
	EncAESGCM16         AlgID = 20
	EncCamelliaCBC      AlgID = 22
	EncNullAESGMAC      AlgID = 23
	EncSM4CBC           AlgID = 24
	EncChaCha20Poly1305 AlgID = 25
	EncSkipjackCBC      AlgID = 250
	EncSerpentCBC       AlgID = 252
	EncTwofishCBC       AlgID = 253
)

// Compression algorithms, in the encryption field of IPCOMP SAs.
const (
	CompOUI     AlgID = 1
	CompDeflate AlgID = 2
	CompLZS     AlgID = 3
	CompLZJH    AlgID = 4
)

// The algorithms with the numbers that they have in most dialects.
var (
	authAlgs = []row[AlgID]{
		{AuthNone, 0, "none"}, {AuthMD5, 1, "md5"}, {AuthMD5HMAC, 2, "hmac-md5"}, {AuthSHA1HMAC, 3, "hmac-sha1"},
		{AuthSHA256HMAC, 5, "hmac-sha256"}, {AuthSHA384HMAC, 6, "hmac-sha384"}, {AuthSHA512HMAC, 7, "hmac-sha512"},
		{AuthRIPEMD160HMAC, 8, "hmac-ripemd160"}, {AuthAESXCBCMAC, 9, "aes-xcbc-mac"}, {AuthSM3HMAC, 10, "hmac-sm3"},
		{AuthAES128GMAC, 11, "aes128-gmac"}, {AuthAES192GMAC, 12, "aes192-gmac"}, {AuthAES256GMAC, 13, "aes256-gmac"},
		{AuthChaCha20Poly1305, 14, "chacha20-poly1305"}, {AuthKeyedMD5, 249, "keyed-md5"},
		{AuthKeyedSHA1, 250, "keyed-sha1"}, {AuthNull, 251, "null"},
	}
	encryptAlgs = []row[AlgID]{
		{EncNone, 0, "none"}, {EncDESCBC, 2, "des-cbc"}, {Enc3DESCBC, 3, "3des-cbc"}, {EncCAST128CBC, 6, "cast128-cbc"},
		{EncBlowfishCBC, 7, "blowfish-cbc"}, {EncNull, 11, "null"}, {EncAESCBC, 12, "aes-cbc"},
		{EncAESCTR, 13, "aes-ctr"}, {EncAESCCM8, 14, "aes-ccm8"}, {EncAESCCM12, 15, "aes-ccm12"},
		{EncAESCCM16, 16, "aes-ccm16"}, {EncAESGCM8, 18, "aes-gcm8"}, {EncAESGCM12, 19, "aes-gcm12"},
		{EncAESGCM16, 20, "aes-gcm16"}, {EncCamelliaCBC, 22, "camellia-cbc"}, {EncNullAESGMAC, 23, "null-aes-gmac"},
		{EncSM4CBC, 24, "sm4-cbc"}, {EncChaCha20Poly1305, 25, "chacha20-poly1305"},
		{EncSkipjackCBC, 250, "skipjack-cbc"},
		{EncSerpentCBC, 252, "serpent-cbc"}, {EncTwofishCBC, 253, "twofish-cbc"},
	}
	compressAlgs = []row[AlgID]{
		{CompOUI, 1, "oui"}, {CompDeflate, 2, "deflate"}, {CompLZS, 3, "lzs"}, {CompLZJH, 4, "lzjh"},
	}
)

// these are the rows of some symbols.
func these[S ~uint16](rows []row[S], symbols ...S) []row[S] {
	return slices.DeleteFunc(slices.Clone(rows), func(r row[S]) bool { return !slices.Contains(symbols, r.symbol) })
}
