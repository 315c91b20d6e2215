package conform_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/conform"
)

// The results come in the order of the recordings, however many are played at a time.
func TestOrder(t *testing.T) {
	var text strings.Builder
	for i := range 500 {
		text.WriteString(lines(fmt.Sprintf("t/%03d", i), openA))
	}
	p := write(t, t.TempDir(), "r.jsonl", []byte(text.String()))
	var seen []string
	var bar [][2]int
	c := conform.Config{Kernel: of("illumos"), Paths: []string{p}, Target: lab{}, Workers: 8,
		Observe:  func(r conform.Result) { seen = append(seen, r.Scenario) },
		Progress: func(done, total int) { bar = append(bar, [2]int{done, total}) }}
	if _, err := conform.Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 500 || !slices.IsSorted(seen) {
		t.Errorf("%d results, sorted: %v", len(seen), slices.IsSorted(seen))
	}
	for i, b := range bar {
		if b != [2]int{i + 1, 500} {
			t.Errorf("call %d of Progress says %v", i+1, b)
		}
	}
	if len(bar) != 500 {
		t.Errorf("%d calls of Progress", len(bar))
	}
}
