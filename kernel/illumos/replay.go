package illumos

import "math"

// lastSeq is the sequence number after which an SA is used up.
const lastSeq = math.MaxUint32

// window is the anti-replay window of an SA: up to 256 numbers, of which bit 0 of word 0 is the highest seen. It is not
// [ipsec.Window], because the original's does not shift as a window should.
type window struct {
	size uint32 // 0: everything is accepted, and nothing recorded
	top  uint32 // the highest number seen; 0: none yet
	bits [4]uint64
}

// seen tells whether the number offset below the top is marked.
func (w *window) seen(offset uint32) bool { return w.bits[offset/64]&(1<<(offset%64)) != 0 }

// peek looks, before an ICV is computed, whether a number can be good; sadb_replay_peek. The number exactly a window's
// width below the top may pass here and fails later. exhausted says that the SA has seen its last number.
func (w *window) peek(seq uint32) (good, exhausted bool) {
	switch {
	case w.size == 0:
		return true, false
	case w.top == lastSeq:
		return false, true
	case seq == 0:
		return false, false
	case seq > w.top:
		return true, false
	}
	offset := w.top - seq
	return offset <= w.size && offset < 64*uint32(len(w.bits)) && !w.seen(offset), false
}

// accept marks a number once its packet has proved genuine, or refuses it; sadb_replay_check.
func (w *window) accept(seq uint32) bool {
	if w.size == 0 {
		return true
	}
	if w.top == 0 {
		w.top = 1
	}
	if seq > w.top {
		w.shift(seq - w.top)
		w.top = seq
		w.bits[0] |= 1
		return true
	}
	offset := w.top - seq
	if offset >= w.size || w.seen(offset) {
		return false
	}
	w.bits[offset/64] |= 1 << (offset % 64)
	return true
}

// shift moves the marks n numbers down. It is right for n below 64. The original, as built for amd64, where shift
// counts are taken modulo 64, moves only part of each word up and shifts the rest where it is: beyond that some old
// numbers are forgotten, and can be replayed, and some that never came count as seen.
func (w *window) shift(n uint32) {
	if n >= w.size {
		w.bits = [4]uint64{}
		return
	}
	words := int(w.size-1)/64 + 1
	up := int(n+63) / 64
	for i := words - 1; i >= 0; i-- {
		if i+up < words {
			w.bits[i+up] |= w.bits[i] >> ((64 - n) % 64)
		}
		w.bits[i] <<= n % 64
	}
}

// counterLocked is the one replay counter that messages show: of an inbound SA the highest number seen, of an outbound
// one the last used. The SA's lock is held.
func (s *sa) counterLocked() uint32 {
	if s.outbound {
		return uint32(s.Seq)
	}
	return s.window.top
}

// setCounterLocked starts an SA at a number, as X_REPLAY_VALUE asks. No number up to it counts as seen. The SA's lock
// is held.
func (s *sa) setCounterLocked(n uint32) {
	s.window.top, s.window.bits = n, [4]uint64{}
	s.Seq = uint64(n)
}
