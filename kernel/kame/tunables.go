package kame

import (
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TCPMD5 is a tunable that every heir has: whether the kernel has the module, or the option, for TCP signatures. The
// originals have it when somebody asks for it; here it is there unless somebody switches it off, so that a BGP daemon
// finds it.
const TCPMD5 = "tcpmd5"

// LoadModule loads a part of the kernel that is not there from the beginning: ENOENT for a name that is none.
func (k *Kernel) LoadModule(name string) wire.Errno {
	if name != TCPMD5 {
		return wire.ENOENT
	}
	return k.SetSysctl(TCPMD5, 1)
}

// Knob is the value of a tunable, which the heir must have. It takes no lock.
func (k *Kernel) Knob(name string) int64 { return k.tun.Get(k.knobs[name]) }

// Sysctl reads a tunable, or what else sysctl(8) shows: ENOENT where there is nothing of that name. It takes no lock.
func (k *Kernel) Sysctl(name string) (int64, pfkey.Errno) {
	if i, ok := k.knobs[name]; ok {
		return k.tun.Get(i), wire.OK
	}
	if v, ok := k.heir.Shows(name); ok {
		return v, wire.OK
	}
	return 0, wire.ENOENT
}

// SetSysctl changes a tunable of the running kernel: EINVAL for a value out of bounds, ENOENT where there is none of
// that name, or why the heir refuses it. It takes the control lock.
func (k *Kernel) SetSysctl(name string, value int64) (errno pfkey.Errno) {
	k.e.Do(func() {
		if errno = k.heir.Setting(name, value); errno == wire.OK {
			errno = k.tun.Put(name, value)
		}
		k.resetTimers()
	})
	return errno
}

// resetTimers has passes look at LARVAL SAs at the times that a changed tunable says.
func (k *Kernel) resetTimers() {
	for h := range k.db.all {
		for s := range h.List(sadb.Larval) {
			k.setTimer(s)
		}
	}
}
