package linux

import (
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/packet"
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
	reason     packet.Reason
}{
	dropInBufferError:     {"XfrmInBufferError", "", packet.TooManyLayers},
	dropInHdrError:        {"XfrmInHdrError", "", packet.BadHeader},
	dropInNoStates:        {"XfrmInNoStates", "", packet.NoSA},
	dropBadICV:            {"XfrmInStateProtoError", "", packet.BadICV},
	dropCryptoFailed:      {"XfrmInStateProtoError", "", packet.CryptoFailed},
	dropBadPadLength:      {"XfrmInStateProtoError", "", packet.BadPadLength},
	dropShortESP:          {"XfrmInStateProtoError", "", packet.BadLength},
	dropDummy:             {"XfrmInStateProtoError", "", packet.Dummy},
	dropAHLength:          {"XfrmInStateProtoError", "", packet.BadLength},
	dropAHHeader:          {"XfrmInStateProtoError", "", packet.BadHeader},
	dropBadCompression:    {"XfrmInStateProtoError", "", packet.BadCompression},
	dropInStateModeError:  {"XfrmInStateModeError", "", packet.BadMode},
	dropInStateSeqError:   {"XfrmInStateSeqError", "", packet.Replayed},
	dropInBytesExpired:    {"XfrmInStateExpired", "", packet.BytesExpired},
	dropInPacketsExpired:  {"XfrmInStateExpired", "", packet.PacketsExpired},
	dropEncapMismatch:     {"XfrmInStateMismatch", "", packet.EncapMismatch},
	dropSelectorMismatch:  {"XfrmInStateMismatch", "", packet.SelectorMismatch},
	dropInStateInvalid:    {"XfrmInStateInvalid", "", packet.NoSA},
	dropInTmplMismatch:    {"XfrmInTmplMismatch", "", packet.PolicyMismatch},
	dropInNoPols:          {"XfrmInNoPols", "", packet.PolicyMismatch},
	dropInPolBlock:        {"XfrmInPolBlock", "", packet.PolicyDiscard},
	dropOutNoStates:       {"XfrmOutNoStates", "", packet.NoSA},
	dropOutCryptoFailed:   {"XfrmOutStateProtoError", "", packet.CryptoFailed},
	dropOutFragment:       {"XfrmOutStateProtoError", "", packet.Fragment},
	dropOutTooLong:        {"XfrmOutStateProtoError", "", packet.BadLength},
	dropOutBadHeader:      {"XfrmOutStateProtoError", "", packet.BadHeader},
	dropOutStateSeqError:  {"XfrmOutStateSeqError", "", packet.Replayed},
	dropOutBytesExpired:   {"XfrmOutStateExpired", "", packet.BytesExpired},
	dropOutPacketsExpired: {"XfrmOutStateExpired", "", packet.PacketsExpired},
	dropOutPolBlock:       {"XfrmOutPolBlock", "", packet.PolicyDiscard},
	dropOutStateInvalid:   {"XfrmOutStateInvalid", "", packet.NoSA},
	dropAcquireError:      {"XfrmAcquireError", "", packet.LarvalDropped},
	dropFragment:          {"", "", packet.Fragment},
	dropNoRoute:           {"", "", packet.NoRoute},
	dropNotIP:             {"", "", packet.BadHeader},
	dropKeepalive:         {"", "", packet.Keepalive},
	dropShortEncap:        {"", "", packet.BadLength},
	dropHeader4:           {"IpInHdrErrors", "", packet.BadHeader},
	dropChecksum:          {"IpExtInCsumErrors", "IpInHdrErrors", packet.BadChecksum},
	dropOption4:           {"IpInHdrErrors", "", packet.BadOption},
	dropTruncated4:        {"IpExtInTruncatedPkts", "", packet.Truncated},
	dropAddress4:          {"", "", packet.BadAddress},
	dropSourceRoute4:      {"", "", packet.SourceRoute},
	dropHeader6:           {"Ip6InHdrErrors", "", packet.BadHeader},
	dropOption6:           {"Ip6InHdrErrors", "", packet.BadOption},
	dropTruncated6:        {"Ip6InTruncatedPkts", "", packet.Truncated},
	dropAddress6:          {"Ip6InHdrErrors", "", packet.BadAddress},
	dropNextHeader6:       {"Ip6InUnknownProtos", "", packet.BadHeader},
	dropRouting6:          {"Ip6InHdrErrors", "", packet.SourceRoute},
	dropSegments6:         {"", "", packet.SourceRoute},
	dropMobile6:           {"Ip6InAddrErrors", "", packet.SourceRoute},
	dropUnknownMobile6:    {"Ip6InAddrErrors", "XfrmInNoStates", packet.SourceRoute},
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
