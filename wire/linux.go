package wire

// Message types of Linux beyond KAME's.
const LinuxMsgXMigrate MsgType = 24

// Extension types of Linux beyond KAME's.
const (
	LinuxExtXSecCtx    ExtType = 24
	LinuxExtXKMAddress ExtType = 25
	LinuxExtXFilter    ExtType = 26
)

// SA flags of Linux that the kernel keeps.
const (
	LinuxFlagNoPMTUDisc uint32 = 0x20000000
	LinuxFlagDecapDSCP  uint32 = 0x40000000
	LinuxFlagNoECN      uint32 = 0x80000000
)

// ModeBEET is a mode of Linux.
const ModeBEET uint8 = 3

// LinuxDirForward is the direction of packets on their way through, beside KAME's.
const LinuxDirForward uint8 = 3

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
		extRow{typ: KAMEExtXKMPrivate, name: "X_KMPRIVATE", fields: []field{{"reserved", 4, nil}}},
		extRow{typ: KAMEExtXPolicy, name: "X_POLICY", fields: []field{
			{"policytype", 2, asPolicyType}, {"direction", 1, asDir}, {"reserved", 1, nil}, {"id", 4, nil},
			{"priority", 4, asHex},
		}, rule: rulePolicy, tail: tailPolicy, brief: briefPolicy},
		extRow{typ: KAMEExtXSA2, name: "X_SA2", fields: []field{
			{"mode", 1, asMode}, {"reserved", 3, asBytes}, {"sequence", 4, nil}, {"reqid", 4, nil},
		}, brief: briefSA2},
		extRow{typ: KAMEExtXNATTType, name: "X_NAT_T_TYPE", fields: []field{{"natttype", 1, asNATT},
			{"reserved", 3, asBytes}},
			brief: briefNATTType},
		extRow{typ: KAMEExtXNATTSPort, name: "X_NAT_T_SPORT", fields: nattPortFields,
			brief: briefNATTPort("nattsport")},
		extRow{typ: KAMEExtXNATTDPort, name: "X_NAT_T_DPORT", fields: nattPortFields,
			brief: briefNATTPort("nattdport")},
		addressRow(KAMEExtXNATTOA, "X_NAT_T_OA", "nattoa", ruleAddressExact),
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
