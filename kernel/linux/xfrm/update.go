package xfrm

import (
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Update gives a LARVAL SA's place to a new one, or takes the new one's lifetimes and NAT-T ports over into an SA that
// has keys. Then the new one is only what is told, as a DEAD SA. A hard limit that this reaches takes effect when the
// request is over, see [Transforms.Settle]. As for the rest it is [Transforms.Add].
func (x *Transforms) Update(st *transform.State, by transform.By) wire.Errno {
	s, errno := x.make(st)
	if errno != wire.OK {
		return errno
	}
	if errno = x.updateSA(s); errno != wire.OK {
		s.forgetKeys()
		return errno
	}
	x.tell(transform.Updated, s, by)
	return wire.OK
}

func (x *Transforms) updateSA(s *sa) wire.Errno {
	old := x.states.find(s.Key())
	if old == nil {
		return wire.ESRCH
	}
	if old.State() == sadb.Larval {
		// The new one first, so that packets always find one of them.
		s.told.Inherit(&old.told)
		x.insert(s, firstLook)
		x.remove(old)
		return wire.OK
	}
	now := x.e.Now()
	old.Lock()
	was, encap := old.encap.Load(), s.encap.Load()
	if !old.usable() || (was == nil) != (encap == nil) || encap != nil && encap.Type != was.Type {
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
	x.tellState(old)
	s.Become(sadb.Dead)
	x.e.After(s.forgetKeys) // the result shows them
	// The timer is set even if there is nothing for it to find, because a hard limit may have been reached just now.
	x.setTimer(old, now.Add(firstLook))
	x.reached(old, out)
	return wire.OK
}
