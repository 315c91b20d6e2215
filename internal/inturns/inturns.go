// Package inturns compares ways of doing the same on a machine that does other things, too: in turns, so that these hit
// all of them, by the ratios within a turn, and with the interval in which their median lies.
package inturns

import (
	"math"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"
)

// A Way is one of those that are compared.
type Way struct {
	Name string
	Do   func() // once or a few hundred times, so that reading the clock does not count; the same for all ways
	// Others is the processor time so far of other processes that work for it; nil: there are none.
	Others func() time.Duration
}

// Compare measures the ways in turns, in an order that changes. Each is done for a turn that is not measured, so that
// what came of the break is over, and then for one that is; -benchtime 100x makes 100 turns of each. It reports what
// the first way takes for one Do, and for each of the others by how many percent it is slower: the median, and from
// where to where the median is with a probability of 95 percent or more. "cpu" is the processor time of the whole
// process for one Do, also what other goroutines take at that time, and that of Others; what else the machine does
// hardly disturbs it.
func Compare(b *testing.B, turn time.Duration, ways ...Way) {
	took, cpu := make([][]float64, len(ways)), make([][]float64, len(ways)) // nanoseconds for one Do
	order := rand.Perm(len(ways))
	for b.Loop() {
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, w := range order {
			ways[w].run(turn)
			t, c := ways[w].run(turn)
			took[w], cpu[w] = append(took[w], t), append(cpu[w], c)
		}
	}
	b.ReportMetric(0, "ns/op") // of all ways together
	report(b, "", ways, took)
	report(b, "cpu-", ways, cpu)
}

func report(b *testing.B, what string, ways []Way, took [][]float64) {
	for w := 1; w < len(ways); w++ {
		slower := make([]float64, len(took[w]))
		for i, t := range took[w] {
			slower[i] = 100 * (t/took[0][i] - 1)
		}
		low, median, high := Median(slower)
		b.ReportMetric(low, ways[w].Name+"-"+what+"low-%")
		b.ReportMetric(median, ways[w].Name+"-"+what+"%")
		b.ReportMetric(high, ways[w].Name+"-"+what+"high-%")
	}
	_, first, _ := Median(took[0])
	b.ReportMetric(first, ways[0].Name+"-"+what+"ns")
}

// run is how long a Do takes, of as many as fit into a turn, and how much processor time.
func (w *Way) run(turn time.Duration) (took, cpu float64) {
	start, used := time.Now(), w.processor()
	for n := 1; ; n++ {
		w.Do()
		if passed := time.Since(start); passed >= turn {
			return float64(passed) / float64(n), float64(w.processor()-used) / float64(n)
		}
	}
}

// processor is the processor time that this process, and the others, have had.
func (w *Way) processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // there is no reason for it
	}
	used := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	if w.Others != nil {
		used += w.Others()
	}
	return used
}

// Median returns the median of values, which it sorts, and an interval that has the median of what they are drawn from,
// with a probability of 95 percent or more: between two of the values, whatever their distribution. Of fewer than six
// values that is from the least to the greatest, with less.
func Median(values []float64) (low, median, high float64) {
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return 0, 0, 0
	}
	// How many of n values lie below the median is binomial: k is the most for which less than 2.5 percent have at most
	// k-1 there.
	k, sum := 0, 0.0
	for {
		lg, _ := math.Lgamma(float64(n + 1))
		a, _ := math.Lgamma(float64(k + 1))
		c, _ := math.Lgamma(float64(n - k + 1))
		if sum += math.Exp(lg - a - c - float64(n)*math.Ln2); sum > 0.025 {
			break
		}
		k++
	}
	k = max(k, 1)
	return values[k-1], (values[(n-1)/2] + values[n/2]) / 2, values[n-k]
}
