package ipsec_test

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/ipsec"
)

// slowWindow is the obvious window: a set.
type slowWindow struct {
	size, top uint64
	seen      map[uint64]bool
}

func (w *slowWindow) look(seq uint64) ipsec.Place {
	if seq > w.top {
		return ipsec.Place{Ahead: true, Offset: seq - w.top}
	}
	return ipsec.Place{Offset: w.top - seq, Seen: w.top-seq < w.size && w.seen[seq]}
}

func (w *slowWindow) accept(seq uint64) bool {
	switch {
	case seq > w.top:
		w.top = seq
	case w.top-seq >= w.size || w.seen[seq]:
		return false
	}
	w.seen[seq] = true
	return true
}

func TestWindowAgainstModel(t *testing.T) {
	for _, size := range []int{0, 1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 191, 192, 255, 256} {
		r := rand.New(rand.NewPCG(1, uint64(size)))
		w := ipsec.NewWindow(size)
		model := slowWindow{size: uint64(size), seen: map[uint64]bool{}}
		if size == 128 { // across the border of the low half
			w.SetTop(1<<32 - 100)
			model.top = 1<<32 - 100
		}
		for i := range 20000 {
			seq := model.top
			switch r.IntN(10) {
			case 0:
				seq += r.Uint64N(600)
			case 1, 2:
				seq += r.Uint64N(4)
			default:
				seq -= min(seq, r.Uint64N(uint64(size)+20))
			}
			if diff := cmp.Diff(model.look(seq), w.Look(seq)); diff != "" {
				t.Fatalf("size %d, step %d: Look(%d) with top %d (-want +got):\n%s", size, i, seq, model.top, diff)
			}
			if want, got := model.accept(seq), w.Accept(seq); want != got {
				t.Fatalf("size %d, step %d: Accept(%d) with top %d: %v, want %v", size, i, seq, model.top, got, want)
			}
			if w.Top() != model.top {
				t.Fatalf("size %d, step %d: top %d, want %d", size, i, w.Top(), model.top)
			}
			if i%1000 == 999 {
				w.SetTop(seq)
				model.top, model.seen = seq, map[uint64]bool{}
			}
		}
	}
}

// TestWindowJump marks old numbers, jumps by every distance, and looks for all of them.
func TestWindowJump(t *testing.T) {
	const size, top = 255, 300
	for jump := uint64(1); jump < 300; jump++ {
		w := ipsec.NewWindow(size)
		marked := func(seq uint64) bool { return seq%3 == 0 }
		for seq := uint64(1); seq <= top; seq++ {
			if marked(seq) {
				w.Accept(seq)
			}
		}
		w.Accept(top + jump)
		for seq := uint64(1); seq <= top; seq++ {
			want := marked(seq) && top+jump-seq < size
			if got := w.Look(seq).Seen; got != want {
				t.Fatalf("after a jump of %d: %d seen = %v, want %v", jump, seq, got, want)
			}
		}
	}
}

func TestWindowEdges(t *testing.T) {
	w := ipsec.NewWindow(32)
	w.SetTop(100)
	for _, tt := range []struct {
		seq  uint64
		want ipsec.Place
	}{
		{100, ipsec.Place{}},
		{99, ipsec.Place{Offset: 1}},
		{68, ipsec.Place{Offset: 32}},
		{0, ipsec.Place{Offset: 100}},
		{101, ipsec.Place{Ahead: true, Offset: 1}},
		{1<<64 - 1, ipsec.Place{Ahead: true, Offset: 1<<64 - 101}},
	} {
		if diff := cmp.Diff(tt.want, w.Look(tt.seq)); diff != "" {
			t.Errorf("Look(%d) (-want +got):\n%s", tt.seq, diff)
		}
	}
	if !w.Accept(100) || w.Accept(100) || !w.Accept(69) || w.Accept(68) {
		t.Error("after SetTop(100) of 32: 100 and 69 are accepted once, 68 is not")
	}
	for size, want := range map[int]int{-1: 0, 0: 0, 256: 256, 257: 256, 1 << 20: 256} {
		if w := ipsec.NewWindow(size); w.Size() != want {
			t.Errorf("NewWindow(%d).Size() = %d, want %d", size, w.Size(), want)
		}
	}
	if n := unsafe.Sizeof(ipsec.Window{}); n > 48 {
		t.Errorf("a window takes %d bytes", n)
	}
}

func TestWindowHigh(t *testing.T) {
	for _, tt := range []struct {
		size int
		top  uint64
		seq  uint32
		want uint32
	}{
		{64, 0, 1, 0},
		{64, 1000, 1001, 0},
		{64, 1000, 937, 0}, // the bottom of the window
		{64, 1000, 936, 1}, // below it: the next subspace
		{64, 0x5_00001000, 0xffffffff, 5},
		{64, 0x5_00000010, 0xfffffff0, 4}, // the window spans two subspaces
		{64, 0x5_00000010, 0x11, 5},
		{64, 0x5_00000010, 0xffffffd1, 4},
		{64, 0x5_00000010, 0xffffffd0, 5},
		{64, 0x5_ffffffff, 0, 6},
		{0, 0x5_00000010, 0x10, 5},
		{0, 0x5_00000010, 0x0f, 6},
	} {
		w := ipsec.NewWindow(tt.size)
		w.SetTop(tt.top)
		if got := w.High(tt.seq); got != tt.want {
			t.Errorf("size %d, top %#x: High(%#x) = %d, want %d", tt.size, tt.top, tt.seq, got, tt.want)
		}
	}
}
