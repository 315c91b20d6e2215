package illumos

import (
	"github.com/pfkeyd/pfkeyd/internal/engine"
)

const (
	tunAgeInterval = iota // ms
	tunReapDelay          // s
	tunReplaySize         // packets, advertised in proposals
	tunAcquireTimeout
	tunLarvalTimeout
	tunSoftBytes // default lifetimes: they only fill proposals
	tunHardBytes
	tunSoftAddTime
	tunHardAddTime
	tunSoftUseTime
	tunHardUseTime
	tunPaddingCheck // ESP
	tunNATKeepalive // ESP, s
	tunPerProtocol
)

// protocolTunables are knobs of ndd(8) or ipadm(8) that have an effect here.
var protocolTunables = [tunPerProtocol]engine.Tunable{
	tunAgeInterval:    {Name: "age_interval", Min: 125, Max: 32000, Default: 8000},
	tunReapDelay:      {Name: "reap_delay", Min: 1, Max: 10, Default: 1},
	tunReplaySize:     {Name: "replay_size", Min: 1, Max: 256, Default: 64},
	tunAcquireTimeout: {Name: "acquire_timeout", Min: 1, Max: 300, Default: 15},
	tunLarvalTimeout:  {Name: "larval_timeout", Min: 1, Max: 1800, Default: 90},
	tunSoftBytes:      {Name: "default_soft_bytes", Min: 0, Max: 1<<32 - 1, Default: 0},
	tunHardBytes:      {Name: "default_hard_bytes", Min: 0, Max: 1<<32 - 1, Default: 0},
	tunSoftAddTime:    {Name: "default_soft_addtime", Min: 0, Max: 1<<32 - 1, Default: 24000},
	tunHardAddTime:    {Name: "default_hard_addtime", Min: 0, Max: 1<<32 - 1, Default: 28800},
	tunSoftUseTime:    {Name: "default_soft_usetime", Min: 0, Max: 1<<32 - 1, Default: 0},
	tunHardUseTime:    {Name: "default_hard_usetime", Min: 0, Max: 1<<32 - 1, Default: 0},
	tunPaddingCheck:   {Name: "padding_check", Min: 0, Max: 2, Default: 1},
	tunNATKeepalive:   {Name: "nat_keepalive_interval", Min: 0, Max: 600, Default: 20},
}

const (
	tunRecvHiwat = iota // bytes
	tunSendHiwat
	tunRecvLowat
	tunMaxBuf
	tunKeysockEnd
)

var keysockTunables = [tunKeysockEnd]engine.Tunable{
	tunRecvHiwat: {Name: "recv_hiwat", Min: 4096, Max: 65536, Default: 8192},
	tunSendHiwat: {Name: "xmit_hiwat", Min: 4096, Max: 65536, Default: 8192},
	tunRecvLowat: {Name: "recv_lowat", Min: 0, Max: 65536, Default: 1024},
	tunMaxBuf:    {Name: "max_buf", Min: 65536, Max: 1 << 30, Default: 262144},
}

const (
	limSAs = iota
	limSockets
	limAcquires
	limIdentities // bytes
	limQueued     // bytes
	limHeld       // bytes
	limEnd
)

// limits are bounds of ours, see limits.go.
var limits = [limEnd]engine.Tunable{
	limSAs:        {Name: "max_sas", Min: 1, Max: 1 << 24, Default: 1 << 22},
	limSockets:    {Name: "max_sockets", Min: 1, Max: 1 << 16, Default: 1024},
	limAcquires:   {Name: "max_acquires", Min: 1, Max: 1 << 24, Default: 65536},
	limIdentities: {Name: "max_identities", Min: 0, Max: 1<<32 - 1, Default: 64 << 20},
	limQueued:     {Name: "max_queued", Min: 0, Max: 1<<32 - 1, Default: 3 << 30},
	limHeld:       {Name: "max_held", Min: 1, Max: 1<<32 - 1, Default: 64 << 20},
}

// acquireMaxPackets is ipsacq_maxpackets, a variable of the kernel rather than a tunable: packets per acquire record.
const acquireMaxPackets = 4

// newTunables gives the tunables their values, which are fixed from then on. Names are MODULE:NAME, such as
// ipsecesp:larval_timeout; without a module the name is meant for both ESP and AH.
func newTunables(values map[string]string) (*engine.Tunables, error) {
	return engine.NewTunables(values,
		engine.Module{Name: "ipsecah", Rows: protocolTunables[:tunPaddingCheck]},
		engine.Module{Name: "ipsecesp", Rows: protocolTunables[:]},
		engine.Module{Name: "keysock", Rows: keysockTunables[:]},
		engine.Module{Name: "pfkeyd", Rows: limits[:]})
}

// Where the tunables of each module begin.
const (
	tunAH      = 0
	tunESP     = tunAH + tunPaddingCheck // AH has only those before this one
	tunKeysock = tunESP + tunPerProtocol
	tunLimits  = tunKeysock + tunKeysockEnd
)

func (k *Kernel) keysock(i int) int { return int(k.tun.Get(tunKeysock + i)) }

func (k *Kernel) limit(i int) int64 { return k.tun.Get(tunLimits + i) }

// ageInterval is the time between two passes of the ager, in seconds, at least one. The original doubles it under load;
// that is not emulated, nor are intervals that differ between AH and ESP: the shorter one counts.
func (k *Kernel) ageInterval() int64 {
	return max(1, min(k.ah.tun(tunAgeInterval), k.esp.tun(tunAgeInterval))/1000)
}

// tun returns a tunable of the protocol.
func (p *protocol) tun(i int) int64 {
	if p.isESP() {
		return p.k.tun.Get(tunESP + i)
	}
	return p.k.tun.Get(tunAH + i)
}
