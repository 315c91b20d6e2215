package wire

import "slices"

// Message types of illumos beyond the RFC.
const (
	IllumosMsgXInverseAcquire MsgType = iota + LinuxMsgXMigrate + 1
	IllumosMsgXUpdatePair
	IllumosMsgXDelPair
	IllumosMsgXDelPairState
)

// IllumosExtXAddressInnerSrc is what illumos calls the RFC's ADDRESS_PROXY.
const IllumosExtXAddressInnerSrc ExtType = ExtAddressProxy

// Extension types of illumos beyond the RFC.
const (
	IllumosExtXEReg ExtType = iota + LinuxExtXFilter + 1
	IllumosExtXEProp
	IllumosExtXKMCookie
	IllumosExtXAddressNattLoc
	IllumosExtXAddressNattRem
	IllumosExtXAddressInnerDst
	IllumosExtXPair
	IllumosExtXReplayValue
	IllumosExtXEDump
	IllumosExtXLifetimeIdle
	IllumosExtXOuterSens
	IllumosExtXStrAuth // since 2024
)

// SA states of illumos beyond the RFC.
const (
	IllumosStateXActiveElsewhere State = 4 // another node of the cluster handles it
	IllumosStateXIdle            State = 5
	IllumosStateXActive          State = 6 // only asked for, by UPDATE
)

// SA flags of illumos.
const (
	IllumosFlagNoReplay  SAFlags = 0x00000002
	IllumosFlagXNatted   SAFlags = 0x00001000
	IllumosFlagXTCPSig   SAFlags = 0x00002000 // since 2024
	IllumosFlagXInbound  SAFlags = 0x00004000
	IllumosFlagXOutbound SAFlags = 0x00008000
	IllumosFlagXPaired   SAFlags = 0x00010000
	IllumosFlagXTunnel   SAFlags = 0x00020000
	IllumosFlagKRes2     SAFlags = 0x00040000 // the kernel's own
	IllumosFlagXNattRem  SAFlags = 0x00080000
	IllumosFlagXNattLoc  SAFlags = 0x00100000
	IllumosFlagKRes1     SAFlags = 0x00200000 // the kernel's own
	IllumosFlagXKM4      SAFlags = 0x00400000 // KM1 to KM4 belong to key management
	IllumosFlagXKM3      SAFlags = 0x00800000
	IllumosFlagXKM2      SAFlags = 0x01000000
	IllumosFlagXKM1      SAFlags = 0x02000000
	IllumosFlagXEAlg2    SAFlags = 0x04000000
	IllumosFlagXEAlg1    SAFlags = 0x08000000
	IllumosFlagXAAlg2    SAFlags = 0x10000000
	IllumosFlagXAAlg1    SAFlags = 0x20000000
	IllumosFlagXUnique   SAFlags = 0x40000000 // selectors narrow the SA
	IllumosFlagXUsed     SAFlags = 0x80000000
)

// Identity types of illumos beyond the RFC.
const (
	IllumosIdentXDN        IdentType = 4
	IllumosIdentXGN        IdentType = 5
	IllumosIdentXKeyID     IdentType = 6
	IllumosIdentXAddrRange IdentType = 7
)

// SensitivityFlags are the flags of a sensitivity extension, a set of bits.
type SensitivityFlags = uint32

// Flags of a sensitivity extension of illumos.
const (
	IllumosSensImplicit  SensitivityFlags = 1
	IllumosSensUnlabeled SensitivityFlags = 2
)

// AlgType is what the algorithm of an [AlgDesc] is for.
type AlgType = uint8

// What the algorithm of an [AlgDesc] is for.
const (
	IllumosAlgTypeNone     AlgType = 0
	IllumosAlgTypeAuth     AlgType = 1
	IllumosAlgTypeCrypt    AlgType = 2
	IllumosAlgTypeCompress AlgType = 3
)

// KMProtocol is the key management protocol of a [KMCookie].
type KMProtocol = uint32

// Key management protocols of a [KMCookie].
const (
	IllumosKMPManual KMProtocol = 0
	IllumosKMPIKE    KMProtocol = 1
	IllumosKMPKINK   KMProtocol = 2
	IllumosKMPIKEv2  KMProtocol = 3
)

var illumosMsgs = []msgRow{
	msg(IllumosMsgXInverseAcquire, 12, "X_INVERSE_ACQUIRE", "",
		"ask which SAs the policy wants for an outgoing packet"),
	msg(IllumosMsgXUpdatePair, 13, "X_UPDATEPAIR", "", "change an SA and the one it is paired with"),
	msg(IllumosMsgXDelPair, 14, "X_DELPAIR", "", "delete an SA and the one it is paired with"),
	msg(IllumosMsgXDelPairState, 15, "X_DELPAIR_STATE", "", "delete pairs in a given state"),
}

var illumosSATypes = []row[SAType]{{SATypeTCPSig, 4, "tcpsig"}}

var illumosDialect = newDialect(Dialect{Name: "illumos", AFInet: 2, AFInet6: 26}, tables{
	msgs:    numbered(allMsgRows, msgRows(rfcMsgs, illumosMsgs)...),
	satypes: numbered(allSATypes, rfcSATypes, illumosSATypes),
	auths: numbered(allAuths, these(authAlgs, AuthNone, AuthMD5, AuthMD5HMAC, AuthSHA1HMAC, AuthSHA256HMAC,
		AuthSHA384HMAC, AuthSHA512HMAC)),
	encrypts: numbered(allEncrypts, these(encryptAlgs, EncNone, EncDESCBC, Enc3DESCBC, EncBlowfishCBC, EncNull,
		EncAESCBC, EncAESCCM8, EncAESCCM12, EncAESCCM16, EncAESGCM8, EncAESGCM12, EncAESGCM16)),
	modes:  numbered(allModes),
	states: append(slices.Clone(rfcStates), name{4, "active-elsewhere"}, name{5, "idle"}, name{6, "active"}),
	flags: []name{
		{0x00000001, "PFS"}, {0x00000002, "NOREPLAY"}, {0x00001000, "X_NATTED"}, {0x00002000, "X_TCPSIG"},
		{0x00004000, "X_INBOUND"}, {0x00008000, "X_OUTBOUND"}, {0x00010000, "X_PAIRED"}, {0x00020000, "X_TUNNEL"},
		{0x00040000, "KRES2"}, {0x00080000, "X_NATT_REM"}, {0x00100000, "X_NATT_LOC"}, {0x00200000, "KRES1"},
		{0x00400000, "X_KM4"}, {0x00800000, "X_KM3"}, {0x01000000, "X_KM2"}, {0x02000000, "X_KM1"},
		{0x04000000, "X_EALG2"}, {0x08000000, "X_EALG1"}, {0x10000000, "X_AALG2"}, {0x20000000, "X_AALG1"},
		{0x40000000, "X_UNIQUE"}, {0x80000000, "X_USED"},
	},
	diags: illumosDiags,
	idents: []name{
		{0, "reserved"}, {1, "prefix"}, {2, "fqdn"}, {3, "user-fqdn"}, {4, "dn"}, {5, "gn"}, {6, "key-id"},
		{7, "addr-range"},
	},
	exts: slices.Concat(rfcExts, illumosExts),

	errnos:          newErrnoTable(func(e Errno) uint8 { return errnos[e].illumos }),
	sockaddrIn6:     32,
	spiRangeNetwork: true,
	tuckedCookie:    true,
	exactLifetime:   true,
	saltApart:       true,
})
