package ipsec

// windowWords times 64 is the widest window.
const windowWords = 4

// MaxWindow is the widest replay window, in packets.
const MaxWindow = 64 * windowWords

// Window is the bookkeeping of a replay window (RFC 4303 section 3.4.3): the highest sequence number accepted, and
// which of the Size numbers up to it were. It decides nothing: kernels differ at the edges. Sequence numbers are 64
// bits wide, for those without the extension the high half stays 0. The zero value has size 0. Not safe for concurrent
// use.
type Window struct {
	bits [windowWords]uint64 // bit i: top-i was accepted
	top  uint64
	size uint16
}

// NewWindow returns an empty window of size packets, cut to 0..MaxWindow.
func NewWindow(size int) Window { return Window{size: uint16(max(0, min(size, MaxWindow)))} }

// Size is its width in packets.
func (w *Window) Size() int { return int(w.size) }

// Top is the highest sequence number accepted, or set.
func (w *Window) Top() uint64 { return w.top }

// SetTop sets the highest number and empties the bitmap, so top itself is not marked as accepted.
func (w *Window) SetTop(top uint64) {
	w.top = top
	w.bits = [windowWords]uint64{}
}

// Place is where a sequence number lies.
type Place struct {
	Ahead  bool   // above the top
	Offset uint64 // distance from the top, whichever side
	Seen   bool   // accepted before, as far as the window reaches
}

// Look finds seq, changing nothing.
func (w *Window) Look(seq uint64) Place {
	if seq > w.top {
		return Place{Ahead: true, Offset: seq - w.top}
	}
	off := w.top - seq
	return Place{Offset: off, Seen: off < uint64(w.size) && w.bits[off/64]>>(off%64)&1 == 1}
}

// Accept marks seq, moving the window up if it lies ahead. It returns false, and changes nothing, if seq lies below the
// window or is marked already. With size 0 only the top moves.
func (w *Window) Accept(seq uint64) bool {
	p := w.Look(seq)
	switch {
	case p.Ahead:
		w.shift(p.Offset)
		w.top = seq
		p.Offset = 0
	case p.Seen || p.Offset >= uint64(w.size):
		return false
	}
	if w.size > 0 {
		w.bits[p.Offset/64] |= 1 << (p.Offset % 64)
	}
	return true
}

// shift moves every mark up by n places.
func (w *Window) shift(n uint64) {
	if n >= uint64(w.size) {
		w.bits = [windowWords]uint64{}
		return
	}
	words, bits := int(n/64), n%64
	for i := windowWords - 1; i >= 0; i-- {
		var v uint64
		if j := i - words; j >= 0 {
			v = w.bits[j] << bits
			if j > 0 {
				v |= w.bits[j-1] >> (64 - bits) // a shift by 64 gives 0
			}
		}
		w.bits[i] = v
	}
}

// High infers the high half of an extended sequence number from its low half and the window (RFC 4303 appendix A2.2).
func (w *Window) High(seq uint32) uint32 {
	hi, lo := uint32(w.top>>32), uint32(w.top)
	bottom := lo - uint32(max(w.size, 1)) + 1
	if lo >= uint32(max(w.size, 1))-1 { // the window lies in one subspace
		if seq < bottom {
			hi++
		}
	} else if seq >= bottom { // it spans two; below 0 the half wraps, and no ICV will fit it
		hi--
	}
	return hi
}
