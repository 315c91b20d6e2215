package illumos

import (
	"strings"
	"sync/atomic"

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
var dropRows = [dropsEnd]struct {
	name   string
	reason packet.Reason
}{
	dropLarvalTimeout:  {"sadb_inlarval_timeout", packet.LarvalGone},
	dropLarvalReplace:  {"sadb_inlarval_replace", packet.LarvalReplaced},
	dropIdleOverflow:   {"sadb_inidle_overflow", packet.IdleOverflow},
	dropIdleTimeout:    {"sadb_inidle_timeout", packet.IdleGone},
	dropAcquireNoMem:   {"sadb_acquire_nomem", packet.AcquireNoMemory},
	dropAcquireTooFull: {"sadb_acquire_toofull", packet.AcquireFull},
	dropAcquireTimeout: {"sadb_acquire_timeout", packet.AcquireGone},
	// The kernel tells no difference, people want one.
	dropAcquireUnheard:  {"sadb_acquire_timeout", packet.AcquireUnheard},
	dropNoSA:            {"_no_sa", packet.NoSA},
	dropEarlyReplay:     {"_early_replay", packet.ReplayEarly},
	dropReplay:          {"_replay", packet.Replayed},
	dropBytesExpire:     {"_bytes_expire", packet.BytesExpired},
	dropBadAuth:         {"_bad_auth", packet.BadICV},
	dropCryptoFailed:    {"_crypto_failed", packet.CryptoFailed},
	dropBadPadLen:       {"_bad_padlen", packet.BadPadLength},
	dropBadPadding:      {"_bad_padding", packet.BadPadding},
	dropIVWrap:          {"_iv_wrap", packet.IVExhausted},
	dropBadLength:       {"_bad_length", packet.BadLength},
	dropBadV4Opts:       {"_bad_v4_opts", packet.BadHeader},
	dropBadV6Hdrs:       {"_bad_v6_hdrs", packet.BadHeader},
	dropNoMem:           {"_nomem", packet.BadLength},
	dropNATTKeepalive:   {"_nat_t_ka", packet.Keepalive},
	dropNATTBad:         {"_nat_t_ipsec", packet.BadHeader},
	dropExplicit:        {"spd_explicit", packet.PolicyDiscard},
	dropInnerMismatch:   {"spd*_innermismatch", packet.PolicyMismatch},
	dropBadHeader:       {"ipIfStatsInDiscards", packet.BadHeader},
	dropFragment:        {"ipIfStatsInDiscards", packet.Fragment},
	dropHeader:          {"ipIfStatsInHdrErrors", packet.BadHeader},
	dropChecksum:        {"ipIfStatsInCksumErrs", packet.BadChecksum},
	dropTruncated:       {"ipIfStatsInTruncatedPkts", packet.Truncated},
	dropAddress:         {"ipIfStatsInAddrErrors", packet.BadAddress},
	dropOption:          {"ipIfStatsInHdrErrors", packet.BadOption},
	dropMalformedOption: {"", packet.BadOption}, // an ICMP error tells of it
	dropSourceRoute:     {"ipIfStatsForwProhibits", packet.SourceRoute},
	dropRouting:         {"ipIfStatsInAddrErrors", packet.SourceRoute},
	dropOutDiscards:     {"ipIfStatsOutDiscards", packet.BadHeader},
	dropNoMemory:        {"ipIfStatsInDiscards", packet.NoMemory},
	dropTaskRefused:     {"", packet.TaskRefused},
	dropShutdown:        {"", packet.Shutdown},
}

// counters are the kstats. They are atomic, because packets count without a lock, and kept in lanes, because packets on
// several cores count at once.
type counters struct {
	lanes    [packet.Lanes]lane
	drops    [2][dropsEnd]atomic.Uint64 // AH, ESP; those that name no protocol are counted under ESP
	qhiwater atomic.Uint64              // most packets seen on one acquire record
}

type lane struct {
	of [2][countersEnd]atomic.Uint64 // AH, ESP
	_  [64]byte
}

// index is the place of a protocol where there is one for each.
func (p *protocol) index() int {
	if p.isESP() {
		return 1
	}
	return 0
}

// add counts what belongs to no packet.
func (c *counters) add(p *protocol, n counter, delta uint64) { c.lanes[0].of[p.index()][n].Add(delta) }

// count counts one for a packet.
func (k *Kernel) count(pkt *packet.Packet, p *protocol, n counter) {
	k.counters.lanes[pkt.Lane()].of[p.index()][n].Add(1)
}

// read is the sum of a counter's lanes.
func (c *counters) read(index int, n counter) (sum uint64) {
	for i := range c.lanes {
		sum += c.lanes[i].of[index][n].Load()
	}
	return sum
}

func dropName(esp bool, c dropCause) string {
	name, proto := dropRows[c].name, "ah"
	if esp {
		proto = "esp"
	}
	if strings.HasPrefix(name, "_") {
		return proto + name
	}
	return strings.Replace(name, "*", "_"+proto, 1)
}

// dropNames are made once: a flood of bad packets makes no garbage.
var dropNames = func() (names [2][dropsEnd]string) {
	for c := range dropsEnd {
		names[0][c], names[1][c] = dropName(false, c), dropName(true, c)
	}
	return names
}()

// Counters reads the kstats that are not zero, by group and name, such as esp/keysock_in or ipdrop/esp_no_sa.
func (k *Kernel) Counters() map[string]uint64 {
	m := map[string]uint64{}
	put := func(name string, v uint64) {
		if v != 0 {
			m[name] += v
		}
	}
	for i := range countersEnd {
		name := counterNames[i]
		if i < inRequests {
			put("esp/"+name, k.counters.read(1, i))
			put("ah/"+name, k.counters.read(0, i))
		} else {
			put("ipsec/esp_stat_"+name, k.counters.read(1, i))
			put("ipsec/ah_stat_"+name, k.counters.read(0, i))
		}
	}
	for i := range k.counters.drops {
		for c := range dropsEnd {
			if name := dropNames[i][c]; name != "" && !strings.HasPrefix(name, "ipIf") {
				put("ipdrop/"+name, k.counters.drops[i][c].Load())
			}
		}
	}
	put("ipsec/sadb_acquire_qhiwater", k.counters.qhiwater.Load())
	return m
}

// drop ends a packet that belongs to no protocol in particular.
func (k *Kernel) drop(p *packet.Packet, c dropCause) { k.dropFor(k.esp, p, c) }

// dropFor ends a packet of ESP or AH. No lock is held.
func (k *Kernel) dropFor(proto *protocol, p *packet.Packet, c dropCause) {
	i := proto.index()
	k.counters.drops[i][c].Add(1)
	p.End(packet.Verdict{Kind: packet.Dropped, Reason: dropRows[c].reason, Counter: dropNames[i][c]})
}
