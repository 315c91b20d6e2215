package afkey

import "github.com/pfkeyd/pfkeyd/wire"

// satypeMax is the highest SA type.
const satypeMax = uint8(wire.SATypeIPComp)

// register answers with the algorithms, to the sender and to everybody who is registered. SA type 0 registers for
// nothing.
func (k *Manager) register(r *request) wire.Errno {
	c := r.sender
	t, _ := k.d.SATypeNumber(r.hdr.SAType)
	if t > satypeMax {
		return wire.EINVAL
	}
	if t != 0 {
		if c.s.Registered(r.hdr.SAType) {
			return wire.EEXIST
		}
		c.s.Register(r.hdr.SAType)
		k.ask()
	}
	h := r.hdr
	h.Errno = 0
	b := k.d.AppendHeader(make([]byte, 0, 192), h)
	b = k.appendSupported(b, wire.ExtSupportedAuth, k.auths)
	b = k.appendSupported(b, wire.ExtSupportedEncrypt, k.encrypts)
	b = k.d.Finish(b)
	k.broadcast(message{bytes: b, size: len(b)}, toRegistered, c)
	return wire.OK
}
