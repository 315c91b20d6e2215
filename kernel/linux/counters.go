package linux

import (
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/ipsec"
)

// dropCause is why a packet was dropped. Several causes may be counted in one counter of the original, which has fewer.
// Its other counters (XfrmInError, XfrmInPolError, XfrmFwdHdrError, XfrmOutError, XfrmOutBundleGenError,
// XfrmOutBundleCheckError, XfrmOutStateModeError, XfrmOutPolDead, XfrmOutPolError) count what does not happen here: a
// lack of memory, routes that go away, offloading, other kinds of policies.
type dropCause uint8

const (
	dropInBufferError dropCause = iota
	dropInHdrError
	dropInNoStates
	dropBadICV
	dropCryptoFailed
	dropBadPadLength
	dropShortESP
	dropDummy
	dropAHLength
	dropAHHeader
	dropBadCompression
	dropInStateModeError
	dropInStateSeqError
	dropInBytesExpired
	dropInPacketsExpired
	dropEncapMismatch
	dropSelectorMismatch
	dropInStateInvalid
	dropInTmplMismatch
	dropInNoPols
	dropInPolBlock
	dropOutNoStates
	dropOutCryptoFailed
	dropOutFragment
	dropOutTooLong
	dropOutBadHeader
	dropOutStateSeqError
	dropOutBytesExpired
	dropOutPacketsExpired
	dropOutPolBlock
	dropOutStateInvalid
	dropAcquireError // a packet for a LARVAL SA
	dropFragment     // these are none of the transform's own
	dropNoRoute
	dropNotIP
	dropKeepalive
	dropShortEncap
	dropHeader4 // these are IP's, see [Kernel.ipInput]
	dropChecksum
	dropOption4
	dropTruncated4
	dropAddress4
	dropSourceRoute4
	dropHeader6
	dropOption6
	dropTruncated6
	dropAddress6
	dropNextHeader6
	dropRouting6
	dropSegments6
	dropMobile6
	dropUnknownMobile6
	dropsEnd
)

// dropRows say how a cause is counted: in a counter of /proc/net/xfrm_stat, or in one of IP's under the name that
// nstat(8) has for it; also is counted besides. What has no name is not counted there.
var dropRows = [dropsEnd]struct {
	name, also string
	reason     ipsec.Reason
}{
	dropInBufferError:     {"XfrmInBufferError", "", ipsec.TooManyLayers},
	dropInHdrError:        {"XfrmInHdrError", "", ipsec.BadHeader},
	dropInNoStates:        {"XfrmInNoStates", "", ipsec.NoSA},
	dropBadICV:            {"XfrmInStateProtoError", "", ipsec.BadICV},
	dropCryptoFailed:      {"XfrmInStateProtoError", "", ipsec.CryptoFailed},
	dropBadPadLength:      {"XfrmInStateProtoError", "", ipsec.BadPadLength},
	dropShortESP:          {"XfrmInStateProtoError", "", ipsec.BadLength},
	dropDummy:             {"XfrmInStateProtoError", "", ipsec.Dummy},
	dropAHLength:          {"XfrmInStateProtoError", "", ipsec.BadLength},
	dropAHHeader:          {"XfrmInStateProtoError", "", ipsec.BadHeader},
	dropBadCompression:    {"XfrmInStateProtoError", "", ipsec.BadCompression},
	dropInStateModeError:  {"XfrmInStateModeError", "", ipsec.BadMode},
	dropInStateSeqError:   {"XfrmInStateSeqError", "", ipsec.Replayed},
	dropInBytesExpired:    {"XfrmInStateExpired", "", ipsec.BytesExpired},
	dropInPacketsExpired:  {"XfrmInStateExpired", "", ipsec.PacketsExpired},
	dropEncapMismatch:     {"XfrmInStateMismatch", "", ipsec.EncapMismatch},
	dropSelectorMismatch:  {"XfrmInStateMismatch", "", ipsec.SelectorMismatch},
	dropInStateInvalid:    {"XfrmInStateInvalid", "", ipsec.NoSA},
	dropInTmplMismatch:    {"XfrmInTmplMismatch", "", ipsec.PolicyMismatch},
	dropInNoPols:          {"XfrmInNoPols", "", ipsec.PolicyMismatch},
	dropInPolBlock:        {"XfrmInPolBlock", "", ipsec.PolicyDiscard},
	dropOutNoStates:       {"XfrmOutNoStates", "", ipsec.NoSA},
	dropOutCryptoFailed:   {"XfrmOutStateProtoError", "", ipsec.CryptoFailed},
	dropOutFragment:       {"XfrmOutStateProtoError", "", ipsec.Fragment},
	dropOutTooLong:        {"XfrmOutStateProtoError", "", ipsec.BadLength},
	dropOutBadHeader:      {"XfrmOutStateProtoError", "", ipsec.BadHeader},
	dropOutStateSeqError:  {"XfrmOutStateSeqError", "", ipsec.Replayed},
	dropOutBytesExpired:   {"XfrmOutStateExpired", "", ipsec.BytesExpired},
	dropOutPacketsExpired: {"XfrmOutStateExpired", "", ipsec.PacketsExpired},
	dropOutPolBlock:       {"XfrmOutPolBlock", "", ipsec.PolicyDiscard},
	dropOutStateInvalid:   {"XfrmOutStateInvalid", "", ipsec.NoSA},
	dropAcquireError:      {"XfrmAcquireError", "", ipsec.LarvalDropped},
	dropFragment:          {"", "", ipsec.Fragment},
	dropNoRoute:           {"", "", ipsec.NoRoute},
	dropNotIP:             {"", "", ipsec.BadHeader},
	dropKeepalive:         {"", "", ipsec.Keepalive},
	dropShortEncap:        {"", "", ipsec.BadLength},
	dropHeader4:           {"IpInHdrErrors", "", ipsec.BadHeader},
	dropChecksum:          {"IpExtInCsumErrors", "IpInHdrErrors", ipsec.BadChecksum},
	dropOption4:           {"IpInHdrErrors", "", ipsec.BadOption},
	dropTruncated4:        {"IpExtInTruncatedPkts", "", ipsec.Truncated},
	dropAddress4:          {"", "", ipsec.BadAddress},
	dropSourceRoute4:      {"", "", ipsec.SourceRoute},
	dropHeader6:           {"Ip6InHdrErrors", "", ipsec.BadHeader},
	dropOption6:           {"Ip6InHdrErrors", "", ipsec.BadOption},
	dropTruncated6:        {"Ip6InTruncatedPkts", "", ipsec.Truncated},
	dropAddress6:          {"Ip6InHdrErrors", "", ipsec.BadAddress},
	dropNextHeader6:       {"Ip6InUnknownProtos", "", ipsec.BadHeader},
	dropRouting6:          {"Ip6InHdrErrors", "", ipsec.SourceRoute},
	dropSegments6:         {"", "", ipsec.SourceRoute},
	dropMobile6:           {"Ip6InAddrErrors", "", ipsec.SourceRoute},
	dropUnknownMobile6:    {"Ip6InAddrErrors", "XfrmInNoStates", ipsec.SourceRoute},
}

// counters are atomic, because packets count without a lock.
type counters [dropsEnd]atomic.Uint64

// Counters reads the counters of /proc/net/xfrm_stat, and those of IP that count what it drops, which are not zero, by
// name.
func (k *Kernel) Counters() map[string]uint64 {
	m := map[string]uint64{}
	for i := range k.counters {
		n := k.counters[i].Load()
		for _, name := range []string{dropRows[i].name, dropRows[i].also} {
			if n != 0 && name != "" {
				m[name] += n
			}
		}
	}
	return m
}
