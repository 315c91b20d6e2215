package xfrm

import (
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/packet"
)

// dropCause is why a packet was dropped. The original's other counters (XfrmInError, XfrmInPolError, XfrmFwdHdrError,
// XfrmOutError, XfrmOutBundleGenError, XfrmOutBundleCheckError, XfrmOutStateModeError, XfrmOutPolDead, XfrmOutPolError)
// count what does not happen here: a lack of memory, routes that go away, offloading, other kinds of policies.
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
	dropHeader4 // these are IP's, see [Transforms.ipInput]
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
// nstat(8) has for it. What has no name is not counted there.
var dropRows = [dropsEnd]engine.Cause{
	dropInBufferError:     {Counter: "XfrmInBufferError", Reason: packet.TooManyLayers},
	dropInHdrError:        {Counter: "XfrmInHdrError", Reason: packet.BadHeader},
	dropInNoStates:        {Counter: "XfrmInNoStates", Reason: packet.NoSA},
	dropBadICV:            {Counter: "XfrmInStateProtoError", Reason: packet.BadICV},
	dropCryptoFailed:      {Counter: "XfrmInStateProtoError", Reason: packet.CryptoFailed},
	dropBadPadLength:      {Counter: "XfrmInStateProtoError", Reason: packet.BadPadLength},
	dropShortESP:          {Counter: "XfrmInStateProtoError", Reason: packet.BadLength},
	dropDummy:             {Counter: "XfrmInStateProtoError", Reason: packet.Dummy},
	dropAHLength:          {Counter: "XfrmInStateProtoError", Reason: packet.BadLength},
	dropAHHeader:          {Counter: "XfrmInStateProtoError", Reason: packet.BadHeader},
	dropBadCompression:    {Counter: "XfrmInStateProtoError", Reason: packet.BadCompression},
	dropInStateModeError:  {Counter: "XfrmInStateModeError", Reason: packet.BadMode},
	dropInStateSeqError:   {Counter: "XfrmInStateSeqError", Reason: packet.Replayed},
	dropInBytesExpired:    {Counter: "XfrmInStateExpired", Reason: packet.BytesExpired},
	dropInPacketsExpired:  {Counter: "XfrmInStateExpired", Reason: packet.PacketsExpired},
	dropEncapMismatch:     {Counter: "XfrmInStateMismatch", Reason: packet.EncapMismatch},
	dropSelectorMismatch:  {Counter: "XfrmInStateMismatch", Reason: packet.SelectorMismatch},
	dropInStateInvalid:    {Counter: "XfrmInStateInvalid", Reason: packet.NoSA},
	dropInTmplMismatch:    {Counter: "XfrmInTmplMismatch", Reason: packet.PolicyMismatch},
	dropInNoPols:          {Counter: "XfrmInNoPols", Reason: packet.PolicyMismatch},
	dropInPolBlock:        {Counter: "XfrmInPolBlock", Reason: packet.PolicyDiscard},
	dropOutNoStates:       {Counter: "XfrmOutNoStates", Reason: packet.NoSA},
	dropOutCryptoFailed:   {Counter: "XfrmOutStateProtoError", Reason: packet.CryptoFailed},
	dropOutFragment:       {Counter: "XfrmOutStateProtoError", Reason: packet.Fragment},
	dropOutTooLong:        {Counter: "XfrmOutStateProtoError", Reason: packet.BadLength},
	dropOutBadHeader:      {Counter: "XfrmOutStateProtoError", Reason: packet.BadHeader},
	dropOutStateSeqError:  {Counter: "XfrmOutStateSeqError", Reason: packet.Replayed},
	dropOutBytesExpired:   {Counter: "XfrmOutStateExpired", Reason: packet.BytesExpired},
	dropOutPacketsExpired: {Counter: "XfrmOutStateExpired", Reason: packet.PacketsExpired},
	dropOutPolBlock:       {Counter: "XfrmOutPolBlock", Reason: packet.PolicyDiscard},
	dropOutStateInvalid:   {Counter: "XfrmOutStateInvalid", Reason: packet.NoSA},
	dropAcquireError:      {Counter: "XfrmAcquireError", Reason: packet.LarvalDropped},
	dropFragment:          {Reason: packet.Fragment},
	dropNoRoute:           {Reason: packet.NoRoute},
	dropNotIP:             {Reason: packet.BadHeader},
	dropKeepalive:         {Reason: packet.Keepalive},
	dropShortEncap:        {Reason: packet.BadLength},
	dropHeader4:           {Counter: "IpInHdrErrors", Reason: packet.BadHeader},
	dropChecksum:          {Counter: "IpExtInCsumErrors", Also: "IpInHdrErrors", Reason: packet.BadChecksum},
	dropOption4:           {Counter: "IpInHdrErrors", Reason: packet.BadOption},
	dropTruncated4:        {Counter: "IpExtInTruncatedPkts", Reason: packet.Truncated},
	dropAddress4:          {Reason: packet.BadAddress},
	dropSourceRoute4:      {Reason: packet.SourceRoute},
	dropHeader6:           {Counter: "Ip6InHdrErrors", Reason: packet.BadHeader},
	dropOption6:           {Counter: "Ip6InHdrErrors", Reason: packet.BadOption},
	dropTruncated6:        {Counter: "Ip6InTruncatedPkts", Reason: packet.Truncated},
	dropAddress6:          {Counter: "Ip6InHdrErrors", Reason: packet.BadAddress},
	dropNextHeader6:       {Counter: "Ip6InUnknownProtos", Reason: packet.BadHeader},
	dropRouting6:          {Counter: "Ip6InHdrErrors", Reason: packet.SourceRoute},
	dropSegments6:         {Reason: packet.SourceRoute},
	dropMobile6:           {Counter: "Ip6InAddrErrors", Reason: packet.SourceRoute},
	dropUnknownMobile6:    {Counter: "Ip6InAddrErrors", Also: "XfrmInNoStates", Reason: packet.SourceRoute},
}

// Counters reads the counters of /proc/net/xfrm_stat, and those of IP that count what it drops, which are not zero, by
// name.
func (x *Transforms) Counters() map[string]uint64 {
	m := map[string]uint64{}
	for name, n := range x.drops.Counters {
		m[name] += n
	}
	return m
}

// drop ends a packet. No lock is held.
func (x *Transforms) drop(p *packet.Packet, c dropCause) { x.drops.Drop(p, int(c)) }
