package wire

import "slices"

// Message types of OpenBSD beyond the RFC.
const (
	OpenBSDMsgXAddFlow MsgType = iota + IllumosMsgXDelPairState + 1
	OpenBSDMsgXDelFlow
	OpenBSDMsgXGrpSPIs
	OpenBSDMsgXAskPolicy
	OpenBSDMsgXSPDDump // of sysctl(8) only
)

// Extension types of OpenBSD beyond the RFC. Its counter of packets is [IllumosExtXReplayValue].
const (
	OpenBSDExtXSrcMask ExtType = iota + FreeBSDExtXNewAddressDst + 1 // an address: the bits of X_SRC_FLOW that count
	OpenBSDExtXDstMask
	OpenBSDExtXProtocol // [FlowProtocol]
	OpenBSDExtXFlowType // [FlowProtocol]
	OpenBSDExtXSrcFlow  // an address
	OpenBSDExtXDstFlow
	OpenBSDExtXSA2    // an SA: the second one of two
	OpenBSDExtXDst2   // an address: of the second SA
	OpenBSDExtXPolicy // [Word]: the number of an ACQUIRE
	OpenBSDExtXLocalCredentials
	OpenBSDExtXRemoteCredentials
	OpenBSDExtXLocalAuth
	OpenBSDExtXRemoteAuth
	OpenBSDExtXSupportedComp
	OpenBSDExtXUDPEncap // [NATTPort]: of the peer
	OpenBSDExtXLifetimeLastUse
	OpenBSDExtXTag     // [Tag]
	OpenBSDExtXTap     // [Word]: the number of an enc(4) interface
	OpenBSDExtXSAType2 // [FlowProtocol]: the SA type of the second SA
	OpenBSDExtXCounter // [Counter]
	OpenBSDExtXRDomain // [RDomain]
	OpenBSDExtXMTU     // [Word]: bytes
	OpenBSDExtXIface   // [Iface]
)

// SA flags of OpenBSD.
const (
	OpenBSDFlagXTunnel   SAFlags = 0x004
	OpenBSDFlagXChainDel SAFlags = 0x008
	OpenBSDFlagXUDPEncap SAFlags = 0x200 // of ESP in UDP
	OpenBSDFlagXESN      SAFlags = 0x400 // sequence numbers with 64 bits
)

// OpenBSDIdentASN1DN is the type of an identity that is a distinguished name.
const OpenBSDIdentASN1DN IdentType = 4

// FlowType is what a flow of OpenBSD does with packets, in an X_FLOW_TYPE.
type FlowType = uint8

// Flow types.
const (
	OpenBSDFlowUse     FlowType = 1 // protect them if there is an SA
	OpenBSDFlowAcquire FlowType = 2 // the same, and ask for an SA
	OpenBSDFlowRequire FlowType = 3 // drop those without an SA, and ask for one
	OpenBSDFlowBypass  FlowType = 4
	OpenBSDFlowDeny    FlowType = 5
	OpenBSDFlowDontAcq FlowType = 6 // drop those without an SA
)

// FlowFlags are the flags of a flow, in an X_FLOW_TYPE: a set of bits.
type FlowFlags = uint8

// OpenBSDPolicyStatic is the flag of a flow that only other static ones touch.
const OpenBSDPolicyStatic FlowFlags = 1

var openbsdMsgs = []msgRow{
	msg(OpenBSDMsgXAddFlow, 12, "X_ADDFLOW", "", "add a flow: what is done with packets of a kind"),
	msg(OpenBSDMsgXDelFlow, 13, "X_DELFLOW", "", "delete a flow"),
	msg(OpenBSDMsgXGrpSPIs, 14, "X_GRPSPIS", "", "have a second SA protect what the first one has protected"),
	msg(OpenBSDMsgXAskPolicy, 15, "X_ASKPOLICY", "", "look up the flow of an ACQUIRE by its number"),
	msg(OpenBSDMsgXSPDDump, 16, "X_SPDDUMP", "", "a flow, in what sysctl(8) lists"),
}

var (
	openbsdSATypes = []row[SAType]{
		{SATypeUnspec, 0, "unspec"}, {SATypeAH, 1, "ah"}, {SATypeESP, 2, "esp"}, {SATypeRSVP, 3, "rsvp"},
		{SATypeOSPFv2, 4, "ospfv2"}, {SATypeRIPv2, 5, "ripv2"}, {SATypeMIP, 6, "mip"}, {SATypeIPIP, 7, "ipip"},
		{SATypeTCPSig, 8, "tcpsig"}, {SATypeIPComp, 9, "ipcomp"},
	}
	openbsdAuths = append(these(authAlgs, AuthNone, AuthMD5HMAC, AuthSHA1HMAC, AuthSHA256HMAC, AuthSHA384HMAC,
		AuthSHA512HMAC, AuthRIPEMD160HMAC), row[AlgID]{AuthAES128GMAC, 9, "aes128-gmac"},
		row[AlgID]{AuthAES192GMAC, 10, "aes192-gmac"}, row[AlgID]{AuthAES256GMAC, 11, "aes256-gmac"},
		row[AlgID]{AuthChaCha20Poly1305, 12, "chacha20-poly1305"})
	openbsdEncrypts = append(these(encryptAlgs, EncNone, Enc3DESCBC, EncCAST128CBC, EncBlowfishCBC, EncNull, EncAESCBC,
		EncAESCTR, EncAESGCM16), row[AlgID]{CompDeflate, 2, "deflate"}, row[AlgID]{EncNullAESGMAC, 21, "null-aes-gmac"},
		row[AlgID]{EncChaCha20Poly1305, 22, "chacha20-poly1305"})
	openbsdDirs      = []name{{1, "in"}, {2, "out"}}
	openbsdFlowTypes = []name{{1, "use"}, {2, "acquire"}, {3, "require"}, {4, "bypass"}, {5, "deny"}, {6, "dontacq"}}
)

var openbsdDialect = newDialect(Dialect{Name: "openbsd", AFInet: 2, AFInet6: 24, SockaddrLen: true}, tables{
	msgs:     numbered(allMsgRows, msgRows(rfcMsgs, openbsdMsgs)...),
	satypes:  numbered(allSATypes, openbsdSATypes),
	auths:    numbered(allAuths, openbsdAuths),
	encrypts: numbered(allEncrypts, openbsdEncrypts),
	modes:    numbered(allModes),
	states:   rfcStates,
	flags:    []name{{0x1, "PFS"}, {0x4, "X_TUNNEL"}, {0x8, "X_CHAINDEL"}, {0x200, "X_UDPENCAP"}, {0x400, "X_ESN"}},
	idents:   []name{{0, "reserved"}, {1, "prefix"}, {2, "fqdn"}, {3, "user-fqdn"}, {4, "asn1-dn"}},
	exts:     plainAddresses(slices.Concat(rfcExts, openbsdExts)),

	errnos: newErrnoTable(bsdErrno(map[Errno]uint8{
		EOVERFLOW: 87, ENOTSUP: 91, ECANCELED: 88, EBADMSG: 92, EPROTO: 95,
	})),
	sockaddrIn6:    28,
	exactAddress:   true,
	exactLifetime:  true,
	plainAddress:   true,
	numberProposal: true,
	openDump:       true,
	dumpTypes:      []SAType{SATypeAH, SATypeESP, SATypeIPIP, SATypeTCPSig, SATypeIPComp},
})

// openbsdExts are the rows of OpenBSD's own extensions.
var openbsdExts = []extRow{
	{typ: ExtProposal, name: "PROPOSAL", short: "proposal", section: "2.3.7", shape: shapeProposal,
		fields: []field{f("number", 1, nil, "of the proposal"), f("replay", 1, nil, "window size that is wanted"),
			reserved(2)},
		meaning: "combinations of algorithms and limits that would do"},
	{typ: OpenBSDExtXSrcMask, number: 17, name: "X_SRC_MASK", short: "srcmask", shape: shapeAddress,
		meaning: "bits of the flow's source that count"},
	{typ: OpenBSDExtXDstMask, number: 18, name: "X_DST_MASK", short: "dstmask", shape: shapeAddress,
		meaning: "bits of the flow's destination that count"},
	{typ: OpenBSDExtXProtocol, number: 19, name: "X_PROTOCOL", short: "protocol", shape: shapeFlowProtocol(asProto),
		meaning: "upper protocol of the flow's packets"},
	{typ: OpenBSDExtXFlowType, number: 20, name: "X_FLOW_TYPE", short: "flowtype",
		shape: shapeFlowProtocol(fromTable(openbsdFlowTypes)), meaning: "what the flow does with packets"},
	{typ: OpenBSDExtXSrcFlow, number: 21, name: "X_SRC_FLOW", short: "srcflow", shape: shapeAddress,
		meaning: "source of the flow's packets"},
	{typ: OpenBSDExtXDstFlow, number: 22, name: "X_DST_FLOW", short: "dstflow", shape: shapeAddress,
		meaning: "destination of the flow's packets"},
	{typ: OpenBSDExtXSA2, number: 23, name: "X_SA2", short: "sa2", shape: shapeSecondSA, meaning: "second SA of two"},
	{typ: OpenBSDExtXDst2, number: 24, name: "X_DST2", short: "dst2", shape: shapeAddress,
		meaning: "destination of the second SA"},
	{typ: OpenBSDExtXPolicy, number: 25, name: "X_POLICY", short: "policy",
		shape: shapeWord("sequence", "number of the ACQUIRE"), meaning: "names an ACQUIRE"},
	{typ: OpenBSDExtXLocalCredentials, number: 26, name: "X_LOCAL_CREDENTIALS", shape: shapeKMPrivate,
		meaning: "unused"},
	{typ: OpenBSDExtXRemoteCredentials, number: 27, name: "X_REMOTE_CREDENTIALS", shape: shapeKMPrivate,
		meaning: "unused"},
	{typ: OpenBSDExtXLocalAuth, number: 28, name: "X_LOCAL_AUTH", shape: shapeKMPrivate, meaning: "unused"},
	{typ: OpenBSDExtXRemoteAuth, number: 29, name: "X_REMOTE_AUTH", shape: shapeKMPrivate, meaning: "unused"},
	{typ: OpenBSDExtXSupportedComp, number: 30, name: "X_SUPPORTED_COMP", short: "supported-comp",
		shape: shapeSupported, meaning: "compression algorithms that the kernel has"},
	{typ: OpenBSDExtXUDPEncap, number: 31, name: "X_UDPENCAP", short: "udpencap", shape: shapeNATTPort,
		meaning: "the peer's port of the UDP encapsulation"},
	{typ: OpenBSDExtXLifetimeLastUse, number: 32, name: "X_LIFETIME_LASTUSE", short: "lastuse", shape: shapeLifetime,
		fields:  lifetimeFields("unused", "unused", "unused", "when it was last used, seconds since 1970"),
		meaning: "when the SA was last used"},
	{typ: OpenBSDExtXTag, number: 33, name: "X_TAG", short: "tag", shape: shapeTag,
		meaning: "mark that pf(4) sees on packets of the SA"},
	{typ: OpenBSDExtXTap, number: 34, name: "X_TAP", short: "tap", shape: shapeWord("unit", "of enc(4)"),
		meaning: "interface that packets of the SA are seen on"},
	{typ: OpenBSDExtXSAType2, number: 35, name: "X_SATYPE2", short: "satype2", shape: shapeFlowProtocol(asSAType),
		meaning: "SA type of the second SA"},
	{typ: OpenBSDExtXCounter, number: 36, name: "X_COUNTER", short: "counter", shape: shapeCounter,
		meaning: "what the SA has counted"},
	{typ: OpenBSDExtXRDomain, number: 37, name: "X_RDOMAIN", short: "rdomain", shape: shapeRDomain,
		meaning: "routing domains of the SA"},
	{typ: OpenBSDExtXMTU, number: 38, name: "X_MTU", short: "mtu", shape: shapeWord("mtu", "bytes"),
		meaning: "largest packet on the way to the peer"},
	{typ: IllumosExtXReplayValue, number: 39, name: "X_REPLAY", short: "replay", shape: shapeReplayValue,
		fields:  []field{reserved(4), f("counter", 8, nil, "of the last packet")},
		meaning: "packet counter of the SA"},
	{typ: OpenBSDExtXIface, number: 40, name: "X_IFACE", short: "iface", shape: shapeIface,
		meaning: "sec(4) interface that the SA belongs to"},
}

// plainAddresses gives the rows of addresses the fields that they have without protocol and prefix.
func plainAddresses(rows []extRow) []extRow {
	for i := range rows {
		if rows[i].shape == shapeAddress {
			rows[i].fields = []field{reserved(4)}
		}
	}
	return rows
}
