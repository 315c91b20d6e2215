package pfkeytest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/launch"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A logged test keeps its log.
type logged struct {
	recorder
	mu  sync.Mutex
	log bytes.Buffer
}

func (l *logged) Output() io.Writer { return l }

func (l *logged) Skipf(format string, args ...any) { l.TB.Skipf(format, args...) }

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(b)
}

func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.String()
}

// alive says whether a process is there that is not a zombie.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

// needStart skips the test where no program can be started.
func needStart(t *testing.T) {
	t.Helper()
	pfkeytest.New(t).Start(t, exec.Command("/bin/true"))
}

// A program that knows nothing of this package has its sockets from the host: a key manager from ACQUIRE to renewal.
func TestStart(t *testing.T) {
	policies := map[string]string{
		"illumos": "{raddr 192.0.2.2 dir out} ipsec {encr_algs aes encr_auth_algs sha1}",
		"linux":   "spdadd 0.0.0.0/0 192.0.2.2 any -P out ipsec esp/transport//require;",
		"netbsd":  "spdadd 0.0.0.0/0 192.0.2.2 any -P out ipsec esp/transport//require;",
		"freebsd": "spdadd 0.0.0.0/0 192.0.2.2 any -P out ipsec esp/transport//require;",
	}
	for _, name := range kernel.Names() {
		if name == "openbsd" { // its numbers are others than those that the program has from Linux
			continue
		}
		t.Run(name, func(t *testing.T) {
			host := pfkeytest.New(t, pfkeytest.Kernel(name), pfkeytest.Policy(policies[name]))
			program := host.Start(t, command("manage"))
			if r := host.ExpectRequest(wire.MsgRegister); int(r.Cred.PID) != program.PID() {
				t.Errorf("process %d has registered, and %d was started", r.Cred.PID, program.PID())
			}
			pkt := host.InjectOutbound(pfkeytest.UDP("192.0.2.1:9", "192.0.2.2:9", "hello"))
			host.ExpectRequest(wire.MsgAdd)
			if name == "illumos" { // Linux drops the first packet
				pkt.Expect(packet.Held, packet.Transmitted)
			}
			// NetBSD lets an SA that was never used go at its soft limit, without a word.
			host.InjectOutbound(pfkeytest.UDP("192.0.2.1:9", "192.0.2.2:9", "used")).Expect(packet.Transmitted)
			want := 4
			if name == "netbsd" {
				want = 3
			}
			host.Advance(softly)
			host.ExpectRequest(wire.MsgGetSPI)
			host.ExpectRequest(wire.MsgAdd)
			if n := len(host.SAs()); n != want {
				t.Errorf("%d SAs, want %d of two pairs", n, want)
			}
			if err := program.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			var exit *exec.ExitError
			if err := program.Wait(t.Context()); !errors.As(err, &exit) || exit.ExitCode() != 7 {
				t.Errorf("it ends with %v", err)
			}
			if err := program.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
				t.Errorf("a signal to one that has ended: %v", err)
			}
		})
	}
}

// On a BSD the sockets of a program are hosted: it has Linux' socket addresses and errno numbers, as it was compiled
// here, and the kernel has its own.
func TestStartHosted(t *testing.T) {
	for _, name := range []string{"freebsd", "netbsd"} {
		host := pfkeytest.New(t, pfkeytest.Kernel(name))
		program := host.Start(t, command("sixth"))
		if err := program.Wait(t.Context()); err != nil {
			t.Errorf("%s: it ends with %v", name, err)
		}
		d, _ := wire.ByName(name)
		var heard bool
		for _, r := range host.Requests() {
			if x, ok := d.Find(r.Message(), wire.ExtAddressDst); ok {
				dst, err := d.ParseAddress(x.Raw)
				heard = err == nil && dst.Addr == overIPv6[1].Addr
			}
		}
		if !heard {
			t.Errorf("%s: the kernel has heard of no such address: %v", name, host.Requests())
		}
	}
}

// The end of the test ends the program. What it wrote is in the test's log.
func TestStartEnds(t *testing.T) {
	needStart(t)
	var pid int
	l := &logged{recorder: recorder{TB: t}}
	t.Run("test", func(sub *testing.T) {
		host := pfkeytest.New(sub)
		l.TB = sub
		program := host.Start(l, command("manage"))
		pid = program.PID()
		host.ExpectRequest(wire.MsgRegister)
		ctx, cancel := context.WithCancel(sub.Context())
		cancel()
		err := program.Wait(ctx)
		if !errors.Is(err, context.Canceled) || !strings.HasSuffix(err.Error(), " still runs: context canceled") {
			t.Errorf("it runs, and Wait says %v", err)
		}
	})
	if pid == 0 || alive(pid) {
		t.Errorf("process %d still runs", pid)
	}
	if want := filepath.Base(os.Args[0]) + ": done\n"; l.text() != want {
		t.Errorf("the log is %q, want %q", l.text(), want)
	}
	if len(l.failures) != 0 {
		t.Errorf("failures %q", l.failures)
	}
}

// So does Close of the host; Stop tells the exit status, and may be called again.
func TestStop(t *testing.T) {
	host := pfkeytest.New(t)
	stopped, left := host.Start(t, command("manage")), host.Start(t, command("manage"))
	host.ExpectRequest(wire.MsgRegister)
	host.ExpectRequest(wire.MsgRegister)
	for range 2 {
		var exit *exec.ExitError
		if err := stopped.Stop(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
			t.Errorf("it ends with %v", err)
		}
	}
	if !alive(left.PID()) {
		t.Error("the other one is gone, too")
	}
	host.Close()
	if alive(left.PID()) {
		t.Error("a program outlives its host")
	}
}

// Who has ended has ended, also for a caller whose time is over, as that of every test is in its Cleanup.
func TestStopInCleanup(t *testing.T) {
	needStart(t)
	t.Run("test", func(t *testing.T) {
		host := pfkeytest.New(t)
		program := host.Start(t, exec.Command("/bin/sh", "-c", "exit 7"))
		t.Cleanup(func() {
			for range 20 { // a choice by chance would be wrong in some of them
				var exit *exec.ExitError
				if err := program.Wait(t.Context()); t.Context().Err() == nil || !errors.As(err, &exit) {
					t.Fatalf("Wait says %v", err)
				}
				if err := program.Stop(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
					t.Fatalf("it ends with %v", err)
				}
			}
		})
		if err := program.Wait(t.Context()); err == nil {
			t.Error("it ends well")
		}
	})
}

// Who has started others ends them itself, in its own way: a daemon whose children go before it takes that for a
// failure.
func TestStopAsksTheFirstProcess(t *testing.T) {
	host := pfkeytest.New(t)
	for range 5 {
		program := host.Start(t, command("parent"))
		host.ExpectRequest(wire.MsgRegister)
		if err := program.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// A daemon that has left its session and its parent, and ignores SIGTERM, does not outlive the test either.
func TestStartDaemon(t *testing.T) {
	needStart(t)
	var pid int
	t.Run("test", func(t *testing.T) {
		host := pfkeytest.New(t)
		program := host.Start(t, command("daemon"))
		pid = int(host.ExpectRequest(wire.MsgRegister).Cred.PID)
		if err := program.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if pid == program.PID() || !alive(pid) {
			t.Errorf("process %d is no daemon", pid)
		}
	})
	if alive(pid) {
		t.Errorf("the daemon %d still runs", pid)
	}
}

// A wait in vain says that the program is gone, and why.
func TestStartedProgramDies(t *testing.T) {
	host := pfkeytest.New(t, pfkeytest.Patience(time.Millisecond))
	program := host.Start(t, exec.Command("/bin/sh", "-c", "echo no configuration >&2; exit 3"))
	var exit *exec.ExitError
	if err := program.Wait(t.Context()); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("it ends with %v", err)
	}
	_, err := host.WaitRequest(t.Context(), wire.MsgRegister)
	want := "pfkeytest: no REGISTER in 1ms: context deadline exceeded; nothing came\n\tsh has ended: exit status 3"
	if fmt.Sprint(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// The program's own streams and environment stay as the caller has set them, but for the engine's address.
func TestStartCommand(t *testing.T) {
	host := pfkeytest.New(t)
	var out bytes.Buffer
	cmd := exec.Command("/bin/sh", "-c", "echo $WORD $PFKEY_ENGINE; cat")
	cmd.Env, cmd.Stdin, cmd.Stdout = []string{"WORD=hello"}, strings.NewReader("in\n"), &out
	if err := host.Start(t, cmd).Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if want := "hello " + host.Serve() + "\nin\n"; out.String() != want {
		t.Errorf("it says %q, want %q", &out, want)
	}
}

// A reader that has no end keeps nobody waiting once the program is gone.
func TestStartEndlessInput(t *testing.T) {
	host := pfkeytest.New(t)
	input, never := io.Pipe()
	defer never.Close()
	var out bytes.Buffer
	cmd := exec.Command("/bin/sh", "-c", "read line; echo $line")
	cmd.Stdin, cmd.Stdout = input, &out
	program := host.Start(t, cmd)
	if _, err := never.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := program.Wait(ctx); err != nil || out.String() != "hello\n" {
		t.Errorf("it says %q: %v", &out, err)
	}
}

// A program knows the directory that it is started in, and others who share its environment do not hear of this one.
func TestStartEnvironment(t *testing.T) {
	host := pfkeytest.New(t)
	shared := append(make([]string, 0, 8), "WORD=hello")
	var out bytes.Buffer
	cmd := exec.Command("printenv", "PWD")
	cmd.Dir, cmd.Stdout = "/usr", &out
	if err := host.Start(t, cmd).Wait(t.Context()); err != nil || out.String() != "/usr\n" {
		t.Errorf("it is started in /usr, and hears of %q: %v", &out, err)
	}
	cmd = exec.Command("/bin/true")
	cmd.Env = shared
	if err := host.Start(t, cmd).Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if rest := shared[1:cap(shared)]; slices.ContainsFunc(rest, func(s string) bool { return s != "" }) {
		t.Errorf("the array of others has %q", rest)
	}
}

// What is written comes line by line, also the last one, which may have no end, and one that is too long for the log.
func TestStartOutput(t *testing.T) {
	needStart(t)
	l := &logged{recorder: recorder{TB: t}}
	host := pfkeytest.New(t)
	script := "printf 'a\nb'; head -c 100000 /dev/zero | tr '\\0' c; printf '\nend'"
	program := host.Start(l, exec.Command("/bin/sh", "-c", script))
	if err := program.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if err := program.Stop(); err != nil {
		t.Error(err)
	}
	lines := strings.Split(l.text(), "\n")
	if first, last := lines[0], lines[len(lines)-2:]; first != "sh: a" || !slices.Equal(last, []string{"sh: end", ""}) {
		t.Errorf("the log begins with %q and ends with %q", first, last)
	}
	var long string
	for _, line := range lines[1 : len(lines)-2] {
		part, ok := strings.CutPrefix(line, "sh: ")
		if !ok || len(part) > 99_999 {
			t.Errorf("a line of %d bytes", len(line))
		}
		long += part
	}
	if long != "b"+strings.Repeat("c", 100_000) {
		t.Errorf("of the long line there are %d bytes", len(long))
	}
}

// Options are those of pfkeyd run.
func TestProgramOptions(t *testing.T) {
	host := pfkeytest.New(t)
	script := "setpriv --reuid 4321 --regid 4321 --clear-groups id -u"
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Skip(err)
	}
	if unix.Geteuid() != 0 {
		t.Skip("an ordinary user cannot see the difference")
	}
	for want, options := range map[string][]pfkeytest.ProgramOption{
		"4321\n": nil,
		"0\n":    {pfkeytest.FakeIDs(), pfkeytest.UDPEncap()},
	} {
		var out bytes.Buffer
		cmd := exec.Command("/bin/sh", "-c", script)
		cmd.Stdout = &out
		if err := host.Start(t, cmd, options...).Wait(t.Context()); err != nil || out.String() != want {
			t.Errorf("user %q, want %q (%v)", &out, want, err)
		}
	}
}

// What cannot be started fails the test with the reason.
func TestStartFails(t *testing.T) {
	needStart(t)
	r := &recorder{TB: t}
	host := pfkeytest.New(r)
	for _, cmd := range []*exec.Cmd{exec.Command("no-such-program"), exec.Command("/etc/passwd")} {
		host.Start(r, cmd)
	}
	want := []string{
		`no-such-program cannot be started: launch: exec: "no-such-program": executable file not found in $PATH`,
		"passwd cannot be started: launch: fork/exec /etc/passwd: permission denied",
	}
	if diff := cmp.Diff(want, r.failures); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Inside of another supervisor the test is skipped, with the reason.
func TestStartNested(t *testing.T) {
	var out bytes.Buffer
	cmd := exec.Command(os.Args[0], "-test.run=^TestStop$", "-test.v")
	cmd.Stdout = &out
	if err := pfkeytest.New(t).Start(t, cmd).Wait(t.Context()); err != nil {
		t.Error(err)
	}
	why := "cannot be started: launch: " + launch.ErrNested.Error()
	if !strings.Contains(out.String(), "--- SKIP: TestStop ") || !strings.Contains(out.String(), why) {
		t.Errorf("the test inside says:\n%s", &out)
	}
}
