package xfrm

// window is the anti-replay window of an SA: up to 32 numbers, of which bit 0 is the highest seen.
type window struct{ top, bits uint32 }

// fresh tells whether a number can be a new one, with a window of so many packets.
func (w *window) fresh(seq uint32, size uint8) bool {
	switch {
	case seq == 0:
		return false
	case seq > w.top:
		return true
	}
	offset := w.top - seq
	return offset < uint32(size) && w.bits&(1<<offset) == 0
}

// accept marks a number once its packet has proved genuine, or refuses it.
func (w *window) accept(seq uint32, size uint8) bool {
	if !w.fresh(seq, size) {
		return false
	}
	if seq > w.top {
		if ahead := seq - w.top; ahead < 32 {
			w.bits <<= ahead
		} else {
			w.bits = 0
		}
		w.top = seq
	}
	w.bits |= 1 << (w.top - seq)
	return true
}
