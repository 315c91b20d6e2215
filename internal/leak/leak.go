// Package leak has tests fail when they leave something behind.
package leak

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// What has finished its work may still be about to go, and the runtime gives no signal when it has: it is looked for
// again.
const (
	tries = 100
	pause = 10 * time.Millisecond
)

// Run runs the tests of a package, for its TestMain, and returns the exit code: 1 if all have passed and have left
// goroutines or descriptors behind. Goroutines are told by what their stacks contain, such as "/pfkey." for functions
// of package pfkey.
func Run(m interface{ Run() int }, stacks ...string) int {
	before := OpenFiles()
	code := m.Run()
	if code != 0 {
		return code
	}
	left := wait(func() string { return leftovers(before, stacks) })
	if left == "" {
		return 0
	}
	fmt.Fprintln(os.Stderr, left)
	return 1
}

// wait asks until there is nothing left, or it has asked often enough.
func wait(ask func() string) (left string) {
	for range tries {
		if left = ask(); left == "" {
			break
		}
		time.Sleep(pause)
	}
	return left
}

// leftovers says what is there, "" if nothing.
func leftovers(before int, stacks []string) string {
	runtime.GC() // closes what was forgotten by os.File, so that only real leaks remain
	all := dump()
	n := 0
	for g := range strings.SplitSeq(all, "\n\n") {
		for _, s := range stacks {
			if strings.Contains(g, s) {
				n++
				break
			}
		}
	}
	if n > 0 {
		return fmt.Sprintf("%d goroutines are left:\n%s", n, all)
	}
	if now := OpenFiles(); now > before {
		return fmt.Sprintf("%d descriptors are left open", now-before)
	}
	return ""
}

func dump() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}

// OpenFiles counts the descriptors of this process, 0 where that cannot be found out.
func OpenFiles() int {
	// The runtime's own poller is among them from the first use on, so it is used before.
	r, w, err := os.Pipe()
	if err == nil {
		r.Close()
		w.Close()
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

// TB is what [Goroutines] needs of a test.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
}

// Goroutines fails the test when more goroutines run than before, a runtime.NumGoroutine from when it began, and go on
// to.
func Goroutines(t TB, before int) {
	t.Helper()
	left := wait(func() string {
		if n := runtime.NumGoroutine(); n > before {
			return fmt.Sprintf("%d goroutines before, %d after", before, n)
		}
		return ""
	})
	if left != "" {
		t.Errorf("%s:\n%s", left, dump())
	}
}
