package wire

import "slices"

// NetBSDPolicyKernel is the flag of a policy that the kernel made for an interface.
const NetBSDPolicyKernel PolicyBits = 0x80

var netbsdDialect = newDialect(Dialect{Name: "netbsd", AFInet: 2, AFInet6: 24, SockaddrLen: true}, tables{
	msgs:     numbered(allMsgRows, msgRows(rfcMsgs, kameMsgs, nattMsgs)...),
	satypes:  numbered(allSATypes, rfcSATypes, kameSATypes, bsdSATypes),
	auths:    numbered(allAuths, kameAuths, bsdAuths),
	encrypts: numbered(allEncrypts, kameEncrypts, these(encryptAlgs, EncSkipjackCBC)),
	modes:    numbered(allModes, kameModes, tcpMD5Modes),
	states:   rfcStates,
	flags:    bsdFlags,
	idents:   kameIdents,
	exts: slices.Concat(rfcExts, kameExts, bsdExts, []extRow{
		{typ: KAMEExtXPolicy, name: "X_POLICY", short: "policy", meaning: "what the policy does with matching packets",
			shape: shapePolicy, fields: policyFields(f("flags", 1, asHex, "0x80: the kernel's own"), reserved(4))},
	}),

	errnos: newErrnoTable(bsdErrno(map[Errno]uint8{
		EOVERFLOW: 84, ENOTSUP: 86, ECANCELED: 87, EBADMSG: 88, ENODATA: 89, ETIME: 92, ENOLINK: 95,
		EPROTO: 96,
	})),
	sockaddrIn6:  28,
	exactAddress: true,
	bareTunnel:   true,
})
