package freebsd

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Deadline implements [kame.Heir].
func (h *heir) Deadline(s *kame.SA) (d kame.Deadline) {
	if s.State() == sadb.Larval {
		return kame.Deadline{At: s.Added + h.Knob(larvalLifetime)}
	}
	used := s.Usage().Used
	for _, l := range limits(s) {
		d.AddBytes(l.Bytes)
		d.Add(l.AddTime, s.Added)
		if used != 0 {
			d.Add(l.UseTime, used)
		} else if l.UseTime != 0 {
			d.FirstUse = true
		}
	}
	return d
}

// limits are those that a pass looks at.
func limits(s *kame.SA) (all []*wire.Lifetime) {
	if s.Hard != nil {
		all = append(all, s.Hard)
	}
	if s.Soft != nil && s.State() == sadb.Mature {
		all = append(all, s.Soft)
	}
	return all
}

// passed says whether one of the limits has passed.
func passed(s *kame.SA, l *wire.Lifetime, uptime int64) bool {
	if l == nil {
		return false
	}
	u := s.Usage()
	return kame.Over(l.AddTime, s.Added, uptime) || u.Used != 0 && kame.Over(l.UseTime, u.Used, uptime) ||
		l.Bytes != 0 && u.Bytes > l.Bytes
}

// Expire implements [kame.Heir] (key_flush_sad), in the order of making: first the hard limits.
func (h *heir) Expire(due []*kame.SA, uptime int64) {
	slices.SortStableFunc(due, func(a, b *kame.SA) int { return h.CompareSAs(b, a) })
	var soft []*kame.SA
	for _, s := range due {
		switch st := s.State(); {
		case st == sadb.Dead:
		case st == sadb.Larval:
			if uptime-s.Added >= h.Knob(larvalLifetime) {
				h.Kill(s)
			}
		case passed(s, s.Hard, uptime):
			h.Kill(s)
			h.TellExpire(s, expireShows(kame.ShowHard))
		case st == sadb.Mature && passed(s, s.Soft, uptime):
			soft = append(soft, s)
		}
	}
	for _, s := range soft {
		h.Become(s, sadb.Dying, nil)
		h.TellExpire(s, expireShows(kame.ShowSoft))
	}
}

// expireShows is what an EXPIRE holds that tells of a limit.
func expireShows(limit kame.Show) []kame.Show {
	return []kame.Show{kame.ShowSA, kame.ShowSA2, showReplay, showCurrent, limit, kame.ShowSrc, kame.ShowDst}
}
