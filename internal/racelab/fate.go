package racelab

import (
	"fmt"
	"slices"

	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// A Fate is what became of a packet.
type Fate struct {
	Verdicts []Verdict // in order; the last one is final unless the packet still waits
	// Stranded: it waited on an SA that had left LARVAL and that nobody would empty any more.
	Stranded bool
	// Lost: it was dropped although the SA had been promoted and was there to take it: to make room for another packet,
	// or for want of an SA.
	Lost bool
	// Dead: it was delivered on a DEAD SA.
	Dead bool
}

// Fails says whether that is wrong.
func (f *Fate) Fails() bool { return f.Stranded || f.Lost || f.Dead }

// String names what is wrong, or "".
func (f *Fate) String() string {
	switch {
	case f.Stranded:
		return "stranded"
	case f.Lost:
		return "lost"
	case f.Dead:
		return "delivered on a DEAD SA"
	}
	return ""
}

// judge fills in the fates from the steps.
func (r *Run) judge(variant string) {
	var evictedIn [2]sadb.State // the state of the SA when the packet had to make room
	updated := false            // the UPDATE has done all that it does to the queue
	var held []uint64
	for i := range r.Steps {
		s := &r.Steps[i]
		for _, id := range held {
			if s.To == "stored" && !slices.Contains(s.Held, id) {
				evictedIn[id-1] = s.State
			}
		}
		held = s.Held
		// Under larval-window the queue is emptied after the promotion: until then what is on it is only late.
		// Everywhere else it is emptied before or with it.
		if s.Actor == Update && (variant != sadb.LarvalWindow.String() || s.From == "take") {
			updated = true
		}
		for _, id := range s.Held {
			if s.State == sadb.Mature && updated {
				r.Fates[id-1].Stranded = true
			}
		}
		for _, v := range s.Verdicts {
			f := &r.Fates[v.Packet-1]
			f.Verdicts = append(f.Verdicts, v)
			switch {
			case v.Kind == packet.Delivered:
				f.Dead = s.State == sadb.Dead
			case v.Kind == packet.Dropped && v.Reason == packet.LarvalReplaced:
				f.Lost = evictedIn[v.Packet-1] == sadb.Mature
			case v.Kind == packet.Dropped && v.Reason == packet.NoSA:
				f.Lost = s.Linked && s.State != sadb.Dead
			}
		}
	}
	for _, id := range held { // at rest
		if r.Steps[len(r.Steps)-1].State != sadb.Larval {
			r.Fates[id-1].Stranded = true
		}
	}
}

// balance notes what must not be under any variant.
func (r *Run) balance(b packet.Balance) {
	held := uint64(len(r.Steps[len(r.Steps)-1].Held))
	if b.Injected != 2 || b.InFlight != 0 || b.Held != held || b.Injected != b.Ended+b.Held {
		r.Trouble = fmt.Errorf("ledger: %d injected, %d ended, %d held, %d in flight; the SA holds %d", b.Injected,
			b.Ended, b.Held, b.InFlight, held)
	}
	for i := range r.Fates {
		vs, final := r.Fates[i].Verdicts, 0
		for _, v := range vs {
			if v.Kind != packet.Queued {
				final++
			}
		}
		waits := slices.Contains(r.Steps[len(r.Steps)-1].Held, uint64(i+1))
		if final > 1 || final == 0 && !waits || final == 1 && waits {
			r.Trouble = fmt.Errorf("packet %d: %d final verdicts (%v), waits: %v", i+1, final, vs, waits)
		}
	}
}
