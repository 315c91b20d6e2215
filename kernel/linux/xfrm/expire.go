package xfrm

import (
	"math"
	"time"

	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// outcome is what a look at the packet and byte limits has found.
type outcome struct {
	hard, soft bool // reached just now
	packets    bool // the hard one is that of packets
	usage      transform.Usage
	limits     transform.Limits
}

// checkLimitsLocked notes that an SA is used and looks at its packet and byte limits, before what it is about to carry
// is counted. The SA's lock is held, and the SA is usable. Whatever is found is for reached.
func (s *sa) checkLimitsLocked(now int64) (out outcome) {
	if s.useTime == 0 {
		s.useTime = now
	}
	switch {
	case s.Bytes >= s.limits.Hard.Bytes || s.Packets >= s.limits.Hard.Packets:
		s.BecomeLocked(stateExpired)
		out.hard, out.packets = true, s.Bytes < s.limits.Hard.Bytes
	case s.State() == sadb.Mature && (s.Bytes >= s.limits.Soft.Bytes || s.Packets >= s.limits.Soft.Packets):
		s.BecomeLocked(sadb.Dying)
		out.soft = true
	default:
		return out
	}
	out.usage, out.limits = s.usageLocked(), s.limits
	return out
}

// reached acts on a limit: soft is told at once, hard by the SA's timer, which runs at once. The control lock is held.
func (x *Transforms) reached(s *sa, out outcome) {
	if s.linked() {
		x.tellState(s)
	}
	switch {
	case !s.linked():
	case out.hard:
		x.setTimer(s, x.e.Now())
	case out.soft:
		x.tellExpired(s, out.usage, out.limits, false)
	}
}

// setTimer sets when an SA's timer looks at it next.
func (x *Transforms) setTimer(s *sa, at time.Time) {
	if s.timer.Fire == nil {
		s.timer.Fire = func(now time.Time) { x.look(s, now) }
	}
	x.timers.Set(&s.timer, at)
}

// remaining is how many seconds are left of a limit that counts from a moment. As in the original one that is too large
// for a signed number lies in the past.
func remaining(limit uint64, from, now int64) int64 { return int64(limit) + from - now }

// deadlines looks at two time limits: how many seconds are left until the first of them. What has never been used is
// used from `unused` on.
func deadlines(l transform.Lifetime, addTime, useTime, unused, now int64) int64 {
	left := int64(math.MaxInt64)
	if l.AddTime != 0 {
		left = remaining(l.AddTime, addTime, now)
	}
	if l.UseTime != 0 {
		if useTime == 0 {
			useTime = unused
		}
		left = min(left, remaining(l.UseTime, useTime, now))
	}
	return left
}

// look is an SA's timer: it sees whether a time limit has passed, in whole seconds, and sets itself to the next one.
func (x *Transforms) look(s *sa, at time.Time) {
	now := at.Unix()
	s.Lock()
	st, u, l := s.State(), s.usageLocked(), s.limits
	hard := deadlines(l.Hard, s.addTime, u.UseTime, now, now)
	if st == stateExpired || hard <= 0 {
		s.Unlock()
		if x.remove(s) {
			x.tellExpired(s, u, l, true)
		}
		return
	}
	next, warn := hard, false
	if st != sadb.Dying {
		soft := deadlines(l.Soft, s.addTime, u.UseTime, now, now)
		if warn = soft <= 0; !warn {
			next = min(next, soft)
		} else if st == sadb.Mature {
			s.BecomeLocked(sadb.Dying)
		}
	}
	s.Unlock()
	x.tellState(s)
	if warn {
		x.tellExpired(s, u, l, false)
	}
	if next != math.MaxInt64 {
		x.setTimer(s, after(at, next))
	}
}

// after is so many seconds later, and the end of time for what no clock shows.
func after(at time.Time, seconds int64) time.Time {
	const most = 200 * 365 * 24 * 3600
	return at.Add(time.Duration(min(seconds, most)) * time.Second)
}

// tellExpired tells that a lifetime has passed, as the SA was then.
func (x *Transforms) tellExpired(s *sa, u transform.Usage, l transform.Limits, hard bool) {
	s.describe(&x.told)
	x.told.Phase, x.told.Usage, x.told.Limits = sadb.Dying, u, l
	if hard {
		x.told.Phase = sadb.Dead
	}
	x.manager.Expired(&x.told, hard)
}

// timed tells whether any time limit is set.
func timed(l transform.Limits) bool {
	return l.Soft.AddTime|l.Soft.UseTime|l.Hard.AddTime|l.Hard.UseTime != 0
}
