package main_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/launch"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

func init() { morePrograms["keyclient"] = func() { os.Exit(keyclient()) } }

// keyclient is a program on AF_KEY sockets of a Linux kernel: it does what its arguments say, one after the other.
func keyclient() int {
	ctx := context.Background()
	fail := func(err error) int {
		fmt.Println("FAIL", err)
		return 1
	}
	var c *pfkey.Client
	got := make(chan os.Signal, 1)
	for _, arg := range os.Args[1:] {
		if c == nil && slices.Contains([]string{"flush", "add", "dump"}, arg) {
			var err error
			if c, err = pfkey.Dial(ctx, "af_key:"); err != nil {
				return fail(err)
			}
			defer c.Close()
		}
		switch what, value, _ := strings.Cut(arg, "="); what {
		case "flush":
			if err := c.Flush(ctx, wire.SATypeESP); err != nil {
				return fail(err)
			}
			fmt.Println("flushed")
		case "add":
			if err := c.Add(ctx, keyclientSA(), 0); err != nil {
				return fail(err)
			}
			fmt.Println("added")
		case "dump":
			for sa, err := range c.Dump(ctx, wire.SATypeUnspec) {
				if err != nil {
					return fail(err)
				}
				fmt.Println("sa", sa.SPI)
			}
		case "env":
			fmt.Println(os.Getenv(pfkey.EngineVariable))
		case "line": // waits for one
			if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
				return fail(err)
			}
		case "listen": // for signals
			signal.Notify(got, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGUSR1)
			fmt.Println("ready")
		case "signal": // waits for one
			fmt.Println("got", <-got)
		case "cpu": // says how busy it was
			var u unix.Rusage
			if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
				return fail(err)
			}
			fmt.Printf("cpu %v\n", time.Duration(u.Utime.Nano()+u.Stime.Nano()).Round(time.Millisecond))
		case "kill":
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		case "sockets":
			list, err := os.ReadFile("/proc/net/pfkey")
			if err != nil {
				return fail(err)
			}
			fmt.Println("sockets", bytes.Count(list, []byte("\n"))-1)
		case "pid":
			fmt.Println("pid", os.Getpid())
		case "child": // starts a copy of itself, which does the rest
			cmd := exec.Command("/proc/self/exe", strings.Split(value, ",")...)
			cmd.Args[0] = "keyclient"
			cmd.Stdout = os.Stdout
			if err := cmd.Start(); err != nil {
				return fail(err)
			}
		case "leave": // leaves a copy of itself behind, which does the rest
			args := append([]string{fmt.Sprintf("orphan=%d", os.Getpid())}, strings.Split(value, ",")...)
			cmd := exec.Command("/proc/self/exe", args...)
			cmd.Args[0] = "keyclient"
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			if err := cmd.Start(); err != nil {
				return fail(err)
			}
		case "orphan": // waits until its parent is another one
			for fmt.Sprint(os.Getppid()) == value {
				time.Sleep(time.Millisecond) // there is no event
			}
		case "touch":
			if err := os.WriteFile(value, []byte("done"), 0o600); err != nil {
				return fail(err)
			}
		case "exit42":
			return 42
		}
	}
	return 0
}

var keyclientKey = []byte("sixteen secret b")

func keyclientSA() pfkey.SA {
	return pfkey.SA{
		SAID: pfkey.SAID{
			Type: wire.SATypeESP, SPI: 0x1234,
			Src: wire.Address{Addr: documentation(1), PrefixLen: 32}, Dst: wire.Address{Addr: documentation(2),
				PrefixLen: 32},
		},
		Auth: wire.AuthSHA1HMAC, AuthKey: pfkey.NewKey(append(slices.Clone(keyclientKey), "more"...)),
		Encrypt: wire.EncAESCBC, EncryptKey: pfkey.NewKey(keyclientKey),
	}
}

// needRun skips where programs cannot be run on an emulated Linux, and returns the path of keyclient.
func needRun(t testing.TB) (client string) {
	t.Helper()
	if err := launch.Supported(); err != nil {
		t.Skip(err)
	}
	if !slices.Contains(kernels.Names(), "linux") {
		t.Skip("there is no kernel linux")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	client = filepath.Join(t.TempDir(), "keyclient")
	if err := os.Symlink(self, client); err != nil {
		t.Fatal(err)
	}
	out, err := pfkeyd(t, "run", "--", "true").CombinedOutput()
	if bytes.Contains(out, []byte(launch.ErrNested.Error())) {
		t.Skip(launch.ErrNested)
	} else if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return client
}

// pfkeyd is the command, which this binary is under that name.
func pfkeyd(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = "pfkeyd"
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir(), pfkey.EngineVariable+"=")
	return cmd
}

func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

func TestRun(t *testing.T) {
	client := needRun(t)
	tmp, err := os.MkdirTemp("", "run") // t.TempDir may be too long for the address of a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	t.Setenv("TMPDIR", tmp)
	touched := filepath.Join(tmp, "touched")
	lies, nonsense := filepath.Join(t.TempDir(), "lies"), filepath.Join(t.TempDir(), "nonsense")
	for path, text := range map[string]string{lies: "errno EEXIST ADD times 1\n", nonsense: "\nlie a bit\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		args   []string
		code   int
		output string // a pattern of all of it
	}{
		{name: "flush", args: []string{client, "flush"}, output: "flushed\n"},
		{name: "state", args: []string{client, "add", "dump"}, output: "added\nsa 0x1234\n"},
		{
			name: "sockets", args: []string{client, "sockets", "flush", "sockets"},
			output: "sockets 0\nflushed\nsockets 1\n",
		},
		{name: "exit code", args: []string{client, "exit42"}, code: 42},
		{name: "killed", args: []string{client, "kill"}, code: 128 + 9},
		{name: "address", args: []string{client, "env"}, output: `linux:/.*/linux\.keyclient-[0-9]+\.sock\n`},
		{name: "flags of the program", args: []string{"echo", "--kernel", "x", "--", "y"}, output: "--kernel x -- y\n"},
		{name: "daemon", args: []string{client, "leave=flush,touch=" + touched}, output: ""},
		{name: "illumos", args: []string{"--kernel", "illumos", "--", client, "env"},
			output: `illumos:/.*/illumos\.keyclient-[0-9]+\.sock\n`},
		{name: "hosted", args: []string{"--kernel", "netbsd", "--hosted", client, "add", "dump"},
			output: "added\nsa 0x1234\n"},
		{name: "not hosted", args: []string{"--kernel", "netbsd", client, "add"}, code: 1,
			output: "FAIL pfkey: send ADD: send: invalid argument\n"},
		{name: "no such program", args: []string{"/nonexistent/program"}, code: 127,
			output: "pfkeyd: .*no such file.*\n"},
		{name: "not executable", args: []string{"/etc/passwd"}, code: 126, output: "pfkeyd: .*permission denied\n"},
		{name: "no program", code: 2, output: "pfkeyd: run: which program\\?\n"},
		{name: "the engine refuses", args: []string{"--addr", "x", "--", "true"}, code: 2,
			output: "pfkeyd: --addr \"x\": not an IP address\n"},
		{name: "no engine", args: []string{"--engine", "linux:/nonexistent/s", "--", "true"}, code: 3,
			output: "pfkeyd: .*no engine takes sockets over.*\nStart an engine .*\n"},
		{name: "not an address", args: []string{"--engine", "x", "--", "true"}, code: 2, output: "pfkeyd: .*\n"},
		{name: "of two engines", args: []string{"--engine", "linux:/x", "--addr", "192.0.2.1", "--", "true"}, code: 2,
			output: "pfkeyd: --addr: .*serve.*\n"},
		{name: "keys without a trace", args: []string{"--show-keys", "--", "true"}, code: 2,
			output: "pfkeyd: .*--trace\n"},
		{name: "hostile", args: []string{"--hostile", lies, client, "add"}, code: 1,
			output: "FAIL pfkey: ADD esp .*: EEXIST, file exists\n"},
		{name: "nonsense", args: []string{"--hostile", nonsense, "true"}, code: 2,
			output: "pfkeyd: --hostile .*: line 2: unknown fault \"lie\"\n"},
		{name: "no script", args: []string{"--hostile", "/nonexistent", "true"}, code: 2,
			output: "pfkeyd: --hostile: .*no such file.*\n"},
		{name: "nested", args: []string{"/proc/self/exe"}, output: ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"run"}, tt.args...)
			if tt.name == "nested" {
				inner := filepath.Join(t.TempDir(), "pfkeyd")
				self, _ := os.Executable()
				if err := os.Symlink(self, inner); err != nil {
					t.Fatal(err)
				}
				args = []string{"run", inner, "run", "true"}
				tt.code, tt.output = 1, "pfkeyd: .*another seccomp supervisor.*its engine linux:.*without run\\)\n"
			}
			out, err := pfkeyd(t, args...).CombinedOutput()
			if code := exitCode(err); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if !regexp.MustCompile("^" + tt.output + "$").Match(out) {
				t.Errorf("output %q, want %q", out, tt.output)
			}
		})
	}
	if _, err := os.Stat(touched); err != nil {
		t.Errorf("run has not waited for the daemon: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "pfkeyd-run-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// started runs a program and returns when it has said a line that matches.
type started struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // closed at the end of its output
}

func startRun(t *testing.T, args ...string) *started {
	t.Helper()
	s := &started{cmd: pfkeyd(t, args...), lines: make(chan string, 100)}
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout, s.cmd.Stderr = w, w
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() { s.cmd.Process.Kill(); s.cmd.Wait() })
	go func() {
		defer close(s.lines)
		defer r.Close()
		for lines := bufio.NewScanner(r); lines.Scan(); {
			s.lines <- lines.Text()
		}
	}()
	return s
}

// expect waits for lines that match, in this order.
func (s *started) expect(t *testing.T, patterns ...string) (last string) {
	t.Helper()
	for _, p := range patterns {
		for {
			line, ok := <-s.lines
			if !ok {
				t.Fatalf("the program ended before it said %q", p)
			}
			if regexp.MustCompile(p).MatchString(line) {
				last = line
				break
			}
			t.Logf("also: %s", line)
		}
	}
	return last
}

// Signals are for the program, and for the daemons it leaves.
func TestRunSignals(t *testing.T) {
	client := needRun(t)
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1} {
		if signal.Ignored(sig) { // as under nohup; every program started here would ignore it as well
			continue
		}
		s := startRun(t, "run", client, "listen", "signal", "flush")
		s.expect(t, "ready")
		if err := s.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		s.expect(t, "got "+sig.String(), "flushed")
		if err := s.cmd.Wait(); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
	}
	dir := t.TempDir()
	listening, heard := filepath.Join(dir, "listening"), filepath.Join(dir, "heard")
	s := startRun(t, "run", client, "leave=listen,touch="+listening+",signal,touch="+heard, "exit42")
	for {
		if _, err := os.Stat(listening); err == nil {
			break
		}
		time.Sleep(time.Millisecond) // the daemon's output goes nowhere
	}
	if err := s.cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(s.cmd.Wait()); code != 42 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(heard); err != nil {
		t.Errorf("the daemon has not heard of the signal: %v", err)
	}
}

// What tells programs to end reaches all of them: those that have a parent, and those that will have lost it later.
func TestRunEnds(t *testing.T) {
	client := needRun(t)
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGQUIT} {
		if signal.Ignored(sig) {
			continue
		}
		// The parent waits on, whatever it hears.
		s := startRun(t, "run", client, "child=listen,signal", "listen", "signal", "line")
		s.expect(t, "ready", "ready")
		if err := s.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		s.expect(t, "got "+sig.String(), "got "+sig.String())
		s.in.Close()
		_ = s.cmd.Wait()
	}
	// The first one leaves another behind when it is told, which has not been told itself.
	s := startRun(t, "run", client, "listen", "signal", "leave=signal", "exit42")
	s.expect(t, "ready")
	if err := s.cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(s.cmd.Wait()); code != 42 {
		t.Errorf("exit code %d", code)
	}
}

// SIGKILL of run leaves nothing behind, and the other clients of a shared engine go on.
func TestRunKilled(t *testing.T) {
	client := needRun(t)
	tmp, err := os.MkdirTemp("", "run")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	t.Setenv("TMPDIR", tmp)
	path := filepath.Join(tmp, "s")
	startRun(t, "serve", "--kernel", "linux", "--socket", path).expect(t, "ready")
	other := startRun(t, "run", "--engine", "linux:"+path, "--", client, "flush", "line", "add", "dump", "line")
	other.expect(t, "flushed")
	for _, args := range [][]string{{"run"}, {"run", "--engine", "linux:" + path}} {
		s := startRun(t, append(args, "--", client, "env", "flush", "pid", "child=pid,flush,listen,signal", "line")...)
		var pids []int
		_, own, _ := strings.Cut(s.expect(t, "^linux:/"), ":")
		for range 2 {
			var pid int
			if _, err := fmt.Sscanf(s.expect(t, "^pid"), "pid %d", &pid); err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
		s.expect(t, "flushed")
		if own != path {
			pids = append(pids, engineOf(t, own))
		}
		if slices.Contains(pids, 0) {
			t.Fatalf("processes %v", pids)
		}
		if err := s.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = s.cmd.Wait()
		for left := true; left; time.Sleep(time.Millisecond) { // there is no event
			dirs, _ := filepath.Glob(filepath.Join(tmp, "pfkeyd-run-*"))
			files, _ := filepath.Glob(own + "*")
			left = len(dirs) > 0 || own != path && len(files) > 0 || slices.ContainsFunc(pids, func(pid int) bool {
				b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
				return err == nil && !bytes.Contains(b, []byte(") Z "))
			})
		}
	}
	if _, err := io.WriteString(other.in, "\n"); err != nil {
		t.Fatal(err)
	}
	other.expect(t, "added", "sa 0x1234")
	other.in.Close()
	_ = other.cmd.Wait()
}

// engineOf finds the process of the engine whose socket is at path.
func engineOf(t *testing.T, path string) (pid int) {
	t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		b, _ := os.ReadFile(f)
		if args := bytes.Split(b, []byte{0}); len(args) > 2 && string(args[1]) == "serve" &&
			bytes.Contains(b, []byte("--socket="+path)) {
			fmt.Sscanf(f, "/proc/%d/", &pid)
		}
	}
	return pid
}

// SIGKILL of the engine: its client does nothing meanwhile, and a successor answers.
func TestRunEngineKilled(t *testing.T) {
	client := needRun(t)
	dir, err := os.MkdirTemp("", "run")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	s := startRun(t, "run", "--socket", path, "--", client, "flush", "add", "line", "flush", "dump", "cpu", "line",
		"flush", "cpu")
	s.expect(t, "flushed", "added")
	for range 2 {
		pid := engineOf(t, path)
		if pid == 0 {
			t.Fatal("there is no engine")
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(s.in, "\n"); err != nil {
			t.Fatal(err)
		}
		// The SA is gone, which nobody hides. What is printed by run and by the program has no order.
		var cpu time.Duration
		for said := map[string]bool{}; len(said) < 3; {
			line := s.expect(t, "a new engine has taken the sockets over|flushed|^cpu|FAIL|^sa")
			word, value, _ := strings.Cut(line, " ")
			said[word] = true
			switch word {
			case "cpu":
				cpu, _ = time.ParseDuration(value)
			case "FAIL", "sa":
				t.Fatal(line)
			}
		}
		if cpu > time.Second {
			t.Errorf("the program was busy for %v", cpu)
		}
	}
	if err := s.cmd.Wait(); err != nil {
		t.Error(err)
	}
	if pid := engineOf(t, path); pid != 0 {
		t.Errorf("an engine is left: %d", pid)
	}
}

// Several programs share a running engine, and see what the others do; also with the next engine at that address.
func TestRunShared(t *testing.T) {
	client := needRun(t)
	dir, err := os.MkdirTemp("", "run")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	address := "linux:" + path
	serve := startRun(t, "serve", "--kernel", "linux", "--socket", path)
	serve.expect(t, "ready")
	long := startRun(t, "run", "--engine", address, "--", client, "flush", "line", "dump", "line", "flush")
	long.expect(t, "flushed")
	if out, err := pfkeyd(t, "run", "--engine", address, client, "add").CombinedOutput(); err != nil ||
		string(out) != "added\n" {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := io.WriteString(long.in, "\n"); err != nil {
		t.Fatal(err)
	}
	long.expect(t, "sa 0x1234")
	out, err := pfkeyd(t, "status", "--engine", address).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("0x1234")) {
		t.Errorf("%v: %s", err, out)
	}

	_ = serve.cmd.Process.Signal(unix.SIGTERM)
	if err := serve.cmd.Wait(); err != nil {
		t.Error(err)
	}
	long.expect(t, "the engine is gone; sockets that wait for a new one: 1")
	startRun(t, "serve", "--kernel", "linux", "--socket", path).expect(t, "ready")
	long.expect(t, "a new engine has taken the sockets over")
	if _, err := io.WriteString(long.in, "\n"); err != nil {
		t.Fatal(err)
	}
	long.expect(t, "flushed")
	if err := long.cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestRunTrace(t *testing.T) {
	client := needRun(t)
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		args []string
		keys bool
	}{{"t.txt", nil, false}, {"keys.txt", []string{"--show-keys"}, true}, {"t.pcapng", nil, false},
		{"keys.pcapng", []string{"--show-keys"}, true}} {
		path := filepath.Join(dir, tt.name)
		args := append(append([]string{"run", "--trace", path}, tt.args...), "--", client, "add")
		if out, err := pfkeyd(t, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		st, _ := os.Stat(path)
		if st.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v", tt.name, st.Mode())
		}
		if strings.HasSuffix(tt.name, "txt") {
			hex := []byte("73 69 78 74 65 65 6e 20")
			if bytes.Contains(b, hex) != tt.keys {
				t.Errorf("%s: keys %v\n%s", tt.name, !tt.keys, b)
			}
			if n := bytes.Count(b, []byte("> ADD esp")); n != 1 || !bytes.Contains(b, []byte("< ADD esp")) {
				t.Errorf("%s: %d requests:\n%s", tt.name, n, b)
			}
			continue
		}
		if bytes.Contains(b, keyclientKey[:8]) != tt.keys {
			t.Errorf("%s: keys %v", tt.name, !tt.keys)
		}
		r, err := pcapgo.NewNgReader(bytes.NewReader(b), pcapgo.DefaultNgReaderOptions)
		if err != nil {
			t.Fatal(err)
		}
		var types []wire.MsgType
		for {
			data, _, err := r.ReadPacketData()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := wire.Linux().Validate(data); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			h, _ := wire.Linux().Header(data)
			types = append(types, h.Type)
		}
		if !slices.Equal(types, []wire.MsgType{wire.MsgAdd, wire.MsgAdd}) || r.LinkType() != 147 {
			t.Errorf("%s: messages %v, link type %v", tt.name, types, r.LinkType())
		}
	}
	if out, err := pfkeyd(t, "run", "--trace", dir, "true").CombinedOutput(); exitCode(err) != 1 {
		t.Errorf("a directory as trace: %v: %s", err, out)
	}
}

func documentation(n byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, n}) }
