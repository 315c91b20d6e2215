package kame

// Window is the memory of the sequence numbers of an SA that came in. The SA's lock guards it. It decides nothing: that
// is the heirs' business, who differ. The zero value has seen nothing.
type Window struct {
	Size uint32 // packets; 0: replays are not looked for
	Last uint64 // the highest number accepted

	// seen has the numbers accepted, 64 in a word, by the number of the word. Windows may be as wide as the numbers
	// themselves, so there are words only where something came.
	seen map[uint64]uint64
}

// Seen tells whether a number was accepted. It must lie in the window.
func (w *Window) Seen(seq uint64) bool { return w.seen[seq/64]>>(seq%64)&1 == 1 }

// Mark accepts a number in the window, or above it: then the window moves.
func (w *Window) Mark(seq uint64) {
	if seq > w.Last {
		w.advance(seq)
	}
	if w.seen == nil {
		w.seen = map[uint64]uint64{}
	}
	w.seen[seq/64] |= 1 << (seq % 64)
}

// advance forgets what no longer lies in the window.
func (w *Window) advance(last uint64) {
	bottom := func(last uint64) uint64 { return (last - min(last, uint64(w.Size))) / 64 } // its first word
	from, to := bottom(w.Last), bottom(last)
	w.Last = last
	if to-from > uint64(len(w.seen)) {
		for i := range w.seen {
			if i < to {
				delete(w.seen, i)
			}
		}
		return
	}
	for ; from < to; from++ {
		delete(w.seen, from)
	}
}

// ReplayPage is how an heir looks at sequence numbers. The SA's lock is held.
type ReplayPage struct {
	// Check looks before the ICV is computed. high is the upper half of the number, for SAs with extended ones.
	Check func(s *SA, p *Protection, seq uint32) (high uint32, ok bool)
	// Accept looks once more when the packet is genuine, and notes its number.
	Accept func(s *SA, p *Protection, seq uint32) (ok bool)
}
