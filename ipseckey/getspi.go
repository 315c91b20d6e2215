package ipseckey

import (
	"context"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/wire"
)

// The range that getspi asks for unless told otherwise: 1 to 255 are reserved (RFC 4303 section 2.1).
const (
	firstSPI = 0x100
	lastSPI  = 0xffffffff
)

// reservation is what the keywords of getspi say.
type reservation struct {
	parse
	src, dst *host
	min, max uint64
}

// getSPI runs our own command getspi [SA_TYPE] src A dst B [spi-min N] [spi-max N]: it reserves an SPI and lists the
// answer.
func (s *session) getSPI(ctx context.Context, words []word) error {
	satype := int32(wire.SATypeESP)
	r := &reservation{parse: parse{s: s, verb: "getspi", next: 1}, min: firstSPI, max: lastSPI}
	if len(words) > 1 {
		if t, ok := saType(words[1].text); ok {
			satype, r.next = t, 2
		}
	}
	if satype == 0 {
		s.report("Must specify a single SA type.\n")
		return errAbandon
	}
	s.seq++
	if err := r.each(func(i int) error { return r.keyword(ctx, i) }); err != nil {
		return err
	}
	end := len(words)
	if r.src == nil {
		r.add(end, "Need source address for getspi.")
	}
	if r.dst == nil {
		r.add(end, "Need destination address for getspi.")
	}
	if r.min > r.max {
		r.add(end, "spi-min 0x%x is greater than spi-max 0x%x.", r.min, r.max)
	}
	if err := r.flush(true); err != nil {
		return err
	}
	c := sending{parse: &r.parse, typ: wire.MsgGetSPI, satype: satype, src: r.src, dst: r.dst, block: true}
	c.build = func(src, dst netip.Addr) []byte {
		d := s.dial
		m := s.header(wire.MsgGetSPI, satype)
		m = d.AppendAddress(m, wire.ExtAddressSrc, s.address(wire.Address{Addr: src}))
		m = d.AppendAddress(m, wire.ExtAddressDst, s.address(wire.Address{Addr: dst}))
		m = d.AppendSPIRange(m, wire.SPIRange{Min: wire.SPI(r.min), Max: wire.SPI(r.max)})
		return d.Finish(m)
	}
	return s.send(ctx, c)
}

func (r *reservation) keyword(ctx context.Context, i int) error {
	text := r.s.words[i].text
	k, ok := findKeyword(text)
	if !ok {
		k, ok = findOwnKeyword(text)
	}
	to, unknown := &r.src, `Unknown src address "%s"`
	switch {
	case ok && k.kind == kindSPIMin:
		v, err := r.number(32)
		r.min = v
		return err
	case ok && k.kind == kindSPIMax:
		v, err := r.number(32)
		r.max = v
		return err
	case ok && k.kind == kindDst:
		to, unknown = &r.dst, `Unknown dst address "%s"`
	case ok && k.kind == kindSrc:
	default:
		r.add(i, `Unknown extension field "%s"`, r.s.show(i))
		r.suggest(reserveKeywordNames)
		return nil
	}
	if r.twice(*to != nil, i, text+" address") {
		return nil
	}
	h, ok, err := r.address(ctx, k.v6, unknown)
	if ok && len(h.addrs) > 1 && k.kind == kindDst {
		r.add(i+1, "Destination address %s is vague.", h.name)
	}
	if ok {
		*to = &h
	}
	return err
}

var reserveKeywordNames = []string{"src", "dst", "src6", "dst6", "spi-min", "spi-max"}
