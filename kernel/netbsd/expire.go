package netbsd

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// limit is what a pass looks at in a state: the soft limits of a MATURE SA, the hard ones of a DYING one. So without
// soft limits an SA never dies.
func limit(s *kame.SA) *wire.Lifetime {
	if s.State() == sadb.Mature {
		return s.Soft
	}
	return s.Hard
}

// Deadline implements [kame.Heir].
func (h *heir) Deadline(s *kame.SA) (d kame.Deadline) {
	if s.State() == sadb.Larval {
		return kame.Deadline{At: s.Added + h.Knob(larvalLifetime) + 1}
	}
	if l := limit(s); l != nil {
		d.AddBytes(l.Bytes)
		d.Add(l.AddTime, s.Added)
	}
	return d
}

// Expire implements [kame.Heir] (key_timehandler_sad), in the order of a DUMP.
func (h *heir) Expire(due []*kame.SA, uptime int64) {
	slices.SortStableFunc(due, h.CompareSAs)
	for _, s := range due {
		if s.State() == sadb.Larval && uptime-s.Added > h.Knob(larvalLifetime) {
			h.Kill(s)
		}
		if s.State() == sadb.Mature {
			h.soften(s, uptime)
		}
		if aged, full := passed(s, uptime); s.State() == sadb.Dying && (aged || full) {
			h.Kill(s)
		}
	}
}

// passed says whether a limit of an SA has passed, by age and by bytes. Other limits are not looked at.
func passed(s *kame.SA, uptime int64) (aged, full bool) {
	l := limit(s)
	if l == nil {
		return false, false
	}
	return kame.Over(l.AddTime, s.Added, uptime), l.Bytes != 0 && s.Usage().Bytes > l.Bytes
}

// soften looks at the soft limits of an SA. One that was never used goes without a word.
func (h *heir) soften(s *kame.SA, uptime int64) {
	switch aged, full := passed(s, uptime); {
	case aged && s.Usage().Used == 0:
		h.Kill(s)
	case aged || full:
		h.Become(s, sadb.Dying, nil)
		h.TellExpire(s, []kame.Show{kame.ShowSA, kame.ShowSA2, showCurrent, kame.ShowSoft, kame.ShowSrc, kame.ShowDst})
	}
}
