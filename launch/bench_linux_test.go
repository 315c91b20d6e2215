package launch_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/launch"
)

// The programs of BenchmarkCalls: each does one thing b.N times under the filter and prints how long it took, in nanoseconds:
// the mean, and the longest but one in a hundred.
var benchPrograms = map[string]func() error{
	"plain socket":   func() error { return openClose(unix.AF_UNIX, 0) },
	"trapped socket": func() error { return openClose(unix.AF_KEY, 2) },
	"getppid":        func() error { unix.Getppid(); return nil },
	"answered peek":  func() error { return benchAsk(false) },
	"gated peek":     func() error { return benchAsk(true) },
}

func openClose(domain, proto int) error {
	typ := unix.SOCK_RAW
	if domain == unix.AF_UNIX {
		typ = unix.SOCK_SEQPACKET
	}
	s, err := unix.Socket(domain, typ|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return err
	}
	return unix.Close(s)
}

var benchSocket = -1

// benchAsk sends a message that is answered at once, and reads the answer. gated looks for it in a way that is stopped.
func benchAsk(gated bool) (err error) {
	if benchSocket < 0 {
		if benchSocket, err = unix.Socket(unix.AF_KEY, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 2); err != nil {
			return err
		}
	}
	msg := [16]byte{2, 255, 0, 3, 2, 0} // no kernel knows the type
	if err := unix.Send(benchSocket, msg[:], 0); err != nil {
		return err
	}
	var buf [4096]byte
	flags := unix.MSG_PEEK
	if gated {
		if _, _, err := unix.Recvfrom(benchSocket, buf[:16], flags); err != nil {
			return err
		}
	} else if _, _, err := unix.Recvfrom(benchSocket, buf[:17], flags); err != nil { // one more byte than is looked for
		return err
	}
	_, _, err = unix.Recvfrom(benchSocket, buf[:], 0)
	return err
}

func benchProgram(name string, n int) int {
	took := make([]time.Duration, n)
	for i := range took {
		begin := time.Now()
		if err := benchPrograms[name](); err != nil {
			fmt.Println("FAIL", err)
			return 1
		}
		took[i] = time.Since(begin)
	}
	var sum time.Duration
	for _, d := range took {
		sum += d
	}
	slices.Sort(took)
	fmt.Println(int(sum)/n, int(took[n/2]), int(took[n*99/100]))
	return 0
}

// BenchmarkCalls measures calls of a program under the filter, from inside of it. Its own time a call includes starting the
// program.
func BenchmarkCalls(b *testing.B) {
	needLaunch(b)
	for _, name := range []string{"getppid", "plain socket", "trapped socket", "answered peek", "gated peek"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
			}
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), programVariable+"="+name, fmt.Sprintf("%sN=%d", programVariable, max(min(n, 20000), 1000)))
			out, _, err := run(b, connected(b), launch.Options{}, cmd)
			var mean, median, slow int
			if _, e := fmt.Sscan(out, &mean, &median, &slow); err != nil || e != nil {
				b.Fatalf("%v: %s", err, out)
			}
			b.ReportMetric(float64(mean), "ns/call")
			b.ReportMetric(float64(median), "ns-median")
			b.ReportMetric(float64(slow), "ns-99%")
			b.ReportMetric(0, "ns/op") // the loop only says how often
		})
	}
}
