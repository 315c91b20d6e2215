package illumos

import (
	"math"

	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// lifetimes are the limits a message brings; nil for what it does not.
type lifetimes struct{ hard, soft, idle *lifetime }

func (k *Kernel) readLifetimes(r *request) lifetimes {
	return lifetimes{k.readLifetime(r.ext[wire.ExtLifetimeHard]), k.readLifetime(r.ext[wire.ExtLifetimeSoft]),
		k.readLifetime(r.ext[wire.IllumosExtXLifetimeIdle])}
}

func (k *Kernel) readLifetime(raw []byte) *lifetime {
	if raw == nil {
		return nil
	}
	v, _ := k.d.ParseLifetime(raw)
	return &lifetime{v.Allocations, v.Bytes, v.AddTime, v.UseTime}
}

// check refuses limits that contradict each other: a soft one above the hard one, an idle one above either. Only limits
// that are set on both sides are compared, and only if the message brings both HARD and SOFT; sadb_hardsoftchk.
func (l lifetimes) check() result {
	exceeds := func(low, high uint64) bool { return low != 0 && high != 0 && low > high }
	h, s := l.hard, l.soft
	if h == nil || s == nil {
		return result{}
	}
	switch {
	case exceeds(uint64(s.alloc), uint64(h.alloc)):
		return einval(wire.IllumosDiagAllocHSErr)
	case exceeds(s.bytes, h.bytes):
		return einval(wire.IllumosDiagBytesHSErr)
	case exceeds(s.addTime, h.addTime):
		return einval(wire.IllumosDiagAddTimeHSErr)
	case exceeds(s.useTime, h.useTime):
		return einval(wire.IllumosDiagUseTimeHSErr)
	}
	if i := l.idle; i != nil {
		for _, limit := range []*lifetime{h, s} {
			switch {
			case exceeds(i.addTime, limit.addTime):
				return einval(wire.IllumosDiagAddTimeHSErr)
			case exceeds(i.useTime, limit.useTime):
				return einval(wire.IllumosDiagUseTimeHSErr)
			}
		}
	}
	return result{}
}

// after is the moment d seconds after t, as late as the kernel can say.
func after(t int64, d uint64) int64 {
	if d > uint64(math.MaxInt64-t) {
		return math.MaxInt64
	}
	return t + int64(d)
}

// earlier is the earlier of two moments of which 0 means never.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// setLifetimesLocked stores the limits of an ADD, or of the UPDATE of a LARVAL, and starts them. A LARVAL whose UPDATE
// brings no HARD addtime keeps its own expiry as the hard one. The SA's lock is held.
func (s *sa) setLifetimesLocked(l lifetimes, now int64) {
	if l.hard != nil {
		s.hard = *l.hard
		if s.hard.addTime != 0 {
			s.hardExpire = after(now, s.hard.addTime)
		}
	}
	if l.soft != nil {
		s.soft = *l.soft
		if s.soft.addTime != 0 {
			s.softExpire = after(now, s.soft.addTime)
		}
	}
	if l.idle != nil {
		s.idleAddTime, s.idleUseTime = l.idle.addTime, l.idle.useTime
		if s.idleAddTime != 0 {
			s.idleTime = after(0, s.idleAddTime)
			s.idleExpire = after(now, s.idleAddTime)
		}
	}
}

// updateLifetimesLocked changes the limits of a live SA; only values that are not zero act; sadb_update_lifetimes. The
// SA's lock is held.
func (k *Kernel) updateLifetimesLocked(s *sa, l lifetimes, fuzz bool, now int64) {
	if h := l.hard; h != nil {
		if h.bytes != 0 {
			s.hard.bytes = h.bytes
		}
		if h.useTime != 0 {
			s.hard.useTime = h.useTime
		}
		if h.addTime != 0 {
			s.hard.addTime = h.addTime
		}
		if s.hard.addTime != 0 {
			s.hardExpire = after(s.addTime, s.hard.addTime)
		}
		if s.hard.useTime != 0 && s.has(flagUsed) {
			s.hardExpire = earlier(s.hardExpire, after(s.useTime, s.hard.useTime))
		}
		if h.alloc != 0 {
			s.hard.alloc = h.alloc
		}
	}
	if l.soft != nil {
		s.updateSoftLocked(*l.soft)
		if fuzz && s.State() == sadb.Mature && s.softExpire != 0 {
			k.fuzzLocked(s)
		}
	}
	if i := l.idle; i != nil {
		// A limit of zero changes nothing in what is stored, but counts as the new idle time if the SA has one.
		if s.idleExpire != 0 && i.addTime == 0 && s.idleAddTime != 0 {
			s.idleTime = 0
		}
		if i.addTime != 0 {
			s.idleAddTime = i.addTime
		}
		if i.useTime != 0 {
			s.idleUseTime = i.useTime
		}
		switch {
		case i.addTime != 0 && i.useTime != 0:
			s.idleTime = after(0, min(i.addTime, i.useTime))
		case i.addTime != 0:
			s.idleTime = after(0, i.addTime)
		case i.useTime != 0:
			s.idleTime = after(0, i.useTime)
		}
		if s.idleTime != 0 {
			s.idleExpire = after(now, uint64(s.idleTime))
		}
	}
}

// updateSoftLocked compares each soft limit with the hard one of the same kind, where "no hard limit" counts as zero:
// so a soft limit without a hard one is lost. The add time is even compared with the moment of the hard expiry.
func (s *sa) updateSoftLocked(l lifetime) {
	if l.bytes != 0 {
		s.soft.bytes = min(l.bytes, s.hard.bytes)
	}
	if l.useTime != 0 {
		s.soft.useTime = min(l.useTime, s.hard.useTime)
	}
	if l.addTime != 0 {
		if limit := after(s.addTime, l.addTime); limit > s.hardExpire {
			s.softExpire = s.hardExpire
		} else {
			s.soft.addTime = l.addTime
		}
	}
	if l.alloc != 0 {
		s.soft.alloc = l.alloc
	}
	if s.soft.addTime != 0 {
		s.softExpire = after(s.addTime, s.soft.addTime)
	}
	if s.soft.useTime != 0 && s.has(flagUsed) {
		s.softExpire = earlier(s.softExpire, after(s.useTime, s.soft.useTime))
	}
}

// fuzzLocked takes 8 to 23 seconds off the soft add time, so that two ends do not rekey at the same moment;
// lifetime_fuzz. The SA's lock is held.
func (k *Kernel) fuzzLocked(s *sa) {
	if s.soft.addTime == 0 {
		return
	}
	fuzz := uint64(k.e.Uint32()%16 + 8)
	s.soft.addTime -= fuzz
	s.softExpire -= int64(fuzz)
}

// noteUseLocked records that a packet was accepted; sadb_set_usetime. With the first one the limits on use start to
// run. It returns a moment at which the SA may now be due, 0 if none is new. The SA's lock is held.
func (s *sa) noteUseLocked(now int64) (due int64) {
	s.lastUse = now
	if s.idleTime != 0 {
		s.idleExpire = now + s.idleTime
	}
	if s.useTime != 0 {
		return 0
	}
	s.setFlagsLocked(flagUsed, 0)
	s.useTime = now
	if s.hard.useTime != 0 {
		due = after(now, s.hard.useTime)
		s.hardExpire = earlier(s.hardExpire, due)
	}
	if s.soft.useTime != 0 {
		soft := after(now, s.soft.useTime)
		s.softExpire = earlier(s.softExpire, soft)
		due = earlier(due, soft)
	}
	return due
}

// charge is what a byte limit says of one more packet; sadb_age_bytes.
type charge uint8

const (
	chargeFine charge = iota
	chargeSoft        // the packet goes on, the SA becomes DYING
	chargeHard        // the packet is refused, the SA becomes DEAD
)

// chargeLocked counts a packet's bytes unless they reach the hard limit. The SA's lock is held.
func (s *sa) chargeLocked(n int) charge {
	total := s.Bytes + uint64(n)
	if s.hard.bytes != 0 && total >= s.hard.bytes {
		return chargeHard
	}
	soft := s.soft.bytes != 0 && total >= s.soft.bytes && s.State() < sadb.Dying
	s.Bytes = total
	s.Packets++
	if soft {
		return chargeSoft
	}
	return chargeFine
}
