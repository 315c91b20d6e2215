package illumos

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pfkeyd/pfkeyd/packet"
)

// tunable is one knob of ndd(8) or ipadm(8) that has an effect here.
type tunable struct {
	name          string
	min, max, def uint32
}

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

var protocolTunables = [tunPerProtocol]tunable{
	tunAgeInterval:    {"age_interval", 125, 32000, 8000},
	tunReapDelay:      {"reap_delay", 1, 10, 1},
	tunReplaySize:     {"replay_size", 1, 256, 64},
	tunAcquireTimeout: {"acquire_timeout", 1, 300, 15},
	tunLarvalTimeout:  {"larval_timeout", 1, 1800, 90},
	tunSoftBytes:      {"default_soft_bytes", 0, 1<<32 - 1, 0},
	tunHardBytes:      {"default_hard_bytes", 0, 1<<32 - 1, 0},
	tunSoftAddTime:    {"default_soft_addtime", 0, 1<<32 - 1, 24000},
	tunHardAddTime:    {"default_hard_addtime", 0, 1<<32 - 1, 28800},
	tunSoftUseTime:    {"default_soft_usetime", 0, 1<<32 - 1, 0},
	tunHardUseTime:    {"default_hard_usetime", 0, 1<<32 - 1, 0},
	tunPaddingCheck:   {"padding_check", 0, 2, 1},
	tunNATKeepalive:   {"nat_keepalive_interval", 0, 600, 20},
}

const (
	tunRecvHiwat = iota // bytes
	tunSendHiwat
	tunRecvLowat
	tunMaxBuf
	tunKeysock
)

var keysockTunables = [tunKeysock]tunable{
	tunRecvHiwat: {"recv_hiwat", 4096, 65536, 8192},
	tunSendHiwat: {"xmit_hiwat", 4096, 65536, 8192},
	tunRecvLowat: {"recv_lowat", 0, 65536, 1024},
	tunMaxBuf:    {"max_buf", 65536, 1 << 30, 262144},
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
var limits = [limEnd]tunable{
	limSAs:        {"max_sas", 1, 1 << 24, 1 << 22},
	limSockets:    {"max_sockets", 1, 1 << 16, 1024},
	limAcquires:   {"max_acquires", 1, 1 << 24, 65536},
	limIdentities: {"max_identities", 0, 1<<32 - 1, 64 << 20},
	limQueued:     {"max_queued", 0, 1<<32 - 1, 3 << 30},
	limHeld:       {"max_held", 1, 1<<32 - 1, packet.DefaultHeldLimit},
}

// acquireMaxPackets is ipsacq_maxpackets, a variable of the kernel rather than a tunable: packets per acquire record.
const acquireMaxPackets = 4

// tunables are the values in force, fixed when the engine starts. Names are MODULE:NAME, such as
// ipsecesp:larval_timeout; without a module the name is meant for both ESP and AH.
type tunables struct {
	ah, esp [tunPerProtocol]uint32
	keysock [tunKeysock]uint32
	limits  [limEnd]uint32
}

func (t *tunables) limit(i int) int64 { return int64(t.limits[i]) }

func (t *tunables) set(values map[string]string) error {
	for i, row := range protocolTunables {
		t.ah[i], t.esp[i] = row.def, row.def
	}
	for i, row := range keysockTunables {
		t.keysock[i] = row.def
	}
	for i, row := range limits {
		t.limits[i] = row.def
	}
	for _, name := range slices.Sorted(maps.Keys(values)) { // so that of several errors the same one is told
		if err := t.setOne(name, values[name]); err != nil {
			return err
		}
	}
	return nil
}

func (t *tunables) setOne(name, value string) error {
	module, short, ok := strings.Cut(name, ":")
	if !ok {
		module, short = "", name
	}
	known := false
	for _, m := range []struct {
		name string
		rows []tunable
		into []uint32
	}{
		{"ipsecah", protocolTunables[:tunPaddingCheck], t.ah[:]},
		{"ipsecesp", protocolTunables[:], t.esp[:]},
		{"keysock", keysockTunables[:], t.keysock[:]},
		{"pfkeyd", limits[:], t.limits[:]},
	} {
		for i, row := range m.rows {
			if row.name != short || module != "" && module != m.name {
				continue
			}
			known = true
			n, err := strconv.ParseUint(value, 0, 32)
			if err != nil || uint32(n) < row.min || uint32(n) > row.max {
				return fmt.Errorf("tunable %s: %q is not a number from %d to %d", name, value, row.min, row.max)
			}
			m.into[i] = uint32(n)
		}
	}
	if !known {
		return fmt.Errorf("unknown tunable %q (known: %s)", name, strings.Join(tunableNames(), ", "))
	}
	return nil
}

func tunableNames() (names []string) {
	for _, row := range protocolTunables {
		names = append(names, row.name)
	}
	for _, row := range keysockTunables {
		names = append(names, "keysock:"+row.name)
	}
	for _, row := range limits {
		names = append(names, "pfkeyd:"+row.name)
	}
	return names
}

// ageInterval is the time between two passes of the ager, in seconds, at least one. The original doubles it under load;
// that is not emulated, nor are intervals that differ between AH and ESP: the shorter one counts.
func (t *tunables) ageInterval() int64 {
	return max(1, int64(min(t.ah[tunAgeInterval], t.esp[tunAgeInterval]))/1000)
}

// tun returns a tunable of the protocol.
func (p *protocol) tun(i int) int64 {
	if p.isESP() {
		return int64(p.k.tun.esp[i])
	}
	return int64(p.k.tun.ah[i])
}
