package launch_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/leak"
	"github.com/pfkeyd/pfkeyd/launch"
)

// programVariable makes the test binary one of the programs that the tests run: a Go program on AF_KEY sockets.
const programVariable = "LAUNCH_TEST_PROGRAM"

// TestMain fails when the tests leave goroutines or descriptors behind.
func TestMain(m *testing.M) {
	switch name := os.Getenv(programVariable); {
	case benchPrograms[name] != nil:
		n, _ := strconv.Atoi(os.Getenv(programVariable + "N"))
		os.Exit(benchProgram(name, n))
	case programs[name] != nil:
		os.Exit(programs[name]())
	case name != "":
		fmt.Println("FAIL there is no program", name)
		os.Exit(2)
	}
	skipExample()
	code := leak.Run(m, "/launch.", "/pfkey.")
	cleanBuilt()
	os.Exit(code)
}

// skipExample leaves out the example that starts a program, where that is not possible: examples cannot skip
// themselves.
func skipExample() {
	err := canLaunch()
	if !errors.Is(err, launch.ErrUnsupported) && !errors.Is(err, launch.ErrNested) {
		return
	}
	flag.Parse()
	pattern := "^Example$"
	if given := flag.Lookup("test.skip").Value.String(); given != "" {
		pattern = given + "|" + pattern
	}
	if flag.Set("test.skip", pattern) == nil {
		fmt.Fprintln(os.Stderr, "skipped: Example:", err)
	}
}

// programs are what this binary can be instead, by the value of programVariable.
var programs = map[string]func() int{
	"go":     goProgram,
	"beside": beside, "keeper": keeper, "launcher": launcher, "forever": forever, "waiting": waiting, "idle": idle,
	"orphans": orphans,
	"absent":  absent, "beyond": beyond, "several": several,
	"looks":      looks,
	"senders":    senders,
	"calls":      calls,
	"own kernel": ownKernel, "policies": policies, "unprivileged": unprivileged, "deeper": deeper,
	"busy": func() int { busy(); return 0 },
	"one processor": func() int {
		fmt.Println("FAIL", oneProcessor())
		return 1
	},
}

// goProgram opens and uses sockets from several goroutines, whose threads the runtime interrupts with signals all the
// time.
func goProgram() int {
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for g := range cap(errs) {
		wg.Go(func() {
			for i := range 50 {
				if err := askOnce(uint32(100*g + i + 1)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		fmt.Println("FAIL", err)
		return 1
	default:
		fmt.Println("ok go")
		return 0
	}
}

// askOnce opens a socket, registers for ESP, and looks for the answer without waiting.
func askOnce(seq uint32) error {
	var s int
	for {
		var err error
		s, err = unix.Socket(unix.AF_KEY, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 2)
		if err == nil {
			break
		}
		if err != unix.EINTR { // a trapped call without SA_RESTART; the runtime's signals restart
			return fmt.Errorf("socket: %w", err)
		}
	}
	defer unix.Close(s)
	msg := binary.NativeEndian.AppendUint16([]byte{2, 7, 0, 3}, 2)
	msg = append(msg, 0, 0)
	msg = binary.NativeEndian.AppendUint32(msg, seq)
	msg = binary.NativeEndian.AppendUint32(msg, uint32(os.Getpid()))
	if err := unix.Send(s, msg, 0); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	buf := make([]byte, 65536)
	for {
		n, _, err := unix.Recvfrom(s, buf, unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("recv: %w", err)
		case n < 16:
			return fmt.Errorf("recv: %d bytes", n)
		case string(buf[8:16]) == string(msg[8:16]):
			return nil
		}
	}
}
