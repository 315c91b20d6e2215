package kame

import (
	"github.com/pfkeyd/pfkeyd/wire"
)

// register tells a socket what algorithms there are, and from now on what SAs are wanted (key_api_register,
// key_register). SA type 0 only asks.
func (k *Kernel) register(r *Request) wire.Errno {
	s, t := r.sender.s, r.Header.SAType
	if t != wire.SATypeUnspec {
		if s.Registered(t) {
			return wire.EEXIST
		}
		s.Register(t)
	}
	b := append(make([]byte, 0, 256), r.Msg[:wire.HeaderLen]...)
	b[2] = 0
	b = k.d.AppendSupported(b, wire.ExtSupportedAuth, wire.Supported{Algs: announced(k.page.Auths)})
	b = k.d.AppendSupported(b, wire.ExtSupportedEncrypt, wire.Supported{Algs: announced(k.page.Encrypts)})
	k.answer(r, ToRegistered, parcel{k.d.Finish(b), k.page.Buffers.Made(len(b)), k.page.RegisterFits})
	return wire.OK
}
