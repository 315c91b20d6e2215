package linux

import (
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// updateSA gives a LARVAL SA's place to the new one, which then is in the database, or takes its lifetimes and NAT-T
// ports over into an SA that has keys. Then the new one is only what the result shows, as a DEAD SA.
func (k *Kernel) updateSA(s *sa) wire.Errno {
	old := k.states.find(s.dst, s.spi, s.proto)
	if old == nil {
		return wire.ESRCH
	}
	if old.State() == sadb.Larval {
		// The new one first, so that packets always find one of them.
		k.insert(s, firstLook)
		k.remove(old)
		return wire.OK
	}
	now := k.e.Now()
	old.Lock()
	was, encap := old.encap.Load(), s.encap.Load()
	if !old.usable() || (was == nil) != (encap == nil) || encap != nil && encap.typ != was.typ {
		old.Unlock()
		return wire.EINVAL
	}
	old.encap.Store(encap)
	old.limits = s.limits
	old.BecomeLocked(sadb.Mature)
	var out outcome
	if old.useTime != 0 {
		out = old.checkLimitsLocked(now.Unix())
	}
	old.Unlock()
	s.Become(sadb.Dead)
	k.e.After(s.forgetKeys) // the result shows them
	// The timer is set even if there is nothing for it to find, because a hard limit may have been reached just now.
	k.setTimer(old, now.Add(firstLook))
	k.reached(old, out)
	return wire.OK
}
