package wire

import "slices"

// Extension types of FreeBSD beyond KAME's.
const (
	FreeBSDExtXSAReplay      ExtType = iota + KAMEExtXNATTFrag + 1 // [SAReplay]
	FreeBSDExtXNewAddressSrc                                       // an address: where UPDATE moves the SA
	FreeBSDExtXNewAddressDst
)

// FreeBSDFlagXESN is the SA flag of sequence numbers with 64 bits.
const FreeBSDFlagXESN SAFlags = 0x400

// Scopes of a policy of FreeBSD.
const (
	FreeBSDScopeGlobal    PolicyBits = 1
	FreeBSDScopeInterface PolicyBits = 2
	FreeBSDScopeSocket    PolicyBits = 4
)

var freebsdDialect = newDialect(Dialect{Name: "freebsd", AFInet: 2, AFInet6: 28, SockaddrLen: true}, tables{
	msgs:     numbered(allMsgRows, msgRows(rfcMsgs, kameMsgs)...),
	satypes:  numbered(allSATypes, rfcSATypes, kameSATypes, bsdSATypes),
	auths:    numbered(allAuths, kameAuths, bsdAuths),
	encrypts: numbered(allEncrypts, kameEncrypts),
	modes:    numbered(allModes, kameModes, tcpMD5Modes),
	states:   rfcStates,
	flags:    append(slices.Clone(bsdFlags), name{0x400, "X_ESN"}),
	idents:   kameIdents,
	exts:     slices.Concat(rfcExts, kameExts, bsdExts, freebsdExts),

	errnos: newErrnoTable(bsdErrno(map[Errno]uint8{
		EOVERFLOW: 84, ENOTSUP: 45, ECANCELED: 85, EBADMSG: 89, ENOLINK: 91, EPROTO: 92,
	})),
	sockaddrIn6:  28,
	exactAddress: true,
})

const saReplayLen = 8

// SAReplay is FreeBSD's X_SA_REPLAY: a replay window that the byte of the SA has no room for.
type SAReplay struct{ Window uint32 } // packets

// AppendSAReplay appends the extension to b, 8 bytes.
func (d *Dialect) AppendSAReplay(b []byte, v SAReplay) []byte {
	b, p := d.newExt(b, FreeBSDExtXSAReplay, saReplayLen)
	d.put32(p[4:], v.Window)
	return b
}

// ParseSAReplay reads an X_SA_REPLAY extension.
func (d *Dialect) ParseSAReplay(raw []byte) (SAReplay, error) {
	if err := d.need(raw, saReplayLen); err != nil {
		return SAReplay{}, err
	}
	return SAReplay{d.u32(raw[4:])}, nil
}

var shapeSAReplay = &shape{role: RoleOther, fields: []field{f("window", 4, nil, "replay window in packets")},
	brief: func(d *Dialect, r *extRow, raw []byte) string {
		v, _ := d.ParseSAReplay(raw)
		return pair(r.short, v.Window)
	}}

var scopeField = f("scope", 1, fromTable([]name{{0, "any"}, {1, "global"}, {2, "interface"}, {4, "socket"}}),
	"whose it is")

// freebsdExts are the rows of FreeBSD's own extensions.
var freebsdExts = []extRow{
	{typ: KAMEExtXPolicy, name: "X_POLICY", short: "policy", meaning: "what the policy does with matching packets",
		shape: shapePolicy, fields: policyFields(scopeField, priorityField)},
	{typ: FreeBSDExtXSAReplay, number: 26, name: "X_SA_REPLAY", short: "replay", meaning: "replay window of the SA",
		shape: shapeSAReplay},
	{typ: FreeBSDExtXNewAddressSrc, number: 27, name: "X_NEW_ADDRESS_SRC", short: "newsrc",
		meaning: "source that the SA moves to", shape: shapeAddress},
	{typ: FreeBSDExtXNewAddressDst, number: 28, name: "X_NEW_ADDRESS_DST", short: "newdst",
		meaning: "destination that the SA moves to", shape: shapeAddress},
}
