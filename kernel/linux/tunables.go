package linux

import (
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/linux/afkey"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

const (
	tunAcqExpires  = iota // s, of LARVAL SAs
	tunRecvDefault        // bytes
	tunRecvMax
	tunSendDefault
	tunSendMax
	tunablesEnd
)

// tunableRows are the files of /proc/sys that have an effect here.
var tunableRows = [tunablesEnd]engine.Tunable{
	tunAcqExpires:  {Name: "net.core.xfrm_acq_expires", Min: 0, Max: 1<<31 - 1, Default: 30},
	tunRecvDefault: {Name: "net.core.rmem_default", Min: afkey.LeastRecvBuf, Max: 1<<31 - 1, Default: 212992},
	tunRecvMax:     {Name: "net.core.rmem_max", Min: afkey.LeastRecvBuf, Max: 1 << 30, Default: 212992},
	tunSendDefault: {Name: "net.core.wmem_default", Min: afkey.LeastSendBuf, Max: 1<<31 - 1, Default: 212992},
	tunSendMax:     {Name: "net.core.wmem_max", Min: afkey.LeastSendBuf, Max: 1 << 30, Default: 212992},
}

// Sysctl changes a tunable of a running kernel, by its name with dots or as a path: EINVAL for a value out of bounds,
// ENOENT for a name that has no effect here.
func (k *Kernel) Sysctl(name string, value int) pfkey.Errno { return k.tun.Put(name, int64(value)) }

// tunable is how a value is read for as long as the kernel runs.
func (k *Kernel) tunable(i int) func() int { return func() int { return int(k.tun.Get(i)) } }
