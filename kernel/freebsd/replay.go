package freebsd

import (
	"math"

	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/wire"
)

var replays = kame.ReplayPage{Check: checkReplay, Accept: acceptReplay}

// place is where a number of 32 bits lies, as far as the window says.
type place struct {
	seq    uint64 // the whole number
	inside bool   // in the window or above it, in its subspace: without extended numbers others are refused at last
	ok     bool   // there is such a number
}

// find follows ipsec_chkreplay: a number below the window stands for one of the next subspace.
func find(w *kame.Window, seq uint32) place {
	low, high := uint32(w.Last), w.Last>>32
	bottom := low - w.Size + 1
	whole := low >= w.Size-1 // the window lies in one subspace
	switch {
	case whole == (seq >= bottom):
		return place{high<<32 | uint64(seq), true, true}
	case !whole:
		return place{(high-1)<<32 | uint64(seq), false, high > 0}
	}
	return place{(high+1)<<32 | uint64(seq), false, high < math.MaxUint32}
}

// checkReplay follows ipsec_chkreplay.
func checkReplay(s *kame.SA, p *kame.Protection, seq uint32) (high uint32, ok bool) {
	w := &s.Replays
	if w.Size == 0 {
		return 0, true
	}
	if seq == 0 && w.Last == 0 {
		return 0, false
	}
	at := find(w, seq)
	const allowed = wire.KAMEFlagXCycSeq | wire.FreeBSDFlagXESN
	if !at.inside && uint32(w.Last) == math.MaxUint32 && p.Flags&allowed == 0 {
		return 0, false
	}
	if !at.ok || at.seq <= w.Last && w.Seen(at.seq) {
		return 0, false
	}
	return uint32(at.seq >> 32), true
}

// acceptReplay follows ipsec_updatereplay. With a window, one counter counts the packets that come in and numbers those
// that go out.
func acceptReplay(s *kame.SA, p *kame.Protection, seq uint32) bool {
	w := &s.Replays
	if w.Size == 0 {
		return true
	}
	at := find(w, seq)
	switch {
	case seq == 0 && w.Last == 0, !at.ok, !at.inside && p.Flags&wire.FreeBSDFlagXESN == 0,
		at.seq <= w.Last && w.Seen(at.seq):
		return false
	}
	w.Mark(at.seq)
	s.Traffic.Seq++
	return true
}
