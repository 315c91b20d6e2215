package afkey

import (
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// named reads which SA a GET or DELETE is about: by SA type, SPI and destination.
func (k *Manager) named(r *request) (name sadb.Key, errno wire.Errno) {
	_, dst, ok := k.ends(r)
	if !ok || !r.has(wire.ExtSA) {
		return name, wire.EINVAL
	}
	proto, ok := protoOf(r.hdr.SAType)
	if !ok {
		return name, wire.ESRCH
	}
	v, _ := k.d.ParseSA(r.ext[wire.ExtSA])
	return sadb.Key{Dst: dst.Addr, SPI: uint32(v.SPI), Proto: proto}, wire.OK
}

// deleteSA handles DELETE, of which everybody hears.
func (k *Manager) deleteSA(r *request) wire.Errno {
	name, errno := k.named(r)
	if errno != wire.OK {
		return errno
	}
	return k.transforms.Delete(name, r.by())
}
