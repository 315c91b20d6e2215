package headers

import "github.com/pfkeyd/pfkeyd/wire"

// A system is what the headers of a kernel have of their own, beside the numbers and layouts of its dialect.
type system struct {
	name    string            // of the dialect
	selects [][2]string       // the macros that say which system it is, and their values; none: this machine's
	structs map[string]string // structures with other members than most have
	most    most
	bsd     bool // its algorithms and flags have the BSDs' names; else Linux'
	openbsd bool // and where they differ, OpenBSD's; its policies are flows
	scopes  bool // policies have scopes
	flags   bool // policies have flags
}

// most are the largest numbers that the headers tell of. Some of them are not those of the tables.
type most struct{ satype, auth, encrypt, comp int }

// systems are those there are, in alphabetical order. To add one: a row.
var systems = []system{
	{
		name:    "freebsd",
		selects: [][2]string{{"__FreeBSD__", "13"}, {"__FreeBSD_version", "1300139"}},
		structs: map[string]string{"sadb_x_policy": "len exttype type dir scope id priority"},
		most:    most{satype: 12, auth: 252, encrypt: 23, comp: 4},
		bsd:     true,
		scopes:  true,
	},
	{
		name: "linux",
		structs: map[string]string{
			"sadb_x_ipsecrequest": "len proto mode level reserved1 reqid reserved2",
		},
		most: most{satype: 9, auth: 251, encrypt: 253, comp: 4},
	},
	{
		name:    "netbsd",
		selects: [][2]string{{"__NetBSD__", "1"}, {"__NetBSD_Version__", "1099001200"}},
		structs: map[string]string{"sadb_x_policy": "len exttype type dir flags id reserved2"},
		most:    most{satype: 12, auth: 251, encrypt: 250, comp: 4},
		bsd:     true,
		flags:   true,
	},
	{
		name:    "openbsd",
		selects: [][2]string{{"__OpenBSD__", "1"}},
		structs: map[string]string{
			"sadb_address": "len exttype reserved", "sadb_prop": "len exttype num replay reserved",
		},
		most:    most{satype: 9, auth: 12, encrypt: 22, comp: 2},
		bsd:     true,
		openbsd: true,
	},
}

// A spelling is the name of a number without SADB_: on the BSDs, on Linux and on OpenBSD where they have others, and
// what else KAME's heirs call it.
type spelling[T any] struct {
	symbol              T
	bsd, linux, openbsd string
	also                string
}

// absent is the name of what OpenBSD does not have.
const absent = "-"

var satypes = []spelling[wire.SAType]{
	{symbol: wire.SATypeUnspec, bsd: "SATYPE_UNSPEC"},
	{symbol: wire.SATypeAH, bsd: "SATYPE_AH"},
	{symbol: wire.SATypeESP, bsd: "SATYPE_ESP"},
	{symbol: wire.SATypeRSVP, bsd: "SATYPE_RSVP"},
	{symbol: wire.SATypeOSPFv2, bsd: "SATYPE_OSPFV2"},
	{symbol: wire.SATypeRIPv2, bsd: "SATYPE_RIPV2"},
	{symbol: wire.SATypeMIP, bsd: "SATYPE_MIP"},
	{symbol: wire.SATypeIPComp, bsd: "X_SATYPE_IPCOMP"},
	{symbol: wire.SATypeTCPSig, bsd: "X_SATYPE_TCPSIGNATURE"},
	{symbol: wire.SATypeIPIP, openbsd: "X_SATYPE_IPIP"},
}

var auths = []spelling[wire.AlgID]{
	{symbol: wire.AuthNone, bsd: "AALG_NONE"},
	{symbol: wire.AuthMD5HMAC, bsd: "AALG_MD5HMAC"},
	{symbol: wire.AuthSHA1HMAC, bsd: "AALG_SHA1HMAC"},
	{symbol: wire.AuthSHA256HMAC, bsd: "X_AALG_SHA2_256", linux: "X_AALG_SHA2_256HMAC"},
	{symbol: wire.AuthSHA384HMAC, bsd: "X_AALG_SHA2_384", linux: "X_AALG_SHA2_384HMAC"},
	{symbol: wire.AuthSHA512HMAC, bsd: "X_AALG_SHA2_512", linux: "X_AALG_SHA2_512HMAC"},
	{symbol: wire.AuthRIPEMD160HMAC, bsd: "X_AALG_RIPEMD160HMAC"},
	{symbol: wire.AuthAESXCBCMAC, bsd: "X_AALG_AES_XCBC_MAC"},
	{symbol: wire.AuthSM3HMAC, linux: "X_AALG_SM3_256HMAC"},
	{symbol: wire.AuthAES128GMAC, bsd: "X_AALG_AES128GMAC"},
	{symbol: wire.AuthAES192GMAC, bsd: "X_AALG_AES192GMAC"},
	{symbol: wire.AuthAES256GMAC, bsd: "X_AALG_AES256GMAC"},
	{symbol: wire.AuthChaCha20Poly1305, openbsd: "X_AALG_CHACHA20POLY1305"},
	{symbol: wire.AuthKeyedMD5, bsd: "X_AALG_MD5"},
	{symbol: wire.AuthKeyedSHA1, bsd: "X_AALG_SHA"},
	{symbol: wire.AuthNull, bsd: "X_AALG_NULL"},
	{symbol: wire.AuthMD5, bsd: "X_AALG_TCP_MD5"},
}

var encrypts = []spelling[wire.AlgID]{
	{symbol: wire.EncNone, bsd: "EALG_NONE"},
	{symbol: wire.EncDESCBC, bsd: "EALG_DESCBC", openbsd: absent}, // there it is a compression
	{symbol: wire.Enc3DESCBC, bsd: "EALG_3DESCBC"},
	{symbol: wire.EncCAST128CBC, bsd: "X_EALG_CAST128CBC", linux: "X_EALG_CASTCBC", openbsd: "X_EALG_CAST"},
	{symbol: wire.EncBlowfishCBC, bsd: "X_EALG_BLOWFISHCBC", openbsd: "X_EALG_BLF"},
	{symbol: wire.EncNull, bsd: "EALG_NULL"},
	{symbol: wire.EncAESCBC, bsd: "X_EALG_AES", linux: "X_EALG_AESCBC", also: "X_EALG_AESCBC X_EALG_RIJNDAELCBC"},
	{symbol: wire.EncAESCTR, bsd: "X_EALG_AESCTR"},
	{symbol: wire.EncAESCCM8, linux: "X_EALG_AES_CCM_ICV8"},
	{symbol: wire.EncAESCCM12, linux: "X_EALG_AES_CCM_ICV12"},
	{symbol: wire.EncAESCCM16, linux: "X_EALG_AES_CCM_ICV16"},
	{symbol: wire.EncAESGCM8, bsd: "X_EALG_AESGCM8", linux: "X_EALG_AES_GCM_ICV8"},
	{symbol: wire.EncAESGCM12, bsd: "X_EALG_AESGCM12", linux: "X_EALG_AES_GCM_ICV12"},
	{symbol: wire.EncAESGCM16, bsd: "X_EALG_AESGCM16", linux: "X_EALG_AES_GCM_ICV16"},
	{symbol: wire.EncCamelliaCBC, bsd: "X_EALG_CAMELLIACBC"},
	{symbol: wire.EncNullAESGMAC, bsd: "X_EALG_AESGMAC", linux: "X_EALG_NULL_AES_GMAC"},
	{symbol: wire.EncChaCha20Poly1305, openbsd: "X_EALG_CHACHA20POLY1305"},
	{symbol: wire.EncSM4CBC, linux: "X_EALG_SM4CBC"},
	{symbol: wire.EncSkipjackCBC, bsd: "X_EALG_SKIPJACK"},
	{symbol: wire.EncSerpentCBC, linux: "X_EALG_SERPENTCBC"},
	{symbol: wire.EncTwofishCBC, linux: "X_EALG_TWOFISHCBC"},
}

var modes = []spelling[wire.Mode]{
	{symbol: wire.ModeAny, bsd: "ANY"},
	{symbol: wire.ModeTransport, bsd: "TRANSPORT"},
	{symbol: wire.ModeTunnel, bsd: "TUNNEL"},
	{symbol: wire.ModeBEET, linux: "BEET"},
	{symbol: wire.ModeTCPMD5, bsd: "TCPMD5"},
}
