package pfkey_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails when the tests leave goroutines or descriptors behind.
func TestMain(m *testing.M) {
	fds := openFiles()
	code := m.Run()
	if code == 0 {
		if left := leftovers(fds); left != "" {
			fmt.Fprintln(os.Stderr, left)
			code = 1
		}
	}
	os.Exit(code)
}

// leftovers says what is still there, "" if nothing.
func leftovers(fds int) string {
	var why string
	for range 100 {
		runtime.GC() // closes what was forgotten by os.File, so that only real leaks remain
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		own := 0
		for g := range strings.SplitSeq(string(stacks), "\n\n") {
			if strings.Contains(g, "/pfkey.") && !strings.Contains(g, "pfkey_test.TestMain") {
				own++
			}
		}
		why = ""
		if own > 0 {
			why = fmt.Sprintf("%d goroutines are left:\n%s", own, stacks)
		} else if n := openFiles(); n > fds {
			why = fmt.Sprintf("%d descriptors are left open", n-fds)
		} else {
			return ""
		}
		time.Sleep(10 * time.Millisecond) // a goroutine that has finished its work may still be about to go
	}
	return why
}

// openFiles counts the descriptors of this process, 0 where that cannot be found out. The runtime's own poller is among
// them from the first use on, so it is used before.
func openFiles() int {
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
