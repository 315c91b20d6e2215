package illumos

import (
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// maxIdlePackets is SADB_MAX_IDLEPKTS: how many packets an IDLE SA keeps.
const maxIdlePackets = 100

// keep is what an IDLE SA does with a packet that it has opened: another node of the cluster may be about to hand the SA over, so
// the packet waits. The oldest makes room. It returns false if the SA is not IDLE any more. The original stores packets in a form
// that its release cannot read; this is what it meant.
func (k *Kernel) keep(s *sa, p *ipsec.Packet, inner []byte) bool {
	s.Lock()
	if s.State() != stateIdle {
		s.Unlock()
		return false
	}
	var evicted *ipsec.Packet
	if s.idle.Len() >= maxIdlePackets {
		evicted = s.idle.Pop()
		s.idleInner = s.idleInner[1:]
	}
	s.idle.Push(p, ipsec.Queued)
	s.idleInner = append(s.idleInner, inner)
	s.Unlock()
	p.Report()
	if evicted != nil {
		k.drop(evicted, dropIdleOverflow)
	}
	return true
}

// takeIdleLocked empties the list of an IDLE SA. The SA's lock is held.
func (s *sa) takeIdleLocked() (ipsec.Queue, [][]byte) {
	q, inner := s.idle, s.idleInner
	s.idle, s.idleInner = ipsec.Queue{}, nil
	return q, inner
}

// idleNow moves an SA that nobody has used for its idle time to IDLE, if another node has it; it says whether key management is to
// be told instead. The SA's lock is held.
func (s *sa) idleNowLocked() (tell bool) {
	switch s.State() {
	case stateActiveElsewhere:
		s.BecomeLocked(stateIdle)
	case sadb.Mature:
		return true
	}
	return false
}
