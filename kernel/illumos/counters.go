package illumos

import (
	"strings"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/packet"
)

// counter is a kstat of ESP and of AH.
type counter uint8

const (
	goodAuth counter = iota
	badAuth
	badPadding
	replayFailures
	replayEarlyFailures
	keysockIn
	outRequests
	acquireRequests
	bytesExpired
	outDiscards
	cryptoSync
	cryptoFailures
	badDecrypt
	portRenumbers
	inRequests // these three are counted by IP, in ipsec_stat
	inDiscards
	lookupFailure
	countersEnd
)

var counterNames = [countersEnd]string{
	goodAuth: "good_auth", badAuth: "bad_auth", badPadding: "bad_padding", replayFailures: "replay_failures",
	replayEarlyFailures: "replay_early_failures", keysockIn: "keysock_in", outRequests: "out_requests",
	acquireRequests: "acquire_requests", bytesExpired: "bytes_expired", outDiscards: "out_discards",
	cryptoSync:     "crypto_sync",
	cryptoFailures: "crypto_failures", badDecrypt: "bad_decrypt", portRenumbers: "sa_port_renumbers",
	inRequests: "in_requests", inDiscards: "in_discards", lookupFailure: "lookup_failure",
}

// dropCause is a reason of illumos' IP dropper, ipds_*.
type dropCause uint8

const (
	dropLarvalTimeout dropCause = iota
	dropLarvalReplace
	dropIdleOverflow
	dropIdleTimeout
	dropAcquireNoMem
	dropAcquireTooFull
	dropAcquireTimeout
	dropAcquireUnheard
	dropNoSA
	dropEarlyReplay
	dropReplay
	dropBytesExpire
	dropBadAuth
	dropCryptoFailed
	dropBadPadLen
	dropBadPadding
	dropIVWrap
	dropBadLength
	dropBadV4Opts
	dropBadV6Hdrs
	dropNoMem
	dropNATTKeepalive
	dropNATTBad
	dropExplicit
	dropInnerMismatch
	dropBadHeader // counted by IP alone
	dropFragment
	dropHeader
	dropChecksum
	dropTruncated
	dropAddress
	dropOption
	dropMalformedOption
	dropSourceRoute
	dropRouting
	dropOutDiscards
	dropNoMemory // counted by IP alone
	dropTaskRefused
	dropShutdown
	dropsEnd
)

// noDrop says that a packet goes on.
const noDrop = dropsEnd

// dropRows say how each cause is counted. A name that begins with an underscore gets the protocol's in front, and a
// star stands for it.
var dropRows = [dropsEnd]engine.Cause{
	dropLarvalTimeout:  {Counter: "sadb_inlarval_timeout", Reason: packet.LarvalGone},
	dropLarvalReplace:  {Counter: "sadb_inlarval_replace", Reason: packet.LarvalReplaced},
	dropIdleOverflow:   {Counter: "sadb_inidle_overflow", Reason: packet.IdleOverflow},
	dropIdleTimeout:    {Counter: "sadb_inidle_timeout", Reason: packet.IdleGone},
	dropAcquireNoMem:   {Counter: "sadb_acquire_nomem", Reason: packet.AcquireNoMemory},
	dropAcquireTooFull: {Counter: "sadb_acquire_toofull", Reason: packet.AcquireFull},
	dropAcquireTimeout: {Counter: "sadb_acquire_timeout", Reason: packet.AcquireGone},
	// The kernel tells no difference, people want one.
	dropAcquireUnheard:  {Counter: "sadb_acquire_timeout", Reason: packet.AcquireUnheard},
	dropNoSA:            {Counter: "_no_sa", Reason: packet.NoSA},
	dropEarlyReplay:     {Counter: "_early_replay", Reason: packet.ReplayEarly},
	dropReplay:          {Counter: "_replay", Reason: packet.Replayed},
	dropBytesExpire:     {Counter: "_bytes_expire", Reason: packet.BytesExpired},
	dropBadAuth:         {Counter: "_bad_auth", Reason: packet.BadICV},
	dropCryptoFailed:    {Counter: "_crypto_failed", Reason: packet.CryptoFailed},
	dropBadPadLen:       {Counter: "_bad_padlen", Reason: packet.BadPadLength},
	dropBadPadding:      {Counter: "_bad_padding", Reason: packet.BadPadding},
	dropIVWrap:          {Counter: "_iv_wrap", Reason: packet.IVExhausted},
	dropBadLength:       {Counter: "_bad_length", Reason: packet.BadLength},
	dropBadV4Opts:       {Counter: "_bad_v4_opts", Reason: packet.BadHeader},
	dropBadV6Hdrs:       {Counter: "_bad_v6_hdrs", Reason: packet.BadHeader},
	dropNoMem:           {Counter: "_nomem", Reason: packet.BadLength},
	dropNATTKeepalive:   {Counter: "_nat_t_ka", Reason: packet.Keepalive},
	dropNATTBad:         {Counter: "_nat_t_ipsec", Reason: packet.BadHeader},
	dropExplicit:        {Counter: "spd_explicit", Reason: packet.PolicyDiscard},
	dropInnerMismatch:   {Counter: "spd*_innermismatch", Reason: packet.PolicyMismatch},
	dropBadHeader:       {Counter: "ipIfStatsInDiscards", Reason: packet.BadHeader},
	dropFragment:        {Counter: "ipIfStatsInDiscards", Reason: packet.Fragment},
	dropHeader:          {Counter: "ipIfStatsInHdrErrors", Reason: packet.BadHeader},
	dropChecksum:        {Counter: "ipIfStatsInCksumErrs", Reason: packet.BadChecksum},
	dropTruncated:       {Counter: "ipIfStatsInTruncatedPkts", Reason: packet.Truncated},
	dropAddress:         {Counter: "ipIfStatsInAddrErrors", Reason: packet.BadAddress},
	dropOption:          {Counter: "ipIfStatsInHdrErrors", Reason: packet.BadOption},
	dropMalformedOption: {Reason: packet.BadOption}, // an ICMP error tells of it
	dropSourceRoute:     {Counter: "ipIfStatsForwProhibits", Reason: packet.SourceRoute},
	dropRouting:         {Counter: "ipIfStatsInAddrErrors", Reason: packet.SourceRoute},
	dropOutDiscards:     {Counter: "ipIfStatsOutDiscards", Reason: packet.BadHeader},
	dropNoMemory:        {Counter: "ipIfStatsInDiscards", Reason: packet.NoMemory},
	dropTaskRefused:     {Reason: packet.TaskRefused},
	dropShutdown:        {Reason: packet.Shutdown},
}

// causes are those of AH and then those of ESP, which have names of their own; what names no protocol is counted under
// ESP.
func causes() *engine.Causes {
	var rows []engine.Cause
	for _, proto := range []string{"ah", "esp"} {
		for _, row := range dropRows {
			if strings.HasPrefix(row.Counter, "_") {
				row.Counter = proto + row.Counter
			}
			row.Counter = strings.Replace(row.Counter, "*", "_"+proto, 1)
			rows = append(rows, row)
		}
	}
	return engine.NewCauses(rows)
}

// index is the place of a protocol where there is one for each.
func (p *protocol) index() int {
	if p.isESP() {
		return 1
	}
	return 0
}

// kstat is the place of a counter: those of AH come first.
func (p *protocol) kstat(n counter) int { return p.index()*int(countersEnd) + int(n) }

// countFor counts what belongs to no packet.
func (k *Kernel) countFor(p *protocol, n counter, delta uint64) { k.counters.Add(p.kstat(n), delta) }

// count counts one for a packet.
func (k *Kernel) count(pkt *packet.Packet, p *protocol, n counter) { k.counters.Count(pkt, p.kstat(n)) }

// Counters reads the kstats that are not zero, by group and name, such as esp/keysock_in or ipdrop/esp_no_sa.
func (k *Kernel) Counters() map[string]uint64 {
	m := map[string]uint64{}
	put := func(name string, v uint64) {
		if v != 0 {
			m[name] += v
		}
	}
	for i := range countersEnd {
		esp, ah := k.counters.Read(k.esp.kstat(i)), k.counters.Read(k.ah.kstat(i))
		if i < inRequests {
			put("esp/"+counterNames[i], esp)
			put("ah/"+counterNames[i], ah)
		} else {
			put("ipsec/esp_stat_"+counterNames[i], esp)
			put("ipsec/ah_stat_"+counterNames[i], ah)
		}
	}
	for name, n := range k.drops.Counters {
		if !strings.HasPrefix(name, "ipIf") {
			put("ipdrop/"+name, n)
		}
	}
	put("ipsec/sadb_acquire_qhiwater", k.qhiwater.Load())
	return m
}

// drop ends a packet that belongs to no protocol in particular.
func (k *Kernel) drop(p *packet.Packet, c dropCause) { k.dropFor(k.esp, p, c) }

// dropFor ends a packet of ESP or AH. No lock is held.
func (k *Kernel) dropFor(proto *protocol, p *packet.Packet, c dropCause) {
	k.drops.Drop(p, proto.index()*int(dropsEnd)+int(c))
}
