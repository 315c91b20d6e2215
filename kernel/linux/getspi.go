package linux

import (
	"time"

	"github.com/pfkeyd/pfkeyd/wire"
)

// The range of SPIs when the request names none.
const (
	spiLeast = 0x100
	spiMost  = 0x0fffffff
	cpiMost  = 0xffff // IPCOMP
)

// getSPI makes a LARVAL SA, or takes one that fits, and gives it an SPI. What it makes stays, even if the rest fails.
func (k *Kernel) getSPI(r *request) wire.Errno {
	src, dst, ok := k.ends(r)
	if !ok {
		return wire.EINVAL
	}
	proto, ok := protoOf(r.hdr.SAType)
	if !ok {
		return wire.EINVAL
	}
	key := flowKey{dst: dst.Addr, src: src.Addr, proto: proto}
	if key.mode, key.reqID, ok = k.modeAndReqID(r); !ok {
		return wire.EINVAL
	}
	s := k.states.findAcquired(uint32(r.hdr.Seq))
	if s == nil || s.dst != dst.Addr {
		if s = k.states.findLarval(key); s == nil {
			if k.states.n >= maxSAs {
				return wire.ENOENT
			}
			s = k.newLarval(key, &selector{src: raw(src.Addr)}) // which shows, in that messages have no PROXY
			k.insert(s, k.larvalLifetime())
		}
	}
	least, most := wire.SPI(spiLeast), wire.SPI(spiMost)
	if r.has(wire.ExtSPIRange) {
		v, _ := k.d.ParseSPIRange(r.ext[wire.ExtSPIRange])
		least, most = v.Min, v.Max
	}
	if !saProto(s.proto) || least > most || s.proto == protoComp && most > cpiMost {
		return wire.EINVAL
	}
	if !k.pickSPI(s, least, most) {
		return wire.ENOENT
	}
	if !s.showable() {
		return wire.EINVAL
	}
	k.broadcast(k.saMessage(resultHeader(r), s, false), toOne, r.sender)
	return wire.OK
}

// modeAndReqID reads X_SA2.
func (k *Kernel) modeAndReqID(r *request) (mode, uint32, bool) {
	if !r.has(wire.KAMEExtXSA2) {
		return modeTransport, 0, true
	}
	v, _ := k.d.ParseSA2(r.ext[wire.KAMEExtXSA2])
	m, ok := modeOf(v.Mode)
	return m, v.ReqID, ok
}

// newLarval makes an SA without keys, which is not in the table yet.
func (k *Kernel) newLarval(key flowKey, sel *selector) *sa {
	s := &sa{proto: key.proto, mode: key.mode, src: key.src, dst: key.dst, reqID: key.reqID, sel: sel, limits: noLimits,
		addTime: k.now()}
	s.limits.hard.addTime = uint64(k.tun.Get(tunAcqExpires))
	return s
}

// larvalLifetime is how long a LARVAL SA lives.
func (k *Kernel) larvalLifetime() time.Duration {
	return time.Duration(k.tun.Get(tunAcqExpires)) * time.Second
}

// pickSPI gives a LARVAL SA an SPI from a range unless it has one. Small ranges may fail although an SPI is free: there
// are only as many tries as the range has values, and the range of all 2^32 counts as none.
func (k *Kernel) pickSPI(s *sa, least, most wire.SPI) bool {
	if s.spi != 0 {
		return true
	}
	pick := least
	if least == most {
		if k.states.find(s.dst, least, s.proto) != nil {
			return false
		}
	} else {
		pick = 0
		n := uint32(most - least + 1)
		for range n {
			try := least + wire.SPI(k.e.Uint32()%n)
			if k.states.find(s.dst, try, s.proto) == nil {
				pick = try
				break
			}
		}
	}
	if pick == 0 {
		return false
	}
	k.states.giveSPI(s, pick)
	return true
}
