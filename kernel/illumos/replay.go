package illumos

import "math"

// windowEnd is the sequence number after which an SA is used up.
const windowEnd = math.MaxUint32

// peekLocked looks, before an ICV is computed, whether a sequence number can be good; sadb_replay_peek. The number exactly a window's
// width below the top passes here and fails later. exhausted says that the SA has seen its last number. The SA's lock is held.
func (s *sa) peekLocked(seq uint32) (good, exhausted bool) {
	w := uint64(s.Window.Size())
	switch {
	case w == 0:
		return true, false
	case s.Window.Top() == windowEnd:
		return false, true
	case seq == 0:
		return false, false
	}
	at := s.Window.Look(uint64(seq))
	return at.Ahead || at.Offset <= w && !at.Seen, false
}

// acceptLocked marks a sequence number once its packet has proved genuine, or refuses it; sadb_replay_check. The SA's lock is
// held.
func (s *sa) acceptLocked(seq uint32) bool {
	switch {
	case s.Window.Size() == 0:
		return true
	case seq == 0:
		return false
	case s.Window.Top() == 0:
		s.Window.SetTop(1)
	}
	return s.Window.Accept(uint64(seq))
}

// counterLocked is the one replay counter that messages show: of an inbound SA the highest number seen, of an outbound one the last
// used. The SA's lock is held.
func (s *sa) counterLocked() uint64 { return max(s.Window.Top(), s.Seq) }

// setCounter starts an SA at a number, as X_REPLAY_VALUE asks. No number up to it counts as seen.
func (s *sa) setCounter(n uint32) {
	s.Lock()
	defer s.Unlock()
	s.Window.SetTop(uint64(n))
	s.Seq = uint64(n)
}
