package freebsd

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/wire"
)

// newest is the newest SA with an SPI; nil if there is none.
func (h *heir) newest(spi uint32) *kame.SA {
	for s := range h.SameSPI(spi) {
		return s
	}
	return nil
}

// Find implements [kame.Heir].
func (h *heir) Find(x *kame.Index, spi uint32) (*kame.SA, wire.Errno) {
	s := h.newest(spi)
	if x.Proto == ip.ProtoTCP {
		s = h.ofPair(x)
	}
	if s == nil || !s.Head.SamePair(x) {
		return nil, wire.ESRCH
	}
	return s, wire.OK
}

// DeleteAll implements [kame.Heir].
func (h *heir) DeleteAll(x *kame.Index) {
	for _, g := range slices.Clone(h.HeadsOf(x)) {
		h.KillAll(g)
	}
}
