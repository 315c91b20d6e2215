package openbsd

import (
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Knobs beside those of ACQUIREs and packets.
const (
	invalidLife = "net.inet.ip.ipsec-invalid-life"
	tcpMD5      = "tcpmd5" // whether the kernel knows TCP signatures
)

const (
	maxInt = 1<<31 - 1
	minInt = -1 << 31
)

// tunables are the knobs, by the names that sysctl(8) has.
var tunables = []engine.Tunable{
	{Name: tcpMD5, Max: 1, Default: 1},
	{Name: "net.inet.esp.enable", Min: minInt, Max: maxInt, Default: 1},
	{Name: "net.inet.ah.enable", Min: minInt, Max: maxInt, Default: 1},
	{Name: "net.inet.ipcomp.enable", Min: minInt, Max: maxInt},
	{Name: udpEncap, Min: minInt, Max: maxInt, Default: 1},
	{Name: udpEncapPort, Max: 65535, Default: 4500},
	{Name: expireAcquire, Min: minInt, Max: maxInt, Default: 30},
	{Name: invalidLife, Min: minInt, Max: maxInt, Default: 60},
	{Name: requirePFS, Min: minInt, Max: maxInt, Default: 1},
	{Name: softAllocs, Min: minInt, Max: maxInt},
	{Name: hardAllocs, Min: minInt, Max: maxInt},
	{Name: softBytes, Min: minInt, Max: maxInt},
	{Name: hardBytes, Min: minInt, Max: maxInt},
	{Name: softTimeout, Min: minInt, Max: maxInt, Default: 80000},
	{Name: hardTimeout, Min: minInt, Max: maxInt, Default: 86400},
	{Name: softFirstUse, Min: minInt, Max: maxInt, Default: 3600},
	{Name: hardFirstUse, Min: minInt, Max: maxInt, Default: 7200},
	{Name: defaultEncrypt, Min: minInt, Max: maxInt},
	{Name: defaultAuth, Min: minInt, Max: maxInt},
	{Name: defaultCompress, Min: minInt, Max: maxInt},
}

// knobs are the places of the tunables, by their names.
var knobs = func() map[string]int {
	m := map[string]int{}
	for i, t := range tunables {
		m[t.Name] = i
	}
	return m
}()

// Knob is the value of a tunable, which there must be. It takes no lock.
func (k *Kernel) Knob(name string) int64 { return k.tun.Get(knobs[name]) }

// Sysctl reads a tunable: ENOENT where there is none of that name. It takes no lock.
func (k *Kernel) Sysctl(name string) (int64, pfkey.Errno) {
	i, ok := knobs[name]
	if !ok {
		return 0, wire.ENOENT
	}
	return k.tun.Get(i), wire.OK
}

// SetSysctl changes a tunable of the running kernel: EINVAL for a value out of bounds, ENOENT where there is none of
// that name.
func (k *Kernel) SetSysctl(name string, value int64) pfkey.Errno { return k.tun.Put(name, value) }
