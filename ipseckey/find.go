package ipseckey

import (
	"context"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/wire"
)

// finding is what the keywords of delete, delete-pair and get say.
type finding struct {
	parse
	typ    wire.MsgType
	satype int32

	spi          wire.SPI
	spiSeen      bool
	flags        uint32
	src, dst     *host
	sport, dport uint16
	proto        uint8
	order        []wire.ExtType // of the extensions, as they were typed
}

// find runs delete, delete-pair and get.
func (s *session) find(ctx context.Context, verb string, typ wire.MsgType, satype int32) error {
	if satype == 0 {
		s.report("Must specify a single SA type.\n")
		return errAbandon
	}
	f := &finding{parse: parse{s: s, verb: verb, next: 2}, typ: typ, satype: satype}
	s.seq++
	if err := f.each(func(i int) error { return f.keyword(ctx, i) }); err != nil {
		return err
	}
	if err := f.flush(true); err != nil {
		return err
	}
	if !f.spiSeen {
		return f.stopAll(len(s.words), "Need SA parameters for %s.", verb)
	}
	if f.dport != 0 && f.dst == nil && f.src == nil && s.keeps(quirkCrash) {
		return s.crash()
	}
	if !s.illumos() && (typ == wire.IllumosMsgXDelPair || f.flags != 0) {
		return f.stopAll(len(s.words), "An engine of %s knows no pairs and no inbound and outbound.", s.dial.Name)
	}
	return s.send(ctx, sending{parse: &f.parse, typ: typ, satype: satype, spi: f.spi, src: f.src, dst: f.dst,
		build: f.build})
}

func (f *finding) keyword(ctx context.Context, i int) error {
	name := f.s.words[i].text
	k, ok := findKeyword(name)
	if !ok {
		f.add(i, `Unknown extension field "%s"`, f.s.show(i))
		f.suggest(findKeywordNames)
		return nil
	}
	switch k.kind {
	case kindSPI:
		if f.twice(f.spiSeen, i, "SPI value") {
			return nil
		}
		v, err := f.number(32)
		f.spi, f.spiSeen = wire.SPI(v), true
		f.order = append(f.order, wire.ExtSA)
		return err
	case kindDirection:
		f.flags |= k.direction()
	case kindSrc:
		return f.endpoint(ctx, &f.src, i, k.v6, wire.ExtAddressSrc, "source addr", `Unknown source address "%s"`)
	case kindDst:
		only6 := k.v6 && !f.s.keeps(quirkFindDst6)
		return f.endpoint(ctx, &f.dst, i, only6, wire.ExtAddressDst, "destination address",
			`Unknown destination address "%s"`)
	case kindSrcPort:
		return once(&f.parse, &f.sport, i, "source port")
	case kindDstPort:
		return once(&f.parse, &f.dport, i, "destination port")
	case kindProto:
		return once(&f.parse, &f.proto, i, "protocol")
	default:
		f.add(i, "Don't use extension %s for '%s' command.", name, f.verb)
	}
	return nil
}

var findKeywordNames = []string{"spi", "inbound", "outbound", "src", "saddr", "srcaddr", "src6", "saddr6", "srcaddr6",
	"dst", "daddr", "dstaddr", "dst6", "daddr6", "dstaddr6", "sport", "dport", "proto", "ulp"}

func (f *finding) endpoint(ctx context.Context, to **host, i int, only6 bool, t wire.ExtType, what,
	unknown string) error {
	if f.twice(*to != nil, i, what) {
		return nil
	}
	h, ok, err := f.address(ctx, only6, unknown)
	if ok {
		*to = &h
		f.order = append(f.order, t)
	}
	return err
}

// build makes the message for one source and destination, either of which may be missing.
func (f *finding) build(src, dst netip.Addr) []byte {
	d := f.s.dial
	m := f.s.header(f.typ, f.satype)
	lost := f.s.keeps(quirkFindPorts)
	for _, t := range f.order {
		switch t {
		case wire.ExtSA:
			m = d.AppendSA(m, wire.SA{SPI: f.spi, Flags: f.flags})
		case wire.ExtAddressSrc:
			v := wire.Address{Addr: src, Port: f.sport, Proto: f.proto}
			if lost {
				v.Port, v.Proto = 0, 0
				if f.dport != 0 && f.dst == nil {
					v.Proto = f.proto
				}
			}
			m = d.AppendAddress(m, t, f.s.address(v))
		case wire.ExtAddressDst:
			v := wire.Address{Addr: dst, Port: f.dport, Proto: f.proto}
			if lost {
				v.Port, v.Proto = 0, 0
			}
			m = d.AppendAddress(m, t, f.s.address(v))
		}
	}
	if f.src == nil && f.sport == 0 && f.dst != nil && !f.s.illumos() {
		// RFC 2367 sections 3.1.4 and 3.1.5 want both addresses, and Linux insists.
		m = d.AppendAddress(m, wire.ExtAddressSrc, f.s.address(wire.Address{Addr: unspecifiedLike(dst)}))
	}
	if f.sport != 0 && f.src == nil {
		v := wire.Address{Addr: netip.IPv6Unspecified(), Port: f.sport, Proto: f.proto}
		m = d.AppendAddress(m, wire.ExtAddressSrc, f.s.address(v))
	}
	if f.dport != 0 && f.dst == nil {
		v := wire.Address{Addr: netip.IPv6Unspecified(), Port: f.dport}
		if !lost {
			v.Proto = f.proto
		}
		m = d.AppendAddress(m, wire.ExtAddressDst, f.s.address(v))
	}
	return d.Finish(m)
}
