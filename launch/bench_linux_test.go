package launch_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/launch"
)

// The programs of BenchmarkCalls: each does one thing b.N times and prints how long it took, in nanoseconds: the mean,
// the median, and the longest but one in a hundred.
var benchPrograms = map[string]func() error{
	"getppid":         func() error { unix.Getppid(); return nil },
	"plain socket":    func() error { return openClose(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0) },
	"PF_KEY socket":   func() error { return openClose(unix.AF_KEY, unix.SOCK_RAW, 2) },
	"read of a file":  func() error { _, err := unix.Pread(benchFile(), make([]byte, 100), 0); return err },
	"write to a pipe": benchWrite,
	"the same beside a socket": func() error {
		benchSocket()
		return benchWrite()
	},
	"open of a file": func() error {
		fd, err := unix.Open("/proc/self/stat", unix.O_RDONLY, 0)
		if err == nil {
			err = unix.Close(fd)
		}
		return err
	},
	"request": benchAsk,
}

func benchWrite() error {
	_, err := unix.Write(benchPipe()[1], make([]byte, 100))
	if err == nil {
		_, err = unix.Read(benchPipe()[0], make([]byte, 100))
	}
	return err
}

func openClose(domain, typ, proto int) error {
	s, err := unix.Socket(domain, typ|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return err
	}
	return unix.Close(s)
}

var benchFile = sync.OnceValue(func() int {
	fd, err := unix.Open("/proc/self/exe", unix.O_RDONLY, 0)
	if err != nil {
		panic(err)
	}
	return fd
})

var benchPipe = sync.OnceValue(func() (p [2]int) {
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		panic(err)
	}
	return p
})

var benchSocket = sync.OnceValue(func() int {
	s, err := unix.Socket(unix.AF_KEY, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 2)
	if err != nil {
		panic(err)
	}
	return s
})

// benchAsk sends a message that is answered at once, and reads the answer.
func benchAsk() error {
	msg := [16]byte{2, 255, 0, 3, 2, 0} // illumos knows no such type, and says so
	if err := unix.Send(benchSocket(), msg[:], 0); err != nil {
		return err
	}
	var buf [4096]byte
	_, _, err := unix.Recvfrom(benchSocket(), buf[:], 0)
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

// BenchmarkCalls measures calls of a program from inside of it: as it is run, and without the gate. Starting the
// program is no part of it.
func BenchmarkCalls(b *testing.B) {
	needLaunch(b)
	for _, name := range []string{
		"getppid", "read of a file", "write to a pipe", "the same beside a socket", "open of a file", "plain socket",
		"PF_KEY socket", "request",
	} {
		for how, o := range map[string]launch.Options{"run": {}, "no gate": {NoGate: true}} {
			b.Run(name+"/"+how, func(b *testing.B) {
				n := 0
				for b.Loop() {
					n++
				}
				cmd := helper(name)
				cmd.Env = append(cmd.Env, fmt.Sprintf("%sN=%d", programVariable, max(min(n, 20000), 1000)))
				out, _, err := run(b, connected(b), o, cmd)
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
}
