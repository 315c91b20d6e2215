package linux

import (
	"math"
	"time"

	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// outcome is what a look at the packet and byte limits has found.
type outcome struct {
	hard, soft bool // reached just now
	packets    bool // the hard one is that of packets
	usage      usage
	limits     limits
}

// checkLimitsLocked notes that an SA is used and looks at its packet and byte limits, before what it is about to carry
// is counted. The SA's lock is held, and the SA is usable. Whatever is found is for reached.
func (s *sa) checkLimitsLocked(now int64) (out outcome) {
	if s.useTime == 0 {
		s.useTime = now
	}
	switch {
	case s.Bytes >= s.limits.hard.bytes || s.Packets >= s.limits.hard.packets:
		s.BecomeLocked(stateExpired)
		out.hard, out.packets = true, s.Bytes < s.limits.hard.bytes
	case s.State() == sadb.Mature && (s.Bytes >= s.limits.soft.bytes || s.Packets >= s.limits.soft.packets):
		s.BecomeLocked(sadb.Dying)
		out.soft = true
	default:
		return out
	}
	out.usage, out.limits = s.usageLocked(), s.limits
	return out
}

// reached acts on a limit: soft is told at once, hard by the SA's timer, which runs at once. The control lock is held.
func (k *Kernel) reached(s *sa, out outcome) {
	switch {
	case !s.linked():
	case out.hard:
		k.setTimer(s, k.e.Now())
	case out.soft:
		k.tellExpired(s, sadb.Dying, out.usage, out.limits, showSoft)
	}
}

// setTimer sets when an SA's timer looks at it next.
func (k *Kernel) setTimer(s *sa, at time.Time) {
	if s.timer.Fire == nil {
		s.timer.Fire = func(now time.Time) { k.look(s, now) }
	}
	k.timers.Set(&s.timer, at)
}

// remaining is how many seconds are left of a limit that counts from a moment. As in the original one that is too large
// for a signed number lies in the past.
func remaining(limit uint64, from, now int64) int64 { return int64(limit) + from - now }

// deadlines looks at two time limits: how many seconds are left until the first of them. What has never been used is
// used from `unused` on.
func (l lifetime) deadlines(addTime, useTime, unused, now int64) int64 {
	left := int64(math.MaxInt64)
	if l.addTime != 0 {
		left = remaining(l.addTime, addTime, now)
	}
	if l.useTime != 0 {
		if useTime == 0 {
			useTime = unused
		}
		left = min(left, remaining(l.useTime, useTime, now))
	}
	return left
}

// look is an SA's timer: it sees whether a time limit has passed, in whole seconds, and sets itself to the next one.
func (k *Kernel) look(s *sa, at time.Time) {
	now := at.Unix()
	s.Lock()
	st, u, l := s.State(), s.usageLocked(), s.limits
	hard := l.hard.deadlines(s.addTime, u.useTime, now, now)
	if st == stateExpired || hard <= 0 {
		s.Unlock()
		if k.remove(s) {
			k.tellExpired(s, sadb.Dead, u, l, showHard)
		}
		return
	}
	next, warn := hard, false
	if st != sadb.Dying {
		soft := l.soft.deadlines(s.addTime, u.useTime, now, now)
		if warn = soft <= 0; !warn {
			next = min(next, soft)
		} else if st == sadb.Mature {
			s.BecomeLocked(sadb.Dying)
		}
	}
	s.Unlock()
	if warn {
		k.tellExpired(s, sadb.Dying, u, l, showSoft)
	}
	if next != math.MaxInt64 {
		k.setTimer(s, after(at, next))
	}
}

// after is so many seconds later, and the end of time for what no clock shows.
func after(at time.Time, seconds int64) time.Time {
	const most = 200 * 365 * 24 * 3600
	return at.Add(time.Duration(min(seconds, most)) * time.Second)
}

// tellExpired sends an EXPIRE to registered sockets.
func (k *Kernel) tellExpired(s *sa, st sadb.State, u usage, l limits, show int) {
	if !s.showable() {
		return
	}
	b := k.appendSA(make([]byte, 0, 224), wire.Header{Version: wire.Version, Type: wire.MsgExpire}, s, st, u, l, show,
		false)
	k.broadcast(message{bytes: b, size: len(b)}, toRegistered, nil)
}
