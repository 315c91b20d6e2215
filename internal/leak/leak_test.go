package leak_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/leak"
)

// tests are those of a package that leaves something behind.
type tests func() int

func (f tests) Run() int { return f() }

// stay is a goroutine that does not end before the test does.
func stay(t *testing.T) {
	stop, gone := make(chan struct{}), make(chan struct{})
	go linger(stop, gone)
	t.Cleanup(func() {
		close(stop)
		<-gone
	})
}

func linger(stop, gone chan struct{}) {
	defer close(gone)
	<-stop
}

func TestRun(t *testing.T) {
	for _, tt := range []struct {
		name  string
		tests func(t *testing.T) int
		want  int
	}{
		{"nothing left", func(*testing.T) int { return 0 }, 0},
		{"failed", func(t *testing.T) int { stay(t); return 3 }, 3},
		{"goroutine", func(t *testing.T) int { stay(t); return 0 }, 1},
		{"ending goroutine", func(*testing.T) int {
			stop, gone := make(chan struct{}), make(chan struct{})
			go linger(stop, gone)
			close(stop)
			return 0
		}, 0},
		{"descriptor", func(t *testing.T) int {
			if leak.OpenFiles() == 0 {
				t.Skip("descriptors cannot be counted here")
			}
			f, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			return 0
		}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := leak.Run(tests(func() int { return tt.tests(t) }), "/other.",
				"/leak_test.linger"); got != tt.want {
				t.Errorf("Run = %d, want %d", got, tt.want)
			}
		})
	}
}

// failures are what a test was told.
type failures []string

func (*failures) Helper() {}

func (f *failures) Errorf(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

func TestGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	var f failures
	leak.Goroutines(&f, before)
	if len(f) != 0 {
		t.Errorf("nothing is left, and it says %q", f)
	}
	for range 10 { // some of those that ran before may have been about to end
		stay(t)
	}
	leak.Goroutines(&f, before)
	if len(f) != 1 || !strings.Contains(f[0], "leak_test.linger") {
		t.Errorf("a goroutine is left, and it says %q", f)
	}
}
