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

// LinuxDirForward is the direction of packets on their way through, beside KAME's.
const LinuxDirForward uint8 = 3

var (
	linuxMsgs  = []row[MsgType]{{LinuxMsgXMigrate, 24, "X_MIGRATE"}}
	linuxModes = []row[Mode]{{ModeBEET, 3, "beet"}}
)

var linuxDialect = newDialect(Dialect{Name: "linux", AFInet: 2, AFInet6: 10}, tables{
	msgs:    numbered(allMsgs, rfcMsgs, kameMsgs, linuxMsgs),
	satypes: numbered(allSATypes, rfcSATypes, kameSATypes),
	auths:   numbered(allAuths, kameAuths, these(authAlgs, AuthSM3HMAC)),
	encrypts: numbered(allEncrypts, kameEncrypts, these(encryptAlgs, EncAESCCM8, EncAESCCM12, EncAESCCM16, EncSM4CBC,
		EncSerpentCBC, EncTwofishCBC)),
	modes:  numbered(allModes, kameModes, linuxModes),
	states: rfcStates,
	flags:  []name{{0x00000001, "PFS"}, {0x20000000, "NOPMTUDISC"}, {0x40000000, "DECAP_DSCP"}, {0x80000000, "NOECN"}},
	idents: kameIdents,
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
		addressRow(KAMEExtXNATTOA, 0, "X_NAT_T_OA", "nattoa", ruleAddressExact),
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
