package openbsd

// The window of replays has one width, whatever an SA says: only whether it is 0 counts.
const (
	replayWindow = 2100              // TDB_REPLAYMAX - TDB_REPLAYWASTE
	replayRing   = replayWindow + 32 // TDB_REPLAYMAX: numbers that share a place
	replayWords  = (replayRing + 31) / 32
)

// firstReplay is the number of the first packet (AH_HMAC_INITIAL_RPL), and what an SA shows that has keys and no
// packets.
const firstReplay = 1

// replay is the counter of an SA: the number that its next packet out gets, and the highest that came in. Both are one,
// so that an SA with a window refuses some of its own packets. The SA's lock guards it.
type replay struct {
	count uint64
	seen  *[replayWords]uint32 // numbers that came in; nil: none
}

// arrival says what a number is that came in.
type arrival int

const (
	fresh arrival = iota
	none          // a number that no packet may have
	old           // below the window
	again         // it came before
)

// look finds out what a number is (checkreplaywindow). high is the upper half of the number, for SAs that have extended
// ones; where the whole number lies is guessed then as in RFC 4303 appendix A2.
func (r *replay) look(seq uint32, esn bool) (high uint32, is arrival) {
	low := uint32(r.count)
	high = uint32(r.count >> 32)
	if seq == 0 && (!esn || low <= firstReplay && high == 0) {
		return 0, none
	}
	window := r.window()
	bottom := low - window + 1
	whole := low >= window-1 // the window lies within one half
	switch {
	case whole == (seq >= bottom):
		switch {
		case seq > low:
			return high, fresh
		case low-seq >= window:
			return high, old
		case r.has(seq):
			return high, again
		}
		return high, fresh
	case !esn:
		return high, old
	case !whole: // in the part of the window that lies in the half before
		if r.has(seq) {
			return high, again
		}
		return high - 1, fresh
	case high+1 == 0:
		return high, none
	}
	return high + 1, fresh
}

// window is how many numbers up to the count lie in the window.
func (r *replay) window() uint32 { return uint32(min(r.count, replayWindow)) }

// accept notes a number that look has found fresh.
func (r *replay) accept(seq, high uint32) {
	if n := uint64(high)<<32 | uint64(seq); n > r.count {
		r.advance(n)
	}
	if r.seen == nil {
		r.seen = new([replayWords]uint32)
	}
	r.seen[word(seq)] |= bitOf(seq)
}

// advance moves the window up, whose places are used again. A number that is further away than the window is wide has
// all others forgotten, even those that lie in the new window, which is wider as long as few packets came.
func (r *replay) advance(to uint64) {
	if r.seen != nil {
		if uint32(to)-uint32(r.count) > r.window() {
			*r.seen = [replayWords]uint32{}
		} else {
			for i, last := word(uint32(r.count)), word(uint32(to)); i != last; {
				i = (i + 1) % replayWords
				r.seen[i] = 0
			}
		}
	}
	r.count = to
}

func (r *replay) has(seq uint32) bool { return r.seen != nil && r.seen[word(seq)]&bitOf(seq) != 0 }

// word and bitOf are the place of a number. The ring is no multiple of a word, so that at its end numbers are a few
// places off, in the original as well.
func word(seq uint32) int { return int(seq % replayRing / 32) }

func bitOf(seq uint32) uint32 { return 1 << (31 - seq&31) }
