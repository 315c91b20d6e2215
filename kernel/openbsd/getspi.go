package openbsd

import (
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/wire"
)

// SPIs that are never chosen, and CPIs that are each host's own.
const (
	reservedSPIs = 255
	privateCPIs  = 61440
	tries        = 100
)

// getSPI handles GETSPI: it reserves an SPI for an SA that comes later.
func (k *Kernel) getSPI(r *request) wire.Errno {
	proto, errno := k.transformOf(r.satype())
	if errno != wire.OK {
		return errno
	}
	v, _ := k.d.ParseSPIRange(r.ext(wire.ExtSPIRange))
	s := &SA{RDomain: r.rdomain, After: r.rdomain, Proto: proto, Src: k.addressOf(r.ext(wire.ExtAddressSrc)),
		Dst: k.addressOf(r.ext(wire.ExtAddressDst)), Added: k.e.Now().Unix()}
	if s.SPI, errno = k.reserve(s, uint32(v.Min), uint32(v.Max)); errno != wire.OK {
		return errno
	}
	if !k.insert(s) {
		return wire.ENOBUFS
	}
	if life := k.Knob(invalidLife); life > 0 {
		s.hard.set(wire.Lifetime{AddTime: uint64(life)})
		k.startTimers(s)
	}
	shown := s.shown()
	shown.State = wire.StateMature // which it is not
	r.drop(wire.ExtSPIRange)
	r.answer(k.d.AppendSA(nil, shown))
	return wire.OK
}

// reserve chooses an SPI from a range, whose largest one it never takes but alone (reserve_spi).
func (k *Kernel) reserve(s *SA, least, most uint32) (uint32, wire.Errno) {
	if most <= reservedSPIs || s.Proto == ip.ProtoComp && most >= privateCPIs {
		return 0, wire.EINVAL
	}
	least = max(least, reservedSPIs+1)
	n := tries
	if least == most {
		n = 1
	}
	for range n {
		spi := least
		if least < most {
			spi += k.below(most - least)
		}
		if k.tdb.find(saID{s.RDomain, s.Dst, s.Proto, spi}) == nil {
			return spi, wire.OK
		}
	}
	return 0, wire.EEXIST
}

// below is a random number below n (arc4random_uniform).
func (k *Kernel) below(n uint32) uint32 {
	for least := -n % n; ; {
		if v := k.e.Uint32(); v >= least {
			return v % n
		}
	}
}

// transformOf is the IP protocol of SAs of a type, if there can be any now (pfkeyv2_get_proto_alg).
func (k *Kernel) transformOf(satype uint8) (uint8, wire.Errno) {
	proto := protoOf(satype)
	if proto == 0 || !k.permitted(proto) {
		return 0, wire.EOPNOTSUPP
	}
	return proto, wire.OK
}

// named finds the SA that a message names by SPI, destination and SA type, whatever number that is (gettdb).
func (k *Kernel) named(rdomain int, sa, dst []byte, satype uint8) *SA {
	v, _ := k.d.ParseSA(sa)
	return k.tdb.find(saID{rdomain, k.addressOf(dst), flowProto(satype), uint32(v.SPI)})
}

// subject is the SA that a request is about; nil: there is none.
func (k *Kernel) subject(r *request) *SA {
	return k.named(r.rdomain, r.ext(wire.ExtSA), r.ext(wire.ExtAddressDst), r.satype())
}

// insert adds an SA, whose name is free; false if there is no room.
func (k *Kernel) insert(s *SA) bool {
	if len(k.tdb.all) >= maxSAs {
		return false
	}
	k.tdb.insert(s)
	k.tellState(s)
	return true
}

// tellState tells those who follow the events what state an SA is in.
func (k *Kernel) tellState(s *SA) {
	k.e.TellState(&s.told, s.State(), func() engine.SAName {
		return engine.SAName{Type: k.typeOf(s.Proto), SPI: s.SPI, Src: s.Src, Dst: s.Dst}
	})
}
