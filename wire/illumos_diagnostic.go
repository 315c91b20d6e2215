package wire

// IllumosDiagnostic is the second half of an illumos answer: what exactly was wrong, in the reserved field of the base
// header.
type IllumosDiagnostic uint16

// The diagnostics of illumos, SADB_X_DIAGNOSTIC_*. The last three came with TCP signature SAs in 2024.
const (
	IllumosDiagNone               IllumosDiagnostic = 0
	IllumosDiagUnknownMsg         IllumosDiagnostic = 1
	IllumosDiagUnknownExt         IllumosDiagnostic = 2
	IllumosDiagBadExtLen          IllumosDiagnostic = 3
	IllumosDiagUnknownSAType      IllumosDiagnostic = 4
	IllumosDiagSATypeNeeded       IllumosDiagnostic = 5
	IllumosDiagNoSADBs            IllumosDiagnostic = 6
	IllumosDiagNoExt              IllumosDiagnostic = 7
	IllumosDiagBadSrcAF           IllumosDiagnostic = 8
	IllumosDiagBadDstAF           IllumosDiagnostic = 9
	IllumosDiagBadProxyAF         IllumosDiagnostic = 10 // also BAD_INNER_SRC_AF
	IllumosDiagAFMismatch         IllumosDiagnostic = 11
	IllumosDiagBadSrc             IllumosDiagnostic = 12
	IllumosDiagBadDst             IllumosDiagnostic = 13
	IllumosDiagAllocHSErr         IllumosDiagnostic = 14
	IllumosDiagBytesHSErr         IllumosDiagnostic = 15
	IllumosDiagAddTimeHSErr       IllumosDiagnostic = 16
	IllumosDiagUseTimeHSErr       IllumosDiagnostic = 17
	IllumosDiagMissingSrc         IllumosDiagnostic = 18
	IllumosDiagMissingDst         IllumosDiagnostic = 19
	IllumosDiagMissingSA          IllumosDiagnostic = 20
	IllumosDiagMissingEKey        IllumosDiagnostic = 21
	IllumosDiagMissingAKey        IllumosDiagnostic = 22
	IllumosDiagMissingRange       IllumosDiagnostic = 23
	IllumosDiagDuplicateSrc       IllumosDiagnostic = 24
	IllumosDiagDuplicateDst       IllumosDiagnostic = 25
	IllumosDiagDuplicateSA        IllumosDiagnostic = 26
	IllumosDiagDuplicateEKey      IllumosDiagnostic = 27
	IllumosDiagDuplicateAKey      IllumosDiagnostic = 28
	IllumosDiagDuplicateRange     IllumosDiagnostic = 29
	IllumosDiagMalformedSrc       IllumosDiagnostic = 30
	IllumosDiagMalformedDst       IllumosDiagnostic = 31
	IllumosDiagMalformedSA        IllumosDiagnostic = 32
	IllumosDiagMalformedEKey      IllumosDiagnostic = 33
	IllumosDiagMalformedAKey      IllumosDiagnostic = 34
	IllumosDiagMalformedRange     IllumosDiagnostic = 35
	IllumosDiagAKeyPresent        IllumosDiagnostic = 36
	IllumosDiagEKeyPresent        IllumosDiagnostic = 37
	IllumosDiagPropPresent        IllumosDiagnostic = 38
	IllumosDiagSuppPresent        IllumosDiagnostic = 39
	IllumosDiagBadAAlg            IllumosDiagnostic = 40
	IllumosDiagBadEAlg            IllumosDiagnostic = 41
	IllumosDiagBadSAFlags         IllumosDiagnostic = 42
	IllumosDiagBadSAState         IllumosDiagnostic = 43
	IllumosDiagBadAKeyBits        IllumosDiagnostic = 44
	IllumosDiagBadEKeyBits        IllumosDiagnostic = 45
	IllumosDiagEncrNotSupp        IllumosDiagnostic = 46
	IllumosDiagWeakEKey           IllumosDiagnostic = 47
	IllumosDiagWeakAKey           IllumosDiagnostic = 48
	IllumosDiagDuplicateKMP       IllumosDiagnostic = 49
	IllumosDiagDuplicateKMC       IllumosDiagnostic = 50
	IllumosDiagMissingNATTLoc     IllumosDiagnostic = 51
	IllumosDiagMissingNATTRem     IllumosDiagnostic = 52
	IllumosDiagDuplicateNATTLoc   IllumosDiagnostic = 53
	IllumosDiagDuplicateNATTRem   IllumosDiagnostic = 54
	IllumosDiagMalformedNATTLoc   IllumosDiagnostic = 55
	IllumosDiagMalformedNATTRem   IllumosDiagnostic = 56
	IllumosDiagDuplicateNATTPorts IllumosDiagnostic = 57
	IllumosDiagMissingInnerSrc    IllumosDiagnostic = 58
	IllumosDiagMissingInnerDst    IllumosDiagnostic = 59
	IllumosDiagDuplicateInnerSrc  IllumosDiagnostic = 60
	IllumosDiagDuplicateInnerDst  IllumosDiagnostic = 61
	IllumosDiagMalformedInnerSrc  IllumosDiagnostic = 62
	IllumosDiagMalformedInnerDst  IllumosDiagnostic = 63
	IllumosDiagPrefixInnerSrc     IllumosDiagnostic = 64
	IllumosDiagPrefixInnerDst     IllumosDiagnostic = 65
	IllumosDiagBadInnerDstAF      IllumosDiagnostic = 66
	IllumosDiagInnerAFMismatch    IllumosDiagnostic = 67
	IllumosDiagBadNATTRemAF       IllumosDiagnostic = 68
	IllumosDiagBadNATTLocAF       IllumosDiagnostic = 69
	IllumosDiagProtoMismatch      IllumosDiagnostic = 70
	IllumosDiagInnerProtoMismatch IllumosDiagnostic = 71
	IllumosDiagDualPortSets       IllumosDiagnostic = 72
	IllumosDiagPairInappropriate  IllumosDiagnostic = 73
	IllumosDiagPairAddMismatch    IllumosDiagnostic = 74
	IllumosDiagPairAlready        IllumosDiagnostic = 75
	IllumosDiagPairSANotFound     IllumosDiagnostic = 76
	IllumosDiagBadSADirection     IllumosDiagnostic = 77
	IllumosDiagSANotFound         IllumosDiagnostic = 78
	IllumosDiagSAExpired          IllumosDiagnostic = 79
	IllumosDiagBadCtx             IllumosDiagnostic = 80
	IllumosDiagInvalidReplay      IllumosDiagnostic = 81
	IllumosDiagMissingLifetime    IllumosDiagnostic = 82
	IllumosDiagBadLabel           IllumosDiagnostic = 83
	IllumosDiagMissingAStr        IllumosDiagnostic = 84
	IllumosDiagDuplicateAStr      IllumosDiagnostic = 85
	IllumosDiagMalformedAStr      IllumosDiagnostic = 86
)

// IllumosDiagBadInnerSrcAF is another name of IllumosDiagBadProxyAF.
const IllumosDiagBadInnerSrcAF IllumosDiagnostic = IllumosDiagBadProxyAF

// String is the name without SADB_X_DIAGNOSTIC_, such as BAD_EXTLEN, or unknown(0x2a).
func (g IllumosDiagnostic) String() string { return nameOf(uint64(g), illumosDiags) }

var illumosDiags = []name{
	{0, "NONE"}, {1, "UNKNOWN_MSG"}, {2, "UNKNOWN_EXT"}, {3, "BAD_EXTLEN"},
	{4, "UNKNOWN_SATYPE"}, {5, "SATYPE_NEEDED"}, {6, "NO_SADBS"}, {7, "NO_EXT"},
	{8, "BAD_SRC_AF"}, {9, "BAD_DST_AF"}, {10, "BAD_PROXY_AF"}, {11, "AF_MISMATCH"},
	{12, "BAD_SRC"}, {13, "BAD_DST"}, {14, "ALLOC_HSERR"}, {15, "BYTES_HSERR"},
	{16, "ADDTIME_HSERR"}, {17, "USETIME_HSERR"}, {18, "MISSING_SRC"}, {19, "MISSING_DST"},
	{20, "MISSING_SA"}, {21, "MISSING_EKEY"}, {22, "MISSING_AKEY"}, {23, "MISSING_RANGE"},
	{24, "DUPLICATE_SRC"}, {25, "DUPLICATE_DST"}, {26, "DUPLICATE_SA"}, {27, "DUPLICATE_EKEY"},
	{28, "DUPLICATE_AKEY"}, {29, "DUPLICATE_RANGE"}, {30, "MALFORMED_SRC"}, {31, "MALFORMED_DST"},
	{32, "MALFORMED_SA"}, {33, "MALFORMED_EKEY"}, {34, "MALFORMED_AKEY"}, {35, "MALFORMED_RANGE"},
	{36, "AKEY_PRESENT"}, {37, "EKEY_PRESENT"}, {38, "PROP_PRESENT"}, {39, "SUPP_PRESENT"},
	{40, "BAD_AALG"}, {41, "BAD_EALG"}, {42, "BAD_SAFLAGS"}, {43, "BAD_SASTATE"},
	{44, "BAD_AKEYBITS"}, {45, "BAD_EKEYBITS"}, {46, "ENCR_NOTSUPP"}, {47, "WEAK_EKEY"},
	{48, "WEAK_AKEY"}, {49, "DUPLICATE_KMP"}, {50, "DUPLICATE_KMC"}, {51, "MISSING_NATT_LOC"},
	{52, "MISSING_NATT_REM"}, {53, "DUPLICATE_NATT_LOC"}, {54, "DUPLICATE_NATT_REM"}, {55, "MALFORMED_NATT_LOC"},
	{56, "MALFORMED_NATT_REM"}, {57, "DUPLICATE_NATT_PORTS"}, {58, "MISSING_INNER_SRC"}, {59, "MISSING_INNER_DST"},
	{60, "DUPLICATE_INNER_SRC"}, {61, "DUPLICATE_INNER_DST"}, {62, "MALFORMED_INNER_SRC"}, {63, "MALFORMED_INNER_DST"},
	{64, "PREFIX_INNER_SRC"}, {65, "PREFIX_INNER_DST"}, {66, "BAD_INNER_DST_AF"}, {67, "INNER_AF_MISMATCH"},
	{68, "BAD_NATT_REM_AF"}, {69, "BAD_NATT_LOC_AF"}, {70, "PROTO_MISMATCH"}, {71, "INNER_PROTO_MISMATCH"},
	{72, "DUAL_PORT_SETS"}, {73, "PAIR_INAPPROPRIATE"}, {74, "PAIR_ADD_MISMATCH"}, {75, "PAIR_ALREADY"},
	{76, "PAIR_SA_NOTFOUND"}, {77, "BAD_SA_DIRECTION"}, {78, "SA_NOTFOUND"}, {79, "SA_EXPIRED"},
	{80, "BAD_CTX"}, {81, "INVALID_REPLAY"}, {82, "MISSING_LIFETIME"}, {83, "BAD_LABEL"},
	{84, "MISSING_ASTR"}, {85, "DUPLICATE_ASTR"}, {86, "MALFORMED_ASTR"},
	{10, "BAD_INNER_SRC_AF"},
}
