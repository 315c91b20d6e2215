package kame

import (
	"github.com/pfkeyd/pfkeyd/wire"
)

// delete kills the SA that is named, or without an SPI all of a pair that have keys (key_api_delete, key_delete).
func (k *Kernel) delete(r *Request) wire.Errno {
	if !r.Has(wire.ExtAddressSrc, wire.ExtAddressDst) {
		return wire.EINVAL
	}
	if !r.Has(wire.ExtSA) {
		x := k.Index(r)
		x.Mode, x.ReqID = wire.ModeAny, 0
		k.heir.DeleteAll(&x)
	} else {
		s, errno := k.named(r)
		if errno != wire.OK {
			return errno
		}
		k.Kill(s)
	}
	k.Answer(r, ToAll, k.Echo(r, []wire.ExtType{wire.ExtSA, wire.ExtAddressSrc, wire.ExtAddressDst}))
	return wire.OK
}

// KillAll ends the SAs of a head that have keys.
func (k *Kernel) KillAll(h *Head) {
	for _, s := range h.Alive() {
		k.Kill(s)
	}
}
