package netbsd

import (
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Update implements [kame.Heir] (key_api_update): a new SA takes the place of the old one.
func (h *heir) Update(r *kame.Request, s *kame.SA, x *kame.Index) wire.Errno {
	if !kame.HasKeys(r) {
		return wire.EINVAL
	}
	g := h.FindHead(x)
	if g == nil {
		return wire.ENOENT
	}
	if !h.IdentitiesPaired(r, h.Knob(differentTypes) != 0) {
		return wire.EINVAL
	}
	old := h.InHead(g, s.SPI, alive...)
	if old == nil || old.PID != s.PID {
		return wire.EINVAL
	}
	s.Head = g
	suite, errno := h.Suite(r, s, x)
	if errno != wire.OK {
		return errno
	}
	s.Seq = old.Seq
	return h.Replace(old, s, suite)
}
