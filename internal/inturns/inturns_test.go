package inturns_test

import (
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/inturns"
)

// The interval is that of the tables: of 20 values between the 6th and the 15th, of 100 between the 40th and the 61st.
func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		n                 int
		low, median, high float64
	}{{0, 0, 0, 0}, {1, 1, 1, 1}, {2, 1, 1.5, 2}, {5, 1, 3, 5}, {6, 1, 3.5, 6}, {20, 6, 10.5, 15},
		{100, 40, 50.5, 61}, {1000, 469, 500.5, 532}} {
		values := make([]float64, tt.n)
		for i := range values {
			values[i] = float64((i*7+3)%tt.n + 1) // all numbers once: 7 has no factor in common with any n here
		}
		if low, median, high := inturns.Median(values); low != tt.low || median != tt.median || high != tt.high {
			t.Errorf("of %d: %v, %v to %v; want %v, %v to %v", tt.n, median, low, high, tt.median, tt.low, tt.high)
		}
	}
}

// BenchmarkSame compares a way with itself: the interval has 0 in it.
func BenchmarkSame(b *testing.B) {
	n := 0
	do := func() {
		for range 10_000 {
			n++
		}
	}
	inturns.Compare(b, 1e6, inturns.Way{Name: "one", Do: do}, inturns.Way{Name: "other", Do: do})
}
