package afkey

import (
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// The range of SPIs when the request names none.
const (
	spiLeast = 0x100
	spiMost  = 0x0fffffff
)

// getSPI answers with a LARVAL SA that has an SPI.
func (k *Manager) getSPI(r *request) wire.Errno {
	src, dst, ok := k.ends(r)
	if !ok {
		return wire.EINVAL
	}
	proto, ok := protoOf(r.hdr.SAType)
	if !ok {
		return wire.EINVAL
	}
	q := &k.spi
	*q = transform.SPIRequest{Proto: proto, Src: src.Addr, Dst: dst.Addr, Seq: uint32(r.hdr.Seq),
		Min: spiLeast, Max: spiMost}
	if q.Mode, q.ReqID, ok = k.modeAndReqID(r); !ok {
		return wire.EINVAL
	}
	if r.has(wire.ExtSPIRange) {
		v, _ := k.d.ParseSPIRange(r.ext[wire.ExtSPIRange])
		q.Min, q.Max = uint32(v.Min), uint32(v.Max)
	}
	if errno := k.transforms.AllocSPI(q, &k.state); errno != wire.OK {
		return errno
	}
	return k.answer(r, &k.state, false)
}

// modeAndReqID reads X_SA2.
func (k *Manager) modeAndReqID(r *request) (transform.Mode, uint32, bool) {
	if !r.has(wire.KAMEExtXSA2) {
		return transform.Transport, 0, true
	}
	v, _ := k.d.ParseSA2(r.ext[wire.KAMEExtXSA2])
	m, ok := modeOf(v.Mode)
	return m, v.ReqID, ok
}
