package kame

import (
	"github.com/pfkeyd/pfkeyd/wire"
)

// get shows one SA, with its keys (key_api_get, key_get).
func (k *Kernel) get(r *Request) wire.Errno {
	s, errno := k.named(r)
	if errno != wire.OK {
		return errno
	}
	k.Answer(r, ToOne, k.describeSA(s, wire.Header{Type: r.Header.Type, Seq: r.Header.Seq, PID: r.Header.PID}))
	return wire.OK
}

// named is the SA that a GET or DELETE names.
func (k *Kernel) named(r *Request) (*SA, wire.Errno) {
	if !r.Has(wire.ExtSA, wire.ExtAddressSrc, wire.ExtAddressDst) {
		return nil, wire.EINVAL
	}
	x := k.Index(r)
	x.Mode, x.ReqID = wire.ModeAny, 0
	v, _ := k.d.ParseSA(r.Ext(wire.ExtSA))
	return k.heir.Find(&x, uint32(v.SPI))
}
