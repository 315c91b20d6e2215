package wire

import "slices"

// KAME's code is the ancestor of the key engines of NetBSD, FreeBSD and Darwin, and Linux took its message format over.
// What is here means the same in all of them.

// Message types of KAME beyond the RFC.
const (
	KAMEMsgXPChange        MsgType = 12
	KAMEMsgXSPDUpdate      MsgType = 13
	KAMEMsgXSPDAdd         MsgType = 14
	KAMEMsgXSPDDelete      MsgType = 15
	KAMEMsgXSPDGet         MsgType = 16
	KAMEMsgXSPDAcquire     MsgType = 17
	KAMEMsgXSPDDump        MsgType = 18
	KAMEMsgXSPDFlush       MsgType = 19
	KAMEMsgXSPDSetIdx      MsgType = 20
	KAMEMsgXSPDExpire      MsgType = 21
	KAMEMsgXSPDDelete2     MsgType = 22
	KAMEMsgXNATTNewMapping MsgType = 23
)

// Extension types of KAME beyond the RFC.
const (
	KAMEExtXKMPrivate ExtType = 17
	KAMEExtXPolicy    ExtType = 18
	KAMEExtXSA2       ExtType = 19
	KAMEExtXNATTType  ExtType = 20
	KAMEExtXNATTSPort ExtType = 21
	KAMEExtXNATTDPort ExtType = 22
	KAMEExtXNATTOA    ExtType = 23 // an address: the original one behind the NAT; on the BSDs the initiator's, OAI
)

// Extension types of NetBSD and FreeBSD, which Linux did not take over.
const (
	KAMEExtXNATTOAR  ExtType = iota + IllumosExtXStrAuth + 1 // an address: the responder's original one
	KAMEExtXNATTFrag                                         // [NATTFrag]
)

// Mode is the mode of an SA or of an IPsec request. It is a symbol: the number in a message is the dialect's, see
// [Dialect.Mode] and [Dialect.ModeNumber].
type Mode uint16

// Modes. BEET is Linux' own, and TCPMD5, of a TCP signature, that of NetBSD and FreeBSD.
const (
	ModeAny       Mode = 0
	ModeTransport Mode = 1
	ModeTunnel    Mode = 2
	ModeBEET      Mode = 3
	ModeTCPMD5    Mode = 4
)

// String is the name in lower case, such as tunnel, or unknown(0x2a).
func (m Mode) String() string { return symbolName(m, allModes...) }

// SA flags of KAME.
const (
	KAMEFlagXOld    SAFlags = 0x001 // the transforms of RFC 1826 and 1827, without a sequence number; [FlagPFS], too
	KAMEFlagXIV4B   SAFlags = 0x010 // an IV of 4 bytes
	KAMEFlagXDeriv  SAFlags = 0x020 // the key is derived
	KAMEFlagXCycSeq SAFlags = 0x040 // the sequence number may start again
	KAMEFlagXRawCPI SAFlags = 0x080 // the CPI of IPComp is the SPI, any 32 bits
	KAMEFlagXPRand  SAFlags = 0x100 // padding of random bytes
	KAMEFlagXPZero  SAFlags = 0x200 // padding of zeros
)

// PolicyType is what a [Policy] does with packets.
type PolicyType = uint16

// Policy types.
const (
	KAMEPolicyDiscard PolicyType = 0
	KAMEPolicyNone    PolicyType = 1
	KAMEPolicyIPsec   PolicyType = 2
	KAMEPolicyEntrust PolicyType = 3 // of sockets only
	KAMEPolicyBypass  PolicyType = 4 // of sockets only
)

// Direction is the direction of a [Policy].
type Direction = uint8

// Directions of a policy.
const (
	KAMEDirAny Direction = 0
	KAMEDirIn  Direction = 1
	KAMEDirOut Direction = 2
)

// Level says how much an [IPsecRequest] is demanded.
type Level = uint8

// Levels of an IPsec request.
const (
	KAMELevelDefault Level = 0
	KAMELevelUse     Level = 1
	KAMELevelRequire Level = 2
	KAMELevelUnique  Level = 3
)

// NATTKind is a kind of the UDP encapsulation.
type NATTKind = uint8

// NAT-T encapsulations.
const (
	KAMENATTNonIKE NATTKind = 1 // the draft with the non-IKE marker
	KAMENATTESP    NATTKind = 2 // RFC 3948
)

var kameMsgs = []msgRow{
	msg(KAMEMsgXPChange, 12, "X_PCHANGE", "", "unused"),
	msg(KAMEMsgXSPDUpdate, 13, "X_SPDUPDATE", "", "change a policy, or add it"),
	msg(KAMEMsgXSPDAdd, 14, "X_SPDADD", "", "add a policy"),
	msg(KAMEMsgXSPDDelete, 15, "X_SPDDELETE", "", "delete the policy of a selector"),
	msg(KAMEMsgXSPDGet, 16, "X_SPDGET", "", "look up a policy by its id"),
	msg(KAMEMsgXSPDAcquire, 17, "X_SPDACQUIRE", "", "unused"),
	msg(KAMEMsgXSPDDump, 18, "X_SPDDUMP", "", "list all policies"),
	msg(KAMEMsgXSPDFlush, 19, "X_SPDFLUSH", "", "delete all policies"),
	msg(KAMEMsgXSPDSetIdx, 20, "X_SPDSETIDX", "", "add a policy, as X_SPDADD does"),
	msg(KAMEMsgXSPDExpire, 21, "X_SPDEXPIRE", "", "a lifetime limit of a policy was reached"),
	msg(KAMEMsgXSPDDelete2, 22, "X_SPDDELETE2", "", "delete a policy by its id"),
}

var nattMsgs = []msgRow{msg(KAMEMsgXNATTNewMapping, 23, "X_NAT_T_NEW_MAPPING", "",
	"the address or port of a peer behind a NAT has changed")}

var (
	kameSATypes = []row[SAType]{{SATypeIPComp, 9, "ipcomp"}}
	kameModes   = []row[Mode]{{ModeAny, 0, "any"}, {ModeTransport, 1, "transport"}, {ModeTunnel, 2, "tunnel"}}
	tcpMD5Modes = []row[Mode]{{ModeTCPMD5, 3, "tcp-md5"}}
	kameIdents  = []name{{0, "reserved"}, {1, "prefix"}, {2, "fqdn"}, {3, "user-fqdn"}, {4, "addr"}}
	kameAuths   = these(authAlgs, AuthNone, AuthMD5HMAC, AuthSHA1HMAC, AuthSHA256HMAC, AuthSHA384HMAC, AuthSHA512HMAC,
		AuthRIPEMD160HMAC, AuthAESXCBCMAC, AuthNull)
	kameEncrypts = these(encryptAlgs, EncNone, EncDESCBC, Enc3DESCBC, EncCAST128CBC, EncBlowfishCBC, EncNull, EncAESCBC,
		EncAESCTR, EncAESGCM8, EncAESGCM12, EncAESGCM16, EncCamelliaCBC, EncNullAESGMAC)
)

// What NetBSD and FreeBSD have besides.
var (
	bsdSATypes = []row[SAType]{{SATypeTCPSig, 11, "tcpsig"}}
	bsdAuths   = slices.Concat(these(authAlgs, AuthAES128GMAC, AuthAES192GMAC, AuthAES256GMAC, AuthKeyedMD5,
		AuthKeyedSHA1), []row[AlgID]{{AuthMD5, 252, "md5"}})
	bsdFlags = []name{
		{0x001, "PFS"}, {0x010, "X_IV4B"}, {0x020, "X_DERIV"}, {0x040, "X_CYCSEQ"}, {0x080, "X_RAWCPI"},
		{0x100, "X_PRAND"}, {0x200, "X_PZERO"},
	}
	bsdExts = []extRow{
		{typ: KAMEExtXNATTOA, name: "X_NAT_T_OAI", short: "nattoai", meaning: "initiator's address in front of the NAT",
			shape: shapeAddress},
		{typ: KAMEExtXNATTOAR, number: 24, name: "X_NAT_T_OAR", short: "nattoar",
			meaning: "responder's address in front of the NAT", shape: shapeAddress},
		{typ: KAMEExtXNATTFrag, number: 25, name: "X_NAT_T_FRAG", short: "nattfrag",
			meaning: "size above which packets are cut before ESP", shape: shapeNATTFrag},
	}
)
