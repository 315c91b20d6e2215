package illumos

import (
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// maxIdlePackets is SADB_MAX_IDLEPKTS: how many packets an IDLE SA keeps.
const maxIdlePackets = 100

// keep is what an IDLE SA does with a packet that it has opened: another node of the cluster may be about to hand the
// SA over, so the packet waits. The oldest makes room. It returns false if the SA is not IDLE any more. The original
// stores packets in a form that its release cannot read; this is what it meant. A packet for which there is no memory
// ends.
func (k *Kernel) keep(s *sa, p *packet.Packet, inner []byte) bool {
	s.Lock()
	if s.State() != stateIdle {
		s.Unlock()
		return false
	}
	if s.kept == nil {
		s.kept = &kept{}
	}
	p.Made = inner
	out := s.kept.idle.Push(p, packet.Queued, maxIdlePackets)
	s.Unlock()
	if out == p {
		k.drop(p, dropNoMemory)
		return true
	}
	p.Report()
	if out != nil {
		k.drop(out, dropIdleOverflow)
	}
	return true
}

// takeKeptLocked takes the packets that an SA keeps. The SA's lock is held.
func (s *sa) takeKeptLocked() *kept {
	rest := s.kept
	s.kept = nil
	if rest == nil {
		rest = &kept{}
	}
	return rest
}

// idleNowLocked moves an SA that nobody has used for its idle time to IDLE, if another node has it; it says whether key
// management is to be told instead. The SA's lock is held.
func (s *sa) idleNowLocked() (tell bool) {
	switch s.State() {
	case stateActiveElsewhere:
		s.BecomeLocked(stateIdle)
	case sadb.Mature:
		return true
	}
	return false
}
