package ipseckey

// kind groups the keywords that are parsed alike.
type kind uint8

const (
	kindSPI kind = iota
	kindPairSPI
	kindReplay
	kindState
	kindAuthAlg
	kindEncrAlg
	kindEncap
	kindDirection // inbound, outbound: no value
	kindRejected  // known, and never accepted
	kindLifetime
	kindSrc
	kindDst
	kindInnerSrc
	kindInnerDst
	kindSrcPort
	kindDstPort
	kindInnerSrcPort
	kindInnerDstPort
	kindProto
	kindInnerProto
	kindNATLoc
	kindNATRem
	kindNATLocPort
	kindNATRemPort
	kindAuthKey
	kindEncrKey
	kindReservedBits
	kindSrcID
	kindDstID
	kindReplayValue
	kindLabel
	kindSPIMin // getspi only
	kindSPIMax
	kindMode // for engines of Linux
	kindReqID
	kindNATSrcPort
	kindNATDstPort
)

// keyword is one keyword of the grammar.
type keyword struct {
	name string
	kind kind
	v6   bool  // takes IPv6 addresses only
	arg  uint8 // which of its kind: see the constants
}

// arg of kindLifetime: which extension, and which field of it.
const (
	limitHard uint8 = iota << 4
	limitSoft
	limitIdle

	fieldAlloc   uint8 = 0
	fieldBytes   uint8 = 1
	fieldAddTime uint8 = 2
	fieldUseTime uint8 = 3
	fieldMask    uint8 = 15
)

// arg of kindDirection and kindLabel.
const (
	argOutbound uint8 = iota
	argInbound
	argLabel
	argOuterLabel
	argImplicitLabel
)

// keywords are all of them, in the order in which help shows them.
var keywords = []keyword{
	{name: "spi", kind: kindSPI},
	{name: "pair-spi", kind: kindPairSPI},
	{name: "replay", kind: kindReplay},
	{name: "state", kind: kindState},
	{name: "auth_alg", kind: kindAuthAlg},
	{name: "authalg", kind: kindAuthAlg},
	{name: "encr_alg", kind: kindEncrAlg},
	{name: "encralg", kind: kindEncrAlg},
	{name: "flags", kind: kindRejected},
	{name: "soft_alloc", kind: kindLifetime, arg: limitSoft | fieldAlloc},
	{name: "soft_bytes", kind: kindLifetime, arg: limitSoft | fieldBytes},
	{name: "soft_addtime", kind: kindLifetime, arg: limitSoft | fieldAddTime},
	{name: "soft_usetime", kind: kindLifetime, arg: limitSoft | fieldUseTime},
	{name: "hard_alloc", kind: kindLifetime, arg: limitHard | fieldAlloc},
	{name: "hard_bytes", kind: kindLifetime, arg: limitHard | fieldBytes},
	{name: "hard_addtime", kind: kindLifetime, arg: limitHard | fieldAddTime},
	{name: "hard_usetime", kind: kindLifetime, arg: limitHard | fieldUseTime},
	{name: "current_alloc", kind: kindRejected},
	{name: "current_bytes", kind: kindRejected},
	{name: "current_addtime", kind: kindRejected},
	{name: "current_usetime", kind: kindRejected},
	{name: "saddr", kind: kindSrc},
	{name: "srcaddr", kind: kindSrc},
	{name: "src", kind: kindSrc},
	{name: "daddr", kind: kindDst},
	{name: "dstaddr", kind: kindDst},
	{name: "dst", kind: kindDst},
	{name: "proxyaddr", kind: kindInnerSrc},
	{name: "proxy", kind: kindInnerSrc},
	{name: "innersrc", kind: kindInnerSrc},
	{name: "isrc", kind: kindInnerSrc},
	{name: "innerdst", kind: kindInnerDst},
	{name: "idst", kind: kindInnerDst},
	{name: "sport", kind: kindSrcPort},
	{name: "dport", kind: kindDstPort},
	{name: "innersport", kind: kindInnerSrcPort},
	{name: "isport", kind: kindInnerSrcPort},
	{name: "innerdport", kind: kindInnerDstPort},
	{name: "idport", kind: kindInnerDstPort},
	{name: "proto", kind: kindProto},
	{name: "ulp", kind: kindProto},
	{name: "iproto", kind: kindInnerProto},
	{name: "iulp", kind: kindInnerProto},
	{name: "saddr6", kind: kindSrc, v6: true},
	{name: "srcaddr6", kind: kindSrc, v6: true},
	{name: "src6", kind: kindSrc, v6: true},
	{name: "daddr6", kind: kindDst, v6: true},
	{name: "dstaddr6", kind: kindDst, v6: true},
	{name: "dst6", kind: kindDst, v6: true},
	{name: "proxyaddr6", kind: kindInnerSrc, v6: true},
	{name: "proxy6", kind: kindInnerSrc, v6: true},
	{name: "innersrc6", kind: kindInnerSrc, v6: true},
	{name: "isrc6", kind: kindInnerSrc, v6: true},
	{name: "innerdst6", kind: kindInnerDst, v6: true},
	{name: "idst6", kind: kindInnerDst, v6: true},
	{name: "authkey", kind: kindAuthKey},
	{name: "encrkey", kind: kindEncrKey},
	{name: "srcidtype", kind: kindSrcID},
	{name: "dstidtype", kind: kindDstID},
	{name: "dpd", kind: kindRejected},
	{name: "sens_level", kind: kindRejected},
	{name: "sens_map", kind: kindRejected},
	{name: "integ_level", kind: kindRejected},
	{name: "integ_map", kind: kindRejected},
	{name: "nat_loc", kind: kindNATLoc},
	{name: "nat_rem", kind: kindNATRem},
	{name: "nat_lport", kind: kindNATLocPort},
	{name: "nat_rport", kind: kindNATRemPort},
	{name: "encap", kind: kindEncap},
	{name: "outbound", kind: kindDirection, arg: argOutbound},
	{name: "inbound", kind: kindDirection, arg: argInbound},
	{name: "reserved_bits", kind: kindReservedBits},
	{name: "replay_value", kind: kindReplayValue},
	{name: "idle_addtime", kind: kindLifetime, arg: limitIdle | fieldAddTime},
	{name: "idle_usetime", kind: kindLifetime, arg: limitIdle | fieldUseTime},
	{name: "label", kind: kindLabel, arg: argLabel},
	{name: "outer-label", kind: kindLabel, arg: argOuterLabel},
	{name: "implicit-label", kind: kindLabel, arg: argImplicitLabel},
}

// ownKeywords are those of our own commands.
var ownKeywords = []keyword{
	{name: "spi-min", kind: kindSPIMin},
	{name: "spi-max", kind: kindSPIMax},
}

// kameKeywords say of an SA what illumos has no word for, or another one. Engines of Linux and of the BSDs take them.
var kameKeywords = []keyword{
	{name: "mode", kind: kindMode},
	{name: "reqid", kind: kindReqID},
	{name: "nat_sport", kind: kindNATSrcPort},
	{name: "nat_dport", kind: kindNATDstPort},
}

// direction is the SA flag that a keyword of kindDirection sets.
func (k keyword) direction() uint32 {
	if k.arg == argInbound {
		return flagInbound
	}
	return flagOutbound
}

func findKeyword(name string) (keyword, bool) { return keywordOf(keywords, name) }

func findKAMEKeyword(name string) (keyword, bool) { return keywordOf(kameKeywords, name) }

func findOwnKeyword(name string) (keyword, bool) { return keywordOf(ownKeywords, name) }

func keywordOf(table []keyword, name string) (keyword, bool) {
	for _, k := range table {
		if k.name == name {
			return k, true
		}
	}
	return keyword{}, false
}
