package wire

import "slices"

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
	LinuxFlagNoPMTUDisc SAFlags = 0x20000000
	LinuxFlagDecapDSCP  SAFlags = 0x40000000
	LinuxFlagNoECN      SAFlags = 0x80000000
)

// LinuxDirForward is the direction of packets on their way through, beside KAME's.
const LinuxDirForward Direction = 3

var (
	linuxMsgs  = []msgRow{msg(LinuxMsgXMigrate, 24, "X_MIGRATE", "", "move policies and SAs to other addresses")}
	linuxModes = []row[Mode]{{ModeBEET, 3, "beet"}}
)

var linuxDialect = newDialect(Dialect{Name: "linux", AFInet: 2, AFInet6: 10}, tables{
	msgs:    numbered(allMsgRows, msgRows(rfcMsgs, kameMsgs, nattMsgs, linuxMsgs)...),
	satypes: numbered(allSATypes, rfcSATypes, kameSATypes),
	auths:   numbered(allAuths, kameAuths, these(authAlgs, AuthSM3HMAC)),
	encrypts: numbered(allEncrypts, kameEncrypts, these(encryptAlgs, EncAESCCM8, EncAESCCM12, EncAESCCM16, EncSM4CBC,
		EncSerpentCBC, EncTwofishCBC)),
	modes:  numbered(allModes, kameModes, linuxModes),
	states: rfcStates,
	flags:  []name{{0x00000001, "PFS"}, {0x20000000, "NOPMTUDISC"}, {0x40000000, "DECAP_DSCP"}, {0x80000000, "NOECN"}},
	idents: kameIdents,
	exts:   slices.Concat(rfcExts, kameExts, linuxExts),

	errnos:       newErrnoTable(func(e Errno) uint8 { return errnos[e].linux }),
	sockaddrIn6:  28,
	exactAddress: true,
	request:      longRequest,
})
