package illumos

import (
	"encoding/binary"

	"github.com/pfkeyd/pfkeyd/wire"
)

// getSPI reserves an SPI with a LARVAL SA, which always goes into the inbound table. One number is tried: if it is
// taken, key management asks again. No number is excluded, not even those that RFC 2406 reserves.
func (k *Kernel) getSPI(p *protocol, r *request) result {
	for _, t := range []wire.ExtType{wire.ExtAddressSrc, wire.ExtAddressDst, wire.ExtSPIRange} {
		if !r.has(t) {
			return missing(t)
		}
	}
	lo, hi := spiRange(r.ext[wire.ExtSPIRange])
	spi := k.e.Uint32()
	if spi < lo || spi > hi {
		spi = lo + uint32(uint64(spi)%(uint64(hi)-uint64(lo)+1))
	}
	src, dst := r.address(k, wire.ExtAddressSrc).addr(), r.address(k, wire.ExtAddressDst).addr()
	f := p.familyOf(dst)
	if k.noRoomFor(1, 0) {
		return noMemory
	}
	if f.out.lookup(wire.SPI(spi), src, dst) != nil {
		return result{errno: wire.EEXIST}
	}
	s := &sa{p: p, spi: wire.SPI(spi), src: src, dst: dst}
	s.hardExpire = k.now() + p.tun(tunLarvalTimeout)
	if !f.in.insert(s) {
		return result{errno: wire.EEXIST}
	}
	k.dueAt(s.hardExpire)
	k.tellState(s)

	// The SPIRANGE becomes an SA extension where it stands. Replay, state, algorithms and flags are zero.
	// Its length stays, even if it is no SA's.
	raw := r.ext[wire.ExtSPIRange][:16]
	k.d.Order.PutUint16(raw[2:], uint16(wire.ExtSA))
	clear(raw[4:])
	binary.BigEndian.PutUint32(raw[4:], spi)
	k.passUp(r.msg, r.sender, fromConsumer)
	return result{}
}
