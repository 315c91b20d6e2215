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
const IllumosExtXAddressInnerSrc = ExtAddressProxy

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
	IllumosFlagNoReplay  uint32 = 0x00000002
	IllumosFlagXNatted   uint32 = 0x00001000
	IllumosFlagXTCPSig   uint32 = 0x00002000 // since 2024
	IllumosFlagXInbound  uint32 = 0x00004000
	IllumosFlagXOutbound uint32 = 0x00008000
	IllumosFlagXPaired   uint32 = 0x00010000
	IllumosFlagXTunnel   uint32 = 0x00020000
	IllumosFlagKRes2     uint32 = 0x00040000 // the kernel's own
	IllumosFlagXNattRem  uint32 = 0x00080000
	IllumosFlagXNattLoc  uint32 = 0x00100000
	IllumosFlagKRes1     uint32 = 0x00200000 // the kernel's own
	IllumosFlagXKM4      uint32 = 0x00400000 // KM1 to KM4 belong to key management
	IllumosFlagXKM3      uint32 = 0x00800000
	IllumosFlagXKM2      uint32 = 0x01000000
	IllumosFlagXKM1      uint32 = 0x02000000
	IllumosFlagXEAlg2    uint32 = 0x04000000
	IllumosFlagXEAlg1    uint32 = 0x08000000
	IllumosFlagXAAlg2    uint32 = 0x10000000
	IllumosFlagXAAlg1    uint32 = 0x20000000
	IllumosFlagXUnique   uint32 = 0x40000000 // selectors narrow the SA
	IllumosFlagXUsed     uint32 = 0x80000000
)

// Identity types of illumos beyond the RFC.
const (
	IllumosIdentXDN        uint16 = 4
	IllumosIdentXGN        uint16 = 5
	IllumosIdentXKeyID     uint16 = 6
	IllumosIdentXAddrRange uint16 = 7
)

// Flags of a sensitivity extension of illumos.
const (
	IllumosSensImplicit  uint32 = 1
	IllumosSensUnlabeled uint32 = 2
)

// What the algorithm of an [AlgDesc] is for.
const (
	IllumosAlgTypeNone     uint8 = 0
	IllumosAlgTypeAuth     uint8 = 1
	IllumosAlgTypeCrypt    uint8 = 2
	IllumosAlgTypeCompress uint8 = 3
)

// Key management protocols of a [KMCookie].
const (
	IllumosKMPManual uint32 = 0
	IllumosKMPIKE    uint32 = 1
	IllumosKMPKINK   uint32 = 2
	IllumosKMPIKEv2  uint32 = 3
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
	msgs:    numbered(msgRows(allMsgs...), msgRows(rfcMsgs, illumosMsgs)...),
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
})
