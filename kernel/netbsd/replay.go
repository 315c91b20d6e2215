package netbsd

import (
	"math"

	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/wire"
)

var replays = kame.ReplayPage{Check: checkReplay, Accept: acceptReplay}

// checkReplay follows ipsec_chkreplay.
func checkReplay(s *kame.SA, _ *kame.Protection, seq uint32) (uint32, bool) { return 0, fresh(s, seq) }

// fresh tells whether a number may come. The first one always may.
func fresh(s *kame.SA, seq uint32) bool {
	w := &s.Replays
	switch n := uint64(seq); {
	case w.Size == 0:
		return true
	case seq == 0:
		return false
	case s.Traffic.Seq == 0 || n > w.Last:
		return true
	default:
		return w.Last-n < uint64(w.Size) && !w.Seen(n)
	}
}

// acceptReplay follows ipsec_updatereplay. One counter counts the packets that come in and numbers those that go out.
func acceptReplay(s *kame.SA, p *kame.Protection, seq uint32) bool {
	if !fresh(s, seq) {
		return false
	}
	if s.Replays.Size != 0 {
		s.Replays.Mark(uint64(seq))
	}
	if s.Traffic.Seq == math.MaxUint32 && p.Flags&wire.KAMEFlagXCycSeq == 0 {
		return false
	}
	s.Traffic.Seq = uint64(uint32(s.Traffic.Seq + 1))
	return true
}
