package illumos

import (
	"encoding/binary"

	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// update brings a LARVAL its keys, or changes the lifetimes of a live SA; sadb_update_sa. With X_UPDATEPAIR the SA it
// is paired with gets the same lifetimes.
func (k *Kernel) update(p *protocol, r *request) result {
	q, res := k.formQuery(p, r, wire.ExtAddressDst, wire.ExtAddressSrc, wire.ExtSA)
	if res.failed() {
		return res
	}
	s, partner := q.find()
	if s == nil {
		return result{wire.ESRCH, wire.IllumosDiagSANotFound}
	}
	k.preserve(s)
	k.preserve(partner)
	if s.State() == sadb.Larval && partner == nil {
		if res := k.checkAdd(p, r); res.failed() {
			return res
		}
		// X_UPDATEPAIR runs as an ADD here, and finds the LARVAL in its way.
		return k.finishAdd(p, r, r.hdr.Type == wire.MsgUpdate)
	}
	switch {
	case r.has(wire.ExtKeyAuth):
		return einval(wire.IllumosDiagAKeyPresent)
	case r.has(wire.ExtKeyEncrypt):
		return einval(wire.IllumosDiagEKeyPresent)
	}
	switch state := sadb.State(q.sa.State); state {
	case stateActiveElsewhere:
		k.wake(s, stateActiveElsewhere)
		k.wake(partner, stateActiveElsewhere)
	case stateActive:
		return k.activate(r, s, partner)
	case sadb.Mature:
	default:
		return einval(wire.IllumosDiagBadSAState)
	}
	return k.updateLive(p, r, q, s, partner)
}

func (k *Kernel) updateLive(p *protocol, r *request, q *query, s, partner *sa) result {
	limits := k.readLifetimes(r)
	switch {
	case q.sa.Flags&^p.settableFlags(false) != 0:
		return einval(wire.IllumosDiagBadSAFlags)
	case r.has(wire.ExtLifetimeCurrent):
		return result{wire.EOPNOTSUPP, wire.IllumosDiagMissingLifetime}
	}
	if res := limits.check(); res.failed() {
		return res
	}
	switch {
	case k.labeled(r):
		return einval(wire.IllumosDiagBadLabel)
	case s.State() == sadb.Dead, partner != nil && partner.State() == sadb.Dead:
		return result{errno: wire.ESRCH}
	}
	replay := r.ext[wire.IllumosExtXReplayValue]
	if st := s.State(); replay != nil && (st == sadb.Mature || st == sadb.Larval) {
		return einval(wire.IllumosDiagBadSAState)
	}
	now := k.now()
	k.updateLifetimes(s, limits, true, now)
	if replay != nil {
		if res := k.setReplay(r, s, replay, now); res.failed() {
			return res
		}
	}
	if r.hdr.Type == wire.IllumosMsgXUpdatePair {
		if partner == nil {
			return result{wire.ESRCH, wire.IllumosDiagPairSANotFound}
		}
		k.updateLifetimes(partner, limits, false, now)
	}
	if r.has(wire.IllumosExtXPair) {
		if res := k.setPair(s, r); res.failed() {
			return res
		}
	}
	k.echo(r)
	return result{}
}

func (k *Kernel) updateLifetimes(s *sa, l lifetimes, fuzz bool, now int64) {
	s.Lock()
	k.updateLifetimesLocked(s, l, fuzz, now)
	due := earlier(earlier(s.hardExpire, s.softExpire), s.idleExpire)
	s.Unlock()
	k.dueAt(due)
}

// setReplay moves the counter of an SA that a cluster hands over.
func (k *Kernel) setReplay(r *request, s *sa, raw []byte, now int64) result {
	value, _ := k.d.ParseReplayValue(raw)
	s.Lock()
	defer s.Unlock()
	if s.replayWindow != 0 {
		if r.dst != classMe {
			s.setCounterLocked(value.Replay32)
		} else if !s.window.accept(binary.BigEndian.Uint32(raw[4:])) { // taken for a number off the wire
			return einval(wire.IllumosDiagInvalidReplay)
		}
	}
	if s.idleTime != 0 {
		s.idleExpire = now + s.idleTime
	}
	return result{}
}

// wake moves an IDLE SA on to another state.
func (k *Kernel) wake(s *sa, to sadb.State) {
	if s == nil {
		return
	}
	s.Lock()
	if s.State() == stateIdle {
		s.BecomeLocked(to)
		s.idleExpire = k.now() + s.idleTime
	}
	s.Unlock()
	k.tellState(s)
}

// activate makes an IDLE SA MATURE: this node takes it over, and the packets it kept go up in their order.
func (k *Kernel) activate(r *request, s, partner *sa) result {
	if s.State() != stateIdle || partner != nil && partner.State() != stateIdle {
		return einval(wire.IllumosDiagBadSAState)
	}
	for _, s := range []*sa{s, partner} {
		if s == nil {
			continue
		}
		s.Lock()
		s.BecomeLocked(sadb.Mature)
		if s.idleTime != 0 {
			s.idleExpire = k.now() + s.idleTime
		}
		rest := s.takeKeptLocked()
		s.Unlock()
		k.tellState(s)
		if refuse := k.refuse; rest.idle.Len() != 0 {
			k.e.After(func() {
				for p := rest.idle.Pop(); p != nil; p = rest.idle.Pop() {
					if refuse {
						k.drop(p, dropIdleTimeout)
						continue
					}
					p.End(packet.Verdict{Kind: packet.Delivered, Inner: p.Made})
				}
			})
		}
	}
	k.echo(r)
	return result{}
}
