package launch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/internal/leak"
	"github.com/pfkeyd/pfkeyd/launch"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// An office is an engine with its server and desk.
type office struct {
	engine *engine.Engine
	server *pfkey.Server
	desk   *launch.Desk
}

func openOffice(t testing.TB) *office { return openKernel(t, "illumos") }

func openKernel(t testing.TB, name string) *office {
	t.Helper()
	e, err := kernels.New(name, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := &office{engine: e, server: pfkey.NewServer(e, pfkey.ServerOptions{})}
	o.desk = launch.NewDesk(o.server, launch.DeskOptions{Address: "illumos:/nowhere"})
	t.Cleanup(o.close)
	return o
}

// close is what the death of an engine looks like from outside: its sessions and all its descriptors are gone.
func (o *office) close() {
	o.desk.Close()
	o.server.Close()
	o.engine.Close()
}

// session opens a session with the office.
func (o *office) session(t testing.TB) *launch.Session {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "session")
	go o.desk.ServeConn(fileConn(t, theirs))
	s, err := launch.NewSession(os.NewFile(uintptr(pair[0]), "session"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Address() != "illumos:/nowhere" {
		t.Errorf("address %q", s.Address())
	}
	return s
}

// newBoard makes a switchboard without an engine.
func newBoard(t testing.TB) *launch.Switchboard { return newBoardOf(t, launch.SwitchboardOptions{}) }

func newBoardOf(t testing.TB, o launch.SwitchboardOptions) *launch.Switchboard {
	t.Helper()
	b, err := launch.NewSwitchboard(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// connected is a switchboard with an engine.
func connected(t testing.TB) *launch.Switchboard {
	t.Helper()
	b := newBoard(t)
	if err := b.Use(openOffice(t).session(t)); err != nil {
		t.Fatal(err)
	}
	return b
}

// needLaunch skips where programs cannot be launched.
func needLaunch(t testing.TB) {
	t.Helper()
	switch err := canLaunch(); {
	case errors.Is(err, launch.ErrUnsupported), errors.Is(err, launch.ErrNested):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
}

// canLaunch tries: a supervisor around this process is only seen when something is started.
var canLaunch = sync.OnceValue(func() error {
	p, err := launch.Start(exec.Command("/proc/self/exe", "-test.run=^$"), launch.Options{})
	if err != nil {
		return err
	}
	_ = p.Cmd.Wait()
	return p.Supervise(context.Background(), nobody{})
})

type nobody struct{}

func (nobody) Socket(pfkey.Cred) (*os.File, error) { return nil, unix.EACCES }
func (nobody) Sockets() int                        { return 0 }
func (nobody) Find(launch.FileID) launch.Socket    { return nil }
func (nobody) List(*os.File) error                 { return unix.ENOENT }

// run runs a program to its end, and waits for all that it leaves behind.
func run(t testing.TB, h launch.Handler, o launch.Options, cmd *exec.Cmd) (output string, p *launch.Program,
	err error) {
	t.Helper()
	var out bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout, cmd.Stderr = &out, &out
	}
	p, err = launch.Start(cmd, o)
	if err != nil {
		t.Fatal(err)
	}
	supervised := make(chan error, 1)
	go func() { supervised <- p.Supervise(context.Background(), h) }()
	err = cmd.Wait()
	if e := <-supervised; e != nil {
		t.Errorf("supervise: %v", e)
	}
	return out.String(), p, err
}

// built holds the C programs, by linkage.
var built struct {
	sync.Mutex
	dir   string
	paths map[string]string
}

// client is the C program, linked with its library dynamically or statically.
func client(t testing.TB, link string) string {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("there is no C compiler: ", err)
	}
	built.Lock()
	defer built.Unlock()
	if built.paths == nil {
		built.paths = map[string]string{}
		if built.dir, err = os.MkdirTemp("", "launch"); err != nil {
			t.Fatal(err)
		}
	}
	if path := built.paths[link]; path != "" {
		return path
	}
	path := filepath.Join(built.dir, "client-"+link)
	out, err := exec.Command(cc, "-O1", "-pthread", "-"+link, "-o", path, "testdata/client.c").CombinedOutput()
	if err != nil {
		t.Skipf("cc -%s: %v: %s", link, err, out)
	}
	built.paths[link] = path
	return path
}

// cleanBuilt removes what client has built.
func cleanBuilt() {
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
}

// links are the ways in which the C program is linked.
var links = []string{"dynamic", "static"}

func TestCPrograms(t *testing.T) {
	needLaunch(t)
	for _, link := range links {
		flag := link
		if link == "dynamic" {
			flag = "rdynamic" // any flag that leaves it dynamic
		}
		for _, tt := range []struct {
			args    []string
			options launch.Options
			root    bool
			sockets uint64
		}{
			{args: []string{"ask"}, sockets: 1},
			{args: []string{"look"}, sockets: 1},
			{args: []string{"threads"}, sockets: 8},
			{args: []string{"forks", "4"}, sockets: 1},
			{args: []string{"pass"}, sockets: 1},
			{args: []string{"flags"}, sockets: 2},
			{args: []string{"zero"}, sockets: 1},
			{args: []string{"emfile"}},
			{args: []string{"empty"}, sockets: 1},
			{args: []string{"policy"}},
			{args: []string{"hidden"}, sockets: 1},
			{args: []string{"encap"}, options: launch.Options{UDPEncap: true}},
			{args: []string{"identity"}, options: launch.Options{Identity: true}},
			{args: []string{"chroot", "/proc/self/fdinfo"}, root: true, sockets: 1},
		} {
			t.Run(link+"/"+tt.args[0], func(t *testing.T) {
				if tt.root && os.Geteuid() != 0 {
					t.Skip("chroot needs root")
				}
				out, p, err := run(t, connected(t), tt.options, exec.Command(client(t, flag), tt.args...))
				if err != nil || !strings.Contains(out, "ok "+tt.args[0]) || strings.Contains(out, "FAIL") {
					t.Errorf("%v: %s", err, out)
				}
				if n := p.Counters().Sockets; tt.sockets != 0 && n != tt.sockets {
					t.Errorf("%d sockets, want %d", n, tt.sockets)
				}
			})
		}
	}
}

// Without the option the calls do what the kernel makes of them, so the options above are not for nothing.
func TestOptionsMatter(t *testing.T) {
	needLaunch(t)
	for _, what := range []string{"encap", "identity"} {
		if what == "identity" && os.Geteuid() == 0 {
			continue // root may
		}
		if out, _, err := run(t, connected(t), launch.Options{}, exec.Command(client(t, "rdynamic"),
			what)); err == nil {
			t.Errorf("%s without the option: %s", what, out)
		}
	}
}

func TestGoProgram(t *testing.T) {
	needLaunch(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), programVariable+"=go")
	out, p, err := run(t, connected(t), launch.Options{}, cmd)
	if err != nil || out != "ok go\n" {
		t.Errorf("%v: %s", err, out)
	}
	if n := p.Counters().Sockets; n < 400 {
		t.Errorf("%d sockets, want 400 at least", n)
	}
}

func TestPythonProgram(t *testing.T) {
	needLaunch(t)
	if err := exec.Command("python3", "-c", "").Run(); err != nil {
		t.Skip("there is no python3: ", err)
	}
	out, _, err := run(t, connected(t), launch.Options{}, exec.Command("python3", "testdata/client.py"))
	if err != nil || out != "ok python\n" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestStrace(t *testing.T) {
	needLaunch(t)
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("there is no strace: ", err)
	}
	path := client(t, "rdynamic")
	if out, err := exec.Command("strace", "-o", "/dev/null", "true").CombinedOutput(); err != nil {
		t.Skipf("strace does not work here: %v: %s", err, out)
	}
	log := filepath.Join(t.TempDir(), "log")
	out, _, err := run(t, connected(t), launch.Options{}, exec.Command("strace", "-f", "-o", log, path, "threads"))
	if err != nil || !strings.Contains(out, "ok threads") {
		t.Errorf("%v: %s", err, out)
	}
	if text, _ := os.ReadFile(log); !bytes.Contains(text, []byte("socket(AF_KEY, SOCK_RAW, ")) {
		t.Error("strace has not seen the socket")
	}
}

// A daemon whose parents are gone is served, and waited for.
func TestDaemon(t *testing.T) {
	needLaunch(t)
	file := filepath.Join(t.TempDir(), "done")
	cmd := exec.Command(client(t, "rdynamic"), "daemon", file)
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cmd.Stdout = null // not a pipe, whose end would be waited for
	_, p, err := run(t, connected(t), launch.Options{}, cmd)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "y" {
		t.Errorf("the daemon did not get through: %q, %v", b, err)
	}
	if n := p.Counters().Sockets; n != 1 {
		t.Errorf("%d sockets", n)
	}
}

// Who is killed inside of socket() leaves nothing behind.
func TestKilledInside(t *testing.T) {
	needLaunch(t)
	held := &holding{Switchboard: connected(t), came: make(chan struct{}), goOn: make(chan struct{})}
	cmd := exec.Command(client(t, "rdynamic"), "once")
	go func() {
		<-held.came
		cmd.Process.Kill()
		for {
			if st, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid)); err != nil ||
				bytes.Contains(st, []byte(") Z")) {
				break
			}
			runtime.Gosched()
		}
		close(held.goOn)
	}()
	_, p, _ := run(t, held, launch.Options{}, cmd)
	if c := p.Counters(); c.Gone != 1 || c.Sockets != 0 {
		t.Errorf("counts %+v", c)
	}
	eventually(t, "its end is dropped", func() bool { return held.Sockets() == 0 })
}

// holding waits before it makes a socket.
type holding struct {
	*launch.Switchboard
	came, goOn chan struct{}
}

func (h *holding) Socket(c pfkey.Cred) (*os.File, error) {
	close(h.came)
	<-h.goOn
	return h.Switchboard.Socket(c)
}

// eventually waits for something that another process or goroutine brings about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("it never happens that %s", what)
		}
		time.Sleep(time.Millisecond) // there is no event to wait for
	}
}

func TestCredentials(t *testing.T) {
	needLaunch(t)
	seen := &recording{Switchboard: connected(t)}
	cmd := exec.Command(client(t, "rdynamic"), "threads")
	if out, _, err := run(t, seen, launch.Options{}, cmd); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := pfkey.Cred{PID: int32(cmd.Process.Pid), UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()),
		Privileged: true}
	for _, c := range seen.creds {
		if c != want { // threads have the number of their process
			t.Errorf("%+v, want %+v", c, want)
		}
	}
	if len(seen.creds) != 8 {
		t.Errorf("%d sockets", len(seen.creds))
	}
}

type recording struct {
	*launch.Switchboard
	mu    sync.Mutex
	creds []pfkey.Cred
}

func (r *recording) Socket(c pfkey.Cred) (*os.File, error) {
	r.mu.Lock()
	r.creds = append(r.creds, c)
	r.mu.Unlock()
	return r.Switchboard.Socket(c)
}

// A refusal of the engine is what socket(2) says.
func TestRefused(t *testing.T) {
	needLaunch(t)
	out, p, err := run(t, nobody{}, launch.Options{}, exec.Command(client(t, "rdynamic"), "once"))
	if err == nil || !strings.Contains(out, "FAIL socket: Permission denied") {
		t.Errorf("%v: %s", err, out)
	}
	if c := p.Counters(); c.Refused != 1 {
		t.Errorf("counts %+v", c)
	}
}

// One supervisor inside another is told what is wrong.
func TestNested(t *testing.T) {
	needLaunch(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestGoProgram$", "-test.v")
	out, _, err := run(t, connected(t), launch.Options{}, cmd)
	if err != nil || !strings.Contains(out, "SKIP") || !strings.Contains(out, launch.ErrNested.Error()) {
		t.Errorf("%v: %s", err, out)
	}
}

func TestNotStarted(t *testing.T) {
	needLaunch(t)
	if _, err := launch.Start(exec.Command("/nonexistent/program"), launch.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// The launching process stays outside of the filter, with all its threads.
func TestLauncherIsFree(t *testing.T) {
	needLaunch(t)
	free := func() bool {
		files, _ := filepath.Glob("/proc/self/task/*/status")
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil && !bytes.Contains(b, []byte("Seccomp:\t0")) {
				return false
			}
		}
		return len(files) > 0
	}
	if !free() {
		t.Skip("this process is under a filter of somebody else's")
	}
	for range 20 {
		if out, _, err := run(t, connected(t), launch.Options{}, exec.Command(client(t, "rdynamic"),
			"once")); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	eventually(t, "all threads are free again", free)
}

// An engine dies while a program waits for it. The program does nothing, and a successor answers what was asked
// meanwhile.
func TestSuccessor(t *testing.T) {
	needLaunch(t)
	first := openOffice(t)
	board := newBoard(t)
	if err := board.Use(first.session(t)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(client(t, "rdynamic"), "wait")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	finished := make(chan error, 1)
	go func() {
		_, _, err := run(t, board, launch.Options{}, cmd)
		finished <- err
	}()
	line := make([]byte, 64)
	n, err := out.Read(line)
	if err != nil || string(line[:n]) != "ready\n" {
		t.Fatalf("%q, %v", line[:n], err)
	}

	first.close()
	<-board.Lost()
	if n := board.Sockets(); n != 1 {
		t.Errorf("%d sockets are kept, want 1", n)
	}
	if _, err := in.Write([]byte("x")); err != nil { // it asks an engine that is not there
		t.Fatal(err)
	}
	eventually(t, "the program waits", func() bool { return asleep(cmd.Process.Pid) })
	second := openOffice(t)
	if err := board.Use(second.session(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-finished; err != nil {
		n, _ := out.Read(line)
		t.Errorf("%v: %s", err, line[:n])
	}
	w.Close()
	rest, _ := io.ReadAll(out)
	out.Close()
	if string(rest) != "ok wait\n" {
		t.Errorf("the program says %q", rest)
	}
	if c := second.server.Counters(); c.Received != 1 || c.Attached != 1 {
		t.Errorf("the successor's counters: %+v", c)
	}
	eventually(t, "the end is dropped", func() bool { return board.Sockets() == 0 })
}

// asleep says whether a process waits in send or recv.
func asleep(pid int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
	call, _, _ := strings.Cut(string(b), " ")
	return call == fmt.Sprint(unix.SYS_SENDTO) || call == fmt.Sprint(unix.SYS_RECVFROM)
}

// A program may come while there is no engine; it waits for the first one.
func TestEngineComesLater(t *testing.T) {
	needLaunch(t)
	board := newBoard(t)
	late := openOffice(t)
	cmd := exec.Command(client(t, "rdynamic"), "ask")
	go func() {
		eventually(t, "a socket is open", func() bool { return board.Sockets() == 1 })
		if err := board.Use(late.session(t)); err != nil {
			t.Error(err)
		}
	}()
	if out, _, err := run(t, board, launch.Options{}, cmd); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// Many short programs leave nothing behind, in the launcher or in the engine.
func TestShortPrograms(t *testing.T) {
	needLaunch(t)
	path := client(t, "rdynamic")
	office := openOffice(t)
	board := newBoard(t)
	if err := board.Use(office.session(t)); err != nil {
		t.Fatal(err)
	}
	const all, first = 150, 30
	type reading struct{ fds, threads, goroutines, sockets int }
	read := func() (r reading, heap uint64) {
		eventually(t, "all ends are dropped", func() bool {
			return board.Sockets() == 0 && office.server.Counters().Open == 0
		})
		runtime.GC() // twice: pools keep what they have once
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		tasks, _ := os.ReadDir("/proc/self/task")
		return reading{leak.OpenFiles(), len(tasks), runtime.NumGoroutine(), len(office.engine.Status(0).Sockets)},
			m.HeapAlloc
	}
	var before reading
	var heap uint64
	for i := range all {
		if out, _, err := run(t, board, launch.Options{}, exec.Command(path, "once")); err != nil {
			t.Fatalf("program %d: %v: %s", i, err, out)
		}
		if i == first-1 {
			before, heap = read()
		}
	}
	after, heapAfter := read()
	t.Logf("after %d programs: %+v, %d KB; after %d: %+v, %d KB", first, before, heap>>10, all, after, heapAfter>>10)
	if after.fds > before.fds || after.sockets != before.sockets || after.threads > before.threads+8 ||
		after.goroutines > before.goroutines+2 {
		t.Errorf("after %d programs %+v, after %d %+v", first, before, all, after)
	}
	if heapAfter > heap+1<<20 {
		t.Errorf("the heap grew from %d to %d KB", heap>>10, heapAfter>>10)
	}
}

// The same as an ordinary user, if this is root.
func TestOrdinaryUser(t *testing.T) {
	needLaunch(t)
	if os.Geteuid() != 0 {
		t.Skip("the other tests run as an ordinary user already")
	}
	dir, err := os.MkdirTemp("", "launch")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	// The binary and its data lie where only root may look.
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "launch.test"), exe, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "testdata"), os.DirFS("testdata")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "launch.test"),
		"-test.run=(C|Go|Python)Programs?$|Matter|Strace|Daemon|Successor|Credentials|Free|Nested")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

// A signal to the launcher, and Go's runtime sends itself many, may not come between a descriptor and the answer that
// has its number: the kernel would answer 0, and the program would take its standard input for the socket.
func TestSignalsWhileGiving(t *testing.T) {
	needLaunch(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			tasks, err := os.ReadDir("/proc/self/task")
			if err != nil {
				t.Error(err)
				return
			}
			for range 100 {
				select {
				case <-stop:
					return
				default:
				}
				for _, task := range tasks {
					if tid, err := strconv.Atoi(task.Name()); err == nil {
						_ = unix.Tgkill(os.Getpid(), tid, unix.SIGURG) // a thread that has gone hears nothing
					}
				}
			}
		}
	}()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), programVariable+"=go")
	out, p, err := run(t, connected(t), launch.Options{}, cmd)
	close(stop)
	<-stopped
	if err != nil || out != "ok go\n" {
		t.Errorf("%v: %s", err, out)
	}
	// Calls of a Go program are interrupted by signals of its own before anybody has received them, so a caller may be
	// gone.
	if n := p.Counters(); n.Sockets < 400 {
		t.Errorf("%+v, want 400 sockets at least", n)
	}
}
