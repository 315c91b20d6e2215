package wire

// Message types of Linux beyond the RFC.
const (
	LinuxMsgXPChange        MsgType = 12
	LinuxMsgXSPDUpdate      MsgType = 13
	LinuxMsgXSPDAdd         MsgType = 14
	LinuxMsgXSPDDelete      MsgType = 15
	LinuxMsgXSPDGet         MsgType = 16
	LinuxMsgXSPDAcquire     MsgType = 17
	LinuxMsgXSPDDump        MsgType = 18
	LinuxMsgXSPDFlush       MsgType = 19
	LinuxMsgXSPDSetIdx      MsgType = 20
	LinuxMsgXSPDExpire      MsgType = 21
	LinuxMsgXSPDDelete2     MsgType = 22
	LinuxMsgXNATTNewMapping MsgType = 23
	LinuxMsgXMigrate        MsgType = 24
)

// Extension types of Linux beyond the RFC.
const (
	LinuxExtXKMPrivate ExtType = 17
	LinuxExtXPolicy    ExtType = 18
	LinuxExtXSA2       ExtType = 19
	LinuxExtXNATTType  ExtType = 20
	LinuxExtXNATTSPort ExtType = 21
	LinuxExtXNATTDPort ExtType = 22
	LinuxExtXNATTOA    ExtType = 23 // an address: the original one behind the NAT
	LinuxExtXSecCtx    ExtType = 24
	LinuxExtXKMAddress ExtType = 25
	LinuxExtXFilter    ExtType = 26
)

// LinuxSATypeIPComp is the SA type of IP compression.
const LinuxSATypeIPComp SAType = 9

// SA flags of Linux that the kernel keeps.
const (
	LinuxFlagNoPMTUDisc uint32 = 0x20000000
	LinuxFlagDecapDSCP  uint32 = 0x40000000
	LinuxFlagNoECN      uint32 = 0x80000000
)

// Authentication algorithms of Linux.
const (
	LinuxAuthNone          uint8 = 0
	LinuxAuthMD5HMAC       uint8 = 2
	LinuxAuthSHA1HMAC      uint8 = 3
	LinuxAuthSHA256HMAC    uint8 = 5
	LinuxAuthSHA384HMAC    uint8 = 6
	LinuxAuthSHA512HMAC    uint8 = 7
	LinuxAuthRIPEMD160HMAC uint8 = 8
	LinuxAuthAESXCBCMAC    uint8 = 9
	LinuxAuthSM3HMAC       uint8 = 10
	LinuxAuthNull          uint8 = 251
)

// Encryption algorithms of Linux. The number behind CCM and GCM is the size of the ICV in bytes.
const (
	LinuxEncNone        uint8 = 0
	LinuxEncDESCBC      uint8 = 2
	LinuxEnc3DESCBC     uint8 = 3
	LinuxEncCAST128CBC  uint8 = 6
	LinuxEncBlowfishCBC uint8 = 7
	LinuxEncNull        uint8 = 11
	LinuxEncAESCBC      uint8 = 12
	LinuxEncAESCTR      uint8 = 13
	LinuxEncAESCCM8     uint8 = 14
	LinuxEncAESCCM12    uint8 = 15
	LinuxEncAESCCM16    uint8 = 16
	LinuxEncAESGCM8     uint8 = 18
	LinuxEncAESGCM12    uint8 = 19
	LinuxEncAESGCM16    uint8 = 20
	LinuxEncCamelliaCBC uint8 = 22
	LinuxEncNullAESGMAC uint8 = 23
	LinuxEncSM4CBC      uint8 = 24
	LinuxEncSerpentCBC  uint8 = 252
	LinuxEncTwofishCBC  uint8 = 253
)

// Compression algorithms of Linux, in the encryption field of IPCOMP SAs.
const (
	LinuxCompOUI     uint8 = 1
	LinuxCompDeflate uint8 = 2
	LinuxCompLZS     uint8 = 3
	LinuxCompLZJH    uint8 = 4
)

// Modes of an SA and of an IPsec request.
const (
	LinuxModeAny       uint8 = 0
	LinuxModeTransport uint8 = 1
	LinuxModeTunnel    uint8 = 2
	LinuxModeBEET      uint8 = 3
)

// Policy types.
const (
	LinuxPolicyDiscard uint16 = 0
	LinuxPolicyNone    uint16 = 1
	LinuxPolicyIPsec   uint16 = 2
	LinuxPolicyEntrust uint16 = 3 // of sockets only
	LinuxPolicyBypass  uint16 = 4 // of sockets only
)

// Directions of a policy.
const (
	LinuxDirAny     uint8 = 0
	LinuxDirIn      uint8 = 1
	LinuxDirOut     uint8 = 2
	LinuxDirForward uint8 = 3
)

// Levels of an IPsec request.
const (
	LinuxLevelDefault uint8 = 0
	LinuxLevelUse     uint8 = 1
	LinuxLevelRequire uint8 = 2
	LinuxLevelUnique  uint8 = 3
)

// NAT-T encapsulations.
const (
	LinuxNATTNonIKE uint8 = 1 // the draft with the non-IKE marker
	LinuxNATTESP    uint8 = 2 // RFC 3948
)

var linuxDialect = newDialect(Dialect{Name: "linux", AFInet: 2, AFInet6: 10}, tables{
	msgs: []name{
		{12, "X_PCHANGE"}, {13, "X_SPDUPDATE"}, {14, "X_SPDADD"}, {15, "X_SPDDELETE"}, {16, "X_SPDGET"},
		{17, "X_SPDACQUIRE"},
		{18, "X_SPDDUMP"}, {19, "X_SPDFLUSH"}, {20, "X_SPDSETIDX"}, {21, "X_SPDEXPIRE"}, {22, "X_SPDDELETE2"},
		{23, "X_NAT_T_NEW_MAPPING"}, {24, "X_MIGRATE"},
	},
	satypes: []name{{9, "ipcomp"}},
	auths: []name{
		{0, "none"}, {2, "hmac-md5"}, {3, "hmac-sha1"}, {5, "hmac-sha256"}, {6, "hmac-sha384"}, {7, "hmac-sha512"},
		{8, "hmac-ripemd160"}, {9, "aes-xcbc-mac"}, {10, "hmac-sm3"}, {251, "null"},
	},
	encrypts: []name{
		{0, "none"}, {2, "des-cbc"}, {3, "3des-cbc"}, {6, "cast128-cbc"}, {7, "blowfish-cbc"}, {11, "null"},
		{12, "aes-cbc"},
		{13, "aes-ctr"}, {14, "aes-ccm8"}, {15, "aes-ccm12"}, {16, "aes-ccm16"}, {18, "aes-gcm8"}, {19, "aes-gcm12"},
		{20, "aes-gcm16"}, {22, "camellia-cbc"}, {23, "null-aes-gmac"}, {24, "sm4-cbc"}, {252, "serpent-cbc"},
		{253, "twofish-cbc"},
	},
	flags:  []name{{0x00000001, "PFS"}, {0x20000000, "NOPMTUDISC"}, {0x40000000, "DECAP_DSCP"}, {0x80000000, "NOECN"}},
	idents: []name{{0, "reserved"}, {1, "prefix"}, {2, "fqdn"}, {3, "user-fqdn"}, {4, "addr"}},
	exts:   linuxExts(),

	errnos:      newErrnoTable(func(e Errno) uint8 { return errnos[e].linux }),
	sockaddrIn6: 28,
})

func linuxExts() []extRow {
	return append(rfcExtRows(ruleAddressExact, nil),
		extRow{typ: LinuxExtXKMPrivate, name: "X_KMPRIVATE", fields: []field{{"reserved", 4, nil}}},
		extRow{typ: LinuxExtXPolicy, name: "X_POLICY", fields: []field{
			{"policytype", 2, asPolicyType}, {"direction", 1, asDir}, {"reserved", 1, nil}, {"id", 4, nil},
			{"priority", 4, asHex},
		}, rule: rulePolicy, tail: tailPolicy, brief: briefPolicy},
		extRow{typ: LinuxExtXSA2, name: "X_SA2", fields: []field{
			{"mode", 1, asMode}, {"reserved", 3, asBytes}, {"sequence", 4, nil}, {"reqid", 4, nil},
		}, brief: briefSA2},
		extRow{typ: LinuxExtXNATTType, name: "X_NAT_T_TYPE", fields: []field{{"natttype", 1, asNATT},
			{"reserved", 3, asBytes}},
			brief: briefNATTType},
		extRow{typ: LinuxExtXNATTSPort, name: "X_NAT_T_SPORT", fields: nattPortFields,
			brief: briefNATTPort("nattsport")},
		extRow{typ: LinuxExtXNATTDPort, name: "X_NAT_T_DPORT", fields: nattPortFields,
			brief: briefNATTPort("nattdport")},
		addressRow(LinuxExtXNATTOA, "X_NAT_T_OA", "nattoa", ruleAddressExact),
		extRow{typ: LinuxExtXSecCtx, name: "X_SEC_CTX", fields: []field{
			{"alg", 1, nil}, {"doi", 1, nil}, {"length", 2, nil},
		}, rule: ruleSecCtx, tail: tailSecCtx, brief: briefSecCtx},
		extRow{typ: LinuxExtXKMAddress, name: "X_KMADDRESS", fields: []field{{"reserved", 4, nil}}, rule: ruleKMAddress,
			tail: tailKMAddress, brief: briefKMAddress},
		extRow{typ: LinuxExtXFilter, name: "X_FILTER", fields: []field{
			{"source", 16, asBytes}, {"destination", 16, asBytes}, {"family", 2, asFamily}, {"source prefix", 1, nil},
			{"destination prefix", 1, nil},
		}, brief: briefFilter},
	)
}

var nattPortFields = []field{{"port", 2, asPort}, {"reserved", 2, nil}}
