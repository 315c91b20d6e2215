package xfrm

import (
	"time"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// cpiMost is the highest SPI of IPCOMP.
const cpiMost = 0xffff

// AllocSPI makes a LARVAL SA, or takes one that fits, and gives it an SPI. What it makes stays, even if the rest fails.
func (x *Transforms) AllocSPI(q *transform.SPIRequest, to *transform.State) wire.Errno {
	s := x.states.findAcquired(q.Seq)
	if s == nil || s.Dst != q.Dst {
		key := flowKey{dst: q.Dst, src: q.Src, reqID: q.ReqID, proto: q.Proto, mode: q.Mode}
		if s = x.states.findLarval(key); s == nil {
			if x.states.n >= maxSAs {
				return wire.ENOENT
			}
			// The selector shows, in that messages have no PROXY.
			s = x.newLarval(key, &transform.Selector{Src: transform.Raw(q.Src)})
			x.insert(s, x.larvalLifetime())
		}
	}
	if !saProto(s.Proto) || q.Min > q.Max || s.Proto == ip.ProtoComp && q.Max > cpiMost {
		return wire.EINVAL
	}
	if !x.pickSPI(s, q.Min, q.Max) {
		return wire.ENOENT
	}
	s.describe(to)
	return wire.OK
}

// newLarval makes an SA without keys, which is not in the table yet.
func (x *Transforms) newLarval(key flowKey, sel *transform.Selector) *sa {
	s := &sa{limits: transform.NoLimits, addTime: x.now(), Config: transform.Config{
		Proto: key.proto, Mode: key.mode, Src: key.src, Dst: key.dst, ReqID: key.reqID, Sel: sel}}
	s.limits.Hard.AddTime = uint64(x.acqExpires())
	return s
}

// larvalLifetime is how long a LARVAL SA lives.
func (x *Transforms) larvalLifetime() time.Duration {
	return time.Duration(x.acqExpires()) * time.Second
}

// pickSPI gives a LARVAL SA an SPI from a range unless it has one. Small ranges may fail although an SPI is free: there
// are only as many tries as the range has values, and the range of all 2^32 counts as none.
func (x *Transforms) pickSPI(s *sa, least, most uint32) bool {
	if s.SPI != 0 {
		return true
	}
	name := s.Key()
	pick := least
	if least == most {
		name.SPI = least
		if x.states.find(name) != nil {
			return false
		}
	} else {
		pick = 0
		n := most - least + 1
		for range n {
			name.SPI = least + x.e.Uint32()%n
			if x.states.find(name) == nil {
				pick = name.SPI
				break
			}
		}
	}
	if pick == 0 {
		return false
	}
	x.states.giveSPI(s, pick)
	x.tellState(s)
	return true
}
