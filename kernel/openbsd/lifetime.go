package openbsd

import (
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// set makes limits of an extension: what is 0 is none (import_lifetime).
func (l *limits) set(v wire.Lifetime) {
	l.Lifetime = v
	l.armed.allocations, l.armed.bytes = v.Allocations != 0, v.Bytes != 0
	l.armed.add, l.armed.use = v.AddTime != 0, v.UseTime != 0
}

// inForce are the limits as messages show them (export_lifetime).
func (l *limits) inForce() (v wire.Lifetime) {
	if l.armed.allocations {
		v.Allocations = l.Allocations
	}
	if l.armed.bytes {
		v.Bytes = l.Bytes
	}
	if l.armed.add {
		v.AddTime = l.AddTime
	}
	if l.armed.use {
		v.UseTime = l.UseTime
	}
	return v
}

// setLimits takes over the lifetimes that a request has. The SA's lock is held.
func (k *Kernel) setLimits(r *request, s *SA) {
	if raw := r.ext(wire.ExtLifetimeCurrent); raw != nil {
		v, _ := k.d.ParseLifetime(raw)
		s.allocations, s.bytes, s.Added, s.firstUse = v.Allocations, v.Bytes, int64(v.AddTime), int64(v.UseTime)
	}
	if raw := r.ext(wire.ExtLifetimeSoft); raw != nil {
		v, _ := k.d.ParseLifetime(raw)
		s.soft.set(v)
	}
	if raw := r.ext(wire.ExtLifetimeHard); raw != nil {
		v, _ := k.d.ParseLifetime(raw)
		s.hard.set(v)
	}
}

// tolerable tells whether the original would survive the limits by time: it adds up seconds in 32 bits, and panics when
// their sign changes.
func (k *Kernel) tolerable(r *request) bool {
	for _, t := range []wire.ExtType{wire.ExtLifetimeHard, wire.ExtLifetimeSoft} {
		if raw := r.ext(t); raw != nil {
			if v, _ := k.d.ParseLifetime(raw); int32(v.AddTime) < 0 {
				return false
			}
		}
	}
	return true
}

// startTimers starts the timers of the limits by time since the SA was made, from now.
func (k *Kernel) startTimers(s *SA) {
	s.Lock()
	hard, soft := s.hard, s.soft
	s.Unlock()
	now := k.e.Now()
	k.startTimer(&s.addTimers.hard, now, hard.armed.add, hard.AddTime, func() { k.timeout(s) })
	k.startTimer(&s.addTimers.soft, now, soft.armed.add, soft.AddTime, func() {
		s.Lock()
		s.soft.armed.add = false
		s.Unlock()
		k.expireSoft(s)
	})
}

// startTimer starts one timer, or stops it. Of the seconds 32 bits count.
func (k *Kernel) startTimer(t *engine.Timer, from time.Time, armed bool, secs uint64, fire func()) {
	if k.timers.Stop(t); !armed {
		return
	}
	t.Fire = func(time.Time) { fire() }
	k.timers.Set(t, from.Add(seconds(int64(uint32(secs)))))
}

// armUse starts the timers of the limits by time since the first use, which was at some moment. The original lets the
// hard limit end an SA only while the soft one is in force (tdb_firstuse).
func (k *Kernel) armUse(s *SA, at time.Time) {
	if s.State() == sadb.Dead {
		return
	}
	s.Lock()
	hard, soft := s.hard, s.soft
	s.Unlock()
	k.startTimer(&s.useTimers.hard, at, hard.armed.use, hard.UseTime, func() {
		s.Lock()
		ends := s.soft.armed.use
		s.Unlock()
		if ends {
			k.timeout(s)
		}
	})
	k.startTimer(&s.useTimers.soft, at, soft.armed.use, soft.UseTime, func() {
		s.Lock()
		s.soft.armed.use = false
		s.Unlock()
		k.expireSoft(s)
	})
}
