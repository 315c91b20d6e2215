package illumos

import (
	"math"
	"time"

	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// Age implements [engine.Timed]: one pass of the ager over AH, then one over ESP. Every limit of time is observed
// here, up to one interval late; and this is the only place, with reachLimit, that ends an SA's life with an EXPIRE.
func (k *Kernel) Age(at time.Time, force bool) {
	now := at.Unix()
	if !force && (k.due == 0 || k.due > now) {
		return
	}
	k.lastPass = now
	k.due = 0
	for _, p := range k.consumers() {
		for _, f := range p.families() {
			k.ageAcquires(f, now)
			k.ageTable(&f.in, now)
			k.ageTable(&f.out, now)
		}
	}
}

// ageTable looks at every SA of a table, and then at the partners of those that have changed.
func (k *Kernel) ageTable(t *table, now int64) {
	var changed []*sa
	for s := range t.all {
		if k.ageSA(s, now) {
			changed = append(changed, s)
		}
	}
	for _, s := range changed {
		k.agePartner(s)
	}
}

// ageSA decides what the time has done to an SA; the first that applies counts; sadb_age_assoc. It says whether its
// state changed in a way that a peer or pair must hear of.
func (k *Kernel) ageSA(s *sa, now int64) (changed bool) {
	if len(k.dumps) > 0 && s.dueBy(now) {
		k.preserve(s)
	}
	s.Lock()
	state, due := s.State(), s.hardExpire != 0 && s.hardExpire <= now
	switch {
	case due && (state == sadb.Larval || state == stateActiveElsewhere || state == sadb.Dead), state == stateIdle &&
		s.hardExpire <= now:
		// An IDLE SA without a hard limit goes at once: its limit of 0 counts as long past.
		s.Unlock()
		k.kill(s, dropLarvalTimeout)
		return false
	case due:
		held := k.fault.DieLocked(&s.SA, false)
		s.hardExpire = now + s.p.tun(tunReapDelay)
		k.dueAt(s.hardExpire)
		s.Unlock()
		k.tellState(s)
		k.endHeld(held, dropLarvalTimeout)
		k.tellExpired(s)
		return true
	case s.softExpire != 0 && s.softExpire <= now && state < sadb.Dying:
		s.BecomeLocked(sadb.Dying)
		s.noteDueLocked(k, now)
		s.Unlock()
		k.tellState(s)
		k.tellExpired(s)
		return true
	}
	tell := s.idleTime != 0 && s.idleExpire <= now && s.idleNowLocked()
	s.noteDueLocked(k, now)
	keepalive := s.keepaliveDueLocked(now)
	s.Unlock()
	k.tellState(s)
	if tell {
		k.tellExpired(s)
	}
	if keepalive {
		k.sendKeepalive(s)
	}
	return false
}

// dueBy says whether a pass may find something to do with an SA.
func (s *sa) dueBy(now int64) bool {
	s.Lock()
	defer s.Unlock()
	for _, t := range []int64{s.hardExpire, s.softExpire, s.idleExpire} {
		if t != 0 && t <= now {
			return true
		}
	}
	return s.State() == stateIdle
}

// noteDueLocked notes when an SA wants a pass next. The SA's lock is held.
func (s *sa) noteDueLocked(k *Kernel, now int64) {
	k.dueAt(s.hardExpire)
	state := s.State()
	if state < sadb.Dying {
		k.dueAt(s.softExpire)
	}
	switch {
	case state == stateIdle && s.hardExpire == 0:
		k.dueAt(now + 1)
	case s.idleTime != 0 && (state == sadb.Mature || state == stateActiveElsewhere):
		k.dueAt(max(s.idleExpire, now+1))
	}
	if s.wantsKeepalive() {
		k.dueAt(max(s.lastUse, s.lastKeepalive) + s.p.tun(tunNATKeepalive))
	}
}

func (k *Kernel) tellExpired(s *sa) { k.passUp(k.expireMessage(s), nil, fromConsumer) }

// agePartner carries the change of one SA over to the other it belongs to; age_pair_peer_list. A peer is the same SA
// and takes the same state, without an EXPIRE of its own. A pair is another SA: when this one is DEAD, an inbound
// partner dies silently, and an outbound one has reached its hard limit too: the same pass gets to it.
func (k *Kernel) agePartner(s *sa) {
	state := s.State()
	if peer := s.peer(); peer != nil {
		k.preserve(peer)
		_, held := peer.Become(state) // its own limits stay: if they have passed, this very pass reaps it
		k.tellState(peer)
		k.endHeld(held, dropLarvalTimeout)
		return
	}
	if state != sadb.Dead {
		return
	}
	pair := s.pair()
	if pair == nil {
		return
	}
	s.unpair()
	pair.unpair() // preserves it
	var held packet.Queue
	pair.Lock()
	if s.in.isOutbound() {
		_, held = pair.BecomeLocked(state)
	}
	pair.hardExpire = 1
	pair.Unlock()
	k.tellState(pair)
	k.dueAt(1)
	k.endHeld(held, dropLarvalTimeout)
}

// reachLimit is what packets leave to the control side when they have reached a limit: of bytes (with an EXPIRE at
// once), or the end of the sequence numbers or IVs (with one at the next pass).
func (k *Kernel) reachLimit(s *sa, c charge, tell bool) {
	once := postedSoft
	if c == chargeHard {
		once = postedHard
	}
	if !tell {
		once <<= 1
	}
	k.postOnce(s, once, func() {
		k.preserve(s)
		s.Lock()
		state := s.State()
		var held packet.Queue
		switch {
		case s.in == nil || state == sadb.Dead:
			s.Unlock()
			return
		case c == chargeHard:
			held = k.fault.DieLocked(&s.SA, false)
			s.hardExpire = 1
			k.dueAt(1)
		case state >= sadb.Dying:
			s.Unlock()
			return
		default:
			s.BecomeLocked(sadb.Dying)
		}
		s.Unlock()
		k.tellState(s)
		k.endHeld(held, dropLarvalTimeout)
		if tell {
			k.tellExpired(s)
		}
	})
}

// posted are pieces of control work that packets have posted for an SA, and that have not run yet: one of each kind,
// however many packets ask for it.
type posted = uint32

const (
	postedSoft posted = 1 << iota // with an EXPIRE
	_                             // and without
	postedHard
	_
	postedRenumber
	postedPreserve
)

// postOnce posts f for an SA unless the same waits already.
func (k *Kernel) postOnce(s *sa, once posted, f func()) {
	if s.posted.Or(once)&once != 0 {
		return
	}
	k.e.Post(func() {
		s.posted.And(^once)
		f()
	})
}

// useUp lets an SA die at the next pass: it has no sequence numbers or IVs left.
func (k *Kernel) useUp(s *sa) {
	s.Lock()
	s.hardExpire = 1
	s.Unlock()
	k.wantPass(1)
}

// wantPass asks, from a packet's way, for the first pass at or after t. Whoever lets go of the control lock sees it.
func (k *Kernel) wantPass(t int64) {
	if t == 0 || t == math.MaxInt64 {
		return
	}
	for {
		first := k.wanted.Load()
		if first != 0 && first <= t {
			return
		}
		if !k.wanted.CompareAndSwap(first, t) {
			continue
		}
		if first == 0 {
			k.e.Post(func() {})
		}
		return
	}
}
