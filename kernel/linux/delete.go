package linux

import "github.com/pfkeyd/pfkeyd/wire"

// named finds the SA that GET or DELETE is about: by SA type, SPI and destination.
func (k *Kernel) named(r *request) (*sa, wire.Errno) {
	_, dst, ok := k.ends(r)
	if !ok || !r.has(wire.ExtSA) {
		return nil, wire.EINVAL
	}
	proto, ok := protoOf(r.hdr.SAType)
	if !ok {
		return nil, wire.ESRCH
	}
	v, _ := k.d.ParseSA(r.ext[wire.ExtSA])
	s := k.states.find(dst.Addr, v.SPI, proto)
	if s == nil {
		return nil, wire.ESRCH
	}
	return s, wire.OK
}

// deleteSA handles DELETE, which tells everybody what is gone.
func (k *Kernel) deleteSA(r *request) wire.Errno {
	s, errno := k.named(r)
	if errno != wire.OK {
		return errno
	}
	k.remove(s)
	k.tellSA(r, s)
	return wire.OK
}
