package wire

// Message types of illumos beyond the RFC.
const (
	IllumosMsgXInverseAcquire MsgType = 12
	IllumosMsgXUpdatePair     MsgType = 13
	IllumosMsgXDelPair        MsgType = 14
	IllumosMsgXDelPairState   MsgType = 15
)

// Extension types of illumos beyond the RFC.
const (
	IllumosExtXAddressInnerSrc ExtType = 7 // the RFC's ADDRESS_PROXY
	IllumosExtXEReg            ExtType = 17
	IllumosExtXEProp           ExtType = 18
	IllumosExtXKMCookie        ExtType = 19
	IllumosExtXAddressNattLoc  ExtType = 20
	IllumosExtXAddressNattRem  ExtType = 21
	IllumosExtXAddressInnerDst ExtType = 22
	IllumosExtXPair            ExtType = 23
	IllumosExtXReplayValue     ExtType = 24
	IllumosExtXEDump           ExtType = 25
	IllumosExtXLifetimeIdle    ExtType = 26
	IllumosExtXOuterSens       ExtType = 27
	IllumosExtXStrAuth         ExtType = 28 // since 2024
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

var illumosDialect = newDialect(Dialect{Name: "illumos", AFInet: 2, AFInet6: 26}, tables{
	msgs:    []name{{12, "X_INVERSE_ACQUIRE"}, {13, "X_UPDATEPAIR"}, {14, "X_DELPAIR"}, {15, "X_DELPAIR_STATE"}},
	satypes: []name{{4, "tcpsig"}},
	states:  []name{{4, "active-elsewhere"}, {5, "idle"}, {6, "active"}},
	auths: []name{
		{0, "none"}, {1, "md5"}, {2, "hmac-md5"}, {3, "hmac-sha1"}, {5, "hmac-sha256"}, {6, "hmac-sha384"},
		{7, "hmac-sha512"},
	},
	encrypts: []name{
		{0, "none"}, {2, "des-cbc"}, {3, "3des-cbc"}, {7, "blowfish-cbc"}, {11, "null"}, {12, "aes-cbc"},
		{14, "aes-ccm8"},
		{15, "aes-ccm12"}, {16, "aes-ccm16"}, {18, "aes-gcm8"}, {19, "aes-gcm12"}, {20, "aes-gcm16"},
	},
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
	exts: illumosExts(),

	errnos:          newErrnoTable(func(e Errno) uint8 { return errnos[e].illumos }),
	sockaddrIn6:     32,
	spiRangeNetwork: true,
	tuckedCookie:    true,
})

func illumosExts() []extRow {
	return append(rfcExtRows(ruleAddress, ruleLifetimeExact),
		addressRow(IllumosExtXAddressInnerSrc, "X_ADDRESS_INNER_SRC", "innersrc", ruleAddress),
		extRow{typ: IllumosExtXEReg, name: "X_EREG", tail: tailEReg, brief: briefEReg},
		extRow{typ: IllumosExtXEProp, name: "X_EPROP", fields: []field{
			{"replay", 1, nil}, {"reserved", 1, nil}, {"ecombs", 2, nil},
		}, rule: ruleEProp, tail: tailEProp, brief: briefEProp},
		extRow{typ: IllumosExtXKMCookie, name: "X_KM_COOKIE", fields: kmCookieFields, rule: ruleKMCookie,
			tail:  tailKMCookie,
			brief: briefKMCookie},
		addressRow(IllumosExtXAddressNattLoc, "X_ADDRESS_NATT_LOC", "nattloc", ruleAddress),
		addressRow(IllumosExtXAddressNattRem, "X_ADDRESS_NATT_REM", "nattrem", ruleAddress),
		addressRow(IllumosExtXAddressInnerDst, "X_ADDRESS_INNER_DST", "innerdst", ruleAddress),
		extRow{typ: IllumosExtXPair, name: "X_PAIR", fields: []field{{"spi", 4, asSPI}}, brief: briefPair},
		extRow{typ: IllumosExtXReplayValue, name: "X_REPLAY_VALUE", fields: []field{
			{"replay32", 4, nil}, {"replay64", 8, nil},
		}, brief: briefReplayValue},
		extRow{typ: IllumosExtXEDump, name: "X_EDUMP", fields: []field{{"reserved", 4, nil}, {"timeout", 8, nil}},
			brief: briefEDump},
		extRow{typ: IllumosExtXLifetimeIdle, name: "X_LIFETIME_IDLE", fields: lifetimeFields, rule: ruleLifetimeExact,
			brief: briefLifetime("idle")},
		extRow{typ: IllumosExtXOuterSens, name: "X_OUTER_SENS", fields: sensitivityFields, rule: ruleSensitivity,
			tail: tailSensitivity, brief: briefSensitivity("outersens")},
		extRow{typ: IllumosExtXStrAuth, name: "X_STR_AUTH", fields: keyFields, rule: ruleKey, tail: tailKey,
			brief: briefKey("strauth"), secret: true},
	)
}
