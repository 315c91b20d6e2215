package kame

import (
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A Range is the SPIs among which a GETSPI may choose, both ends included. Max may be below Min: the choice is then
// from Min up to the largest number there is, and on from 0.
type Range struct{ Min, Max uint32 }

// random chooses any of them. A range that holds all numbers there are has no size, by which the originals divide.
func (k *Kernel) random(g Range) uint32 {
	if size := g.Max - g.Min + 1; size != 0 {
		return g.Min + k.e.Uint32()%size
	}
	return k.e.Uint32()
}

// SPIPage is what an heir has of its own about choosing SPIs.
type SPIPage struct {
	Min, Max, Tries string // tunables: where a GETSPI chooses that names no range, and how many random numbers it tries
	// OneInUse: of a range of one number, that is chosen if it is in use. Otherwise it is if it is not.
	OneInUse bool
	None     wire.Errno // no number can be had
	// Refuses are numbers that are chosen, and then refused for a protocol (EINVAL); nil: none.
	Refuses func(proto uint8, spi uint32) bool
}

// chooseSPI chooses an SPI in a range (key_do_getnewspi). The last try is in vain even if it finds a free number. When
// all have found numbers in use, that of the last one is taken all the same.
func (k *Kernel) chooseSPI(proto uint8, g Range) (spi uint32, errno wire.Errno) {
	p := &k.page.SPIs
	if g.Min == g.Max {
		if k.heir.InUse(g.Min) == p.OneInUse {
			spi = g.Min
		}
	} else {
		for tries := k.Knob(p.Tries); tries > 0; tries-- {
			if spi = k.random(g); k.heir.InUse(spi) {
				continue
			}
			if tries == 1 {
				spi = 0
			}
			break
		}
	}
	switch {
	case spi == 0:
		return 0, p.None
	case p.Refuses != nil && p.Refuses(proto, spi):
		return 0, wire.EINVAL
	}
	return spi, wire.OK
}

// AnySPI chooses an SPI where a GETSPI does that names no range.
func (k *Kernel) AnySPI(proto uint8) (uint32, wire.Errno) {
	return k.chooseSPI(proto, k.defaultRange())
}

func (k *Kernel) defaultRange() Range {
	return Range{uint32(k.Knob(k.page.SPIs.Min)), uint32(k.Knob(k.page.SPIs.Max))}
}

// getSPI makes a LARVAL SA with an SPI (key_api_getspi, key_getspi).
func (k *Kernel) getSPI(r *Request) wire.Errno {
	if !r.Has(wire.ExtAddressSrc, wire.ExtAddressDst) {
		return wire.EINVAL
	}
	x := k.indexWithPorts(r)
	g := k.defaultRange()
	if raw := r.Ext(wire.ExtSPIRange); raw != nil {
		v, _ := k.d.ParseSPIRange(raw)
		g = Range{uint32(v.Min), uint32(v.Max)}
	}
	if x.Proto == ip.ProtoComp { // which has 16 bits
		g = Range{min(g.Min, 0xffff), min(g.Max, 0xffff)}
		if g.Min > g.Max {
			g = Range{g.Max, g.Min}
		}
	}
	spi, errno := k.chooseSPI(x.Proto, g)
	if errno != wire.OK {
		return errno
	}
	s := &SA{SPI: spi, Seq: uint32(r.Header.Seq), PID: r.Header.PID, Added: k.Uptime()}
	if !k.Insert(s, k.HeadFor(&x)) {
		return wire.ENOBUFS
	}
	k.answered(r, &x)
	exts := k.Echo(r, []wire.ExtType{wire.ExtAddressSrc, wire.ExtAddressDst})
	b := k.d.AppendSA(append(make([]byte, 0, len(exts)+16), exts[:wire.HeaderLen]...), wire.SA{SPI: wire.SPI(spi)})
	k.Answer(r, ToOne, k.d.Finish(append(b, exts[wire.HeaderLen:]...)))
	return wire.OK
}

// answered tells the heir that an SA has come which somebody may have asked for.
func (k *Kernel) answered(r *Request, x *Index) {
	if r.Header.Seq != 0 {
		k.heir.Answered(r.Header.Type, x, uint32(r.Header.Seq))
	}
}

// Index reads the index of a request: SA type, ends without ports, and what X_SA2 says.
func (k *Kernel) Index(r *Request) Index {
	x := Index{Proto: r.proto, Src: SockaddrOf(r.Ext(wire.ExtAddressSrc)).WithPort(0),
		Dst: SockaddrOf(r.Ext(wire.ExtAddressDst)).WithPort(0)}
	if raw := r.Ext(wire.KAMEExtXSA2); raw != nil {
		v, _ := k.d.ParseSA2(raw)
		x.Mode, x.ReqID = v.Mode, v.ReqID&k.page.ReqIDMask
	}
	return x
}
