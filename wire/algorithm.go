package wire

// Authentication algorithms (RFC 2367 section 3.5) of every dialect. Which ones a dialect has, its table says.
const (
	AuthNone          uint8 = 0
	AuthMD5           uint8 = 1 // of TCP signatures only
	AuthMD5HMAC       uint8 = 2
	AuthSHA1HMAC      uint8 = 3
	AuthSHA256HMAC    uint8 = 5
	AuthSHA384HMAC    uint8 = 6
	AuthSHA512HMAC    uint8 = 7
	AuthRIPEMD160HMAC uint8 = 8
	AuthAESXCBCMAC    uint8 = 9
	AuthSM3HMAC       uint8 = 10
	AuthNull          uint8 = 251
)

// Encryption algorithms (RFC 2367 section 3.5) of every dialect. The number behind CCM and GCM is the size of the ICV,
// in bytes.
const (
	EncNone        uint8 = 0
	EncDESCBC      uint8 = 2
	Enc3DESCBC     uint8 = 3
	EncCAST128CBC  uint8 = 6
	EncBlowfishCBC uint8 = 7
	EncNull        uint8 = 11
	EncAESCBC      uint8 = 12
	EncAESCTR      uint8 = 13
	EncAESCCM8     uint8 = 14
	EncAESCCM12    uint8 = 15
	EncAESCCM16    uint8 = 16
	EncAESGCM8     uint8 = 18
	EncAESGCM12    uint8 = 19
	EncAESGCM16    uint8 = 20
	EncCamelliaCBC uint8 = 22
	EncNullAESGMAC uint8 = 23
	EncSM4CBC      uint8 = 24
	EncSerpentCBC  uint8 = 252
	EncTwofishCBC  uint8 = 253
)

// Compression algorithms, in the encryption field of IPCOMP SAs.
const (
	CompOUI     uint8 = 1
	CompDeflate uint8 = 2
	CompLZS     uint8 = 3
	CompLZJH    uint8 = 4
)
