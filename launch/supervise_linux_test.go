package launch_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/launch"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// What has been carried out cannot be taken back by a signal, and is not carried out twice.
func TestInterrupted(t *testing.T) {
	needLaunch(t)
	office := openOffice(t)
	board := newBoard(t)
	if err := board.Use(office.session(t)); err != nil {
		t.Fatal(err)
	}
	out, p, err := run(t, board, launch.Options{}, exec.Command(client(t, "rdynamic"), "interrupted"))
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var sent uint64
	if _, err := fmt.Sscanf(out, "sent %d\n", &sent); err != nil || sent == 0 {
		t.Fatalf("%v: %s", err, out)
	}
	if got := office.server.Counters().Received; got != sent {
		t.Errorf("the engine has got %d messages, the program has sent %d; calls: %+v", got, sent, p.Counters())
	}
}

// slowly carries out nothing before it is told to.
type slowly struct {
	*launch.Switchboard
	came chan struct{}
	goOn chan struct{}
}

func (s *slowly) Find(id launch.FileID) launch.Socket {
	if c := s.Switchboard.Find(id); c != nil {
		return slowClient{c, s}
	}
	return nil
}

type slowClient struct {
	launch.Socket
	s *slowly
}

func (c slowClient) Send(msg []byte, pid int32) error {
	c.s.came <- struct{}{}
	<-c.s.goOn
	return c.Socket.Send(msg, pid)
}

// beside sends from two threads, and writes to its output meanwhile.
func beside() int {
	errs := make(chan error, 2)
	for range cap(errs) {
		go func() { errs <- askOnce(1) }()
	}
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			break
		}
		fmt.Print("heard ", line)
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			fmt.Println("FAIL", err)
			return 1
		}
	}
	fmt.Println("ok beside")
	return 0
}

// A message that takes long holds up nobody else: not what other threads send, and nothing that anybody writes.
func TestSlow(t *testing.T) {
	needLaunch(t)
	h := &slowly{Switchboard: connected(t), came: make(chan struct{}), goOn: make(chan struct{})}
	cmd := helper("beside")
	in, lines := talk(t, cmd)
	finished := make(chan error, 1)
	go func() {
		_, _, err := run(t, h, launch.Options{}, cmd)
		finished <- err
	}()
	<-h.came
	<-h.came // while the first one is still there
	for i := range 20 {
		if _, err := fmt.Fprintln(in, i); err != nil {
			t.Fatal(err)
		}
		if got := <-lines; got != fmt.Sprint("heard ", i) {
			t.Fatalf("%q", got)
		}
	}
	close(h.goOn)
	in.Close()
	if got := <-lines; got != "ok beside" {
		t.Errorf("%q", got)
	}
	if err := <-finished; err != nil {
		t.Error(err)
	}
}

// absent opens a file whose name lies in memory that is not there before this program has said so. What it writes until
// then is to be written.
func absent() int {
	fd, err := raw(unix.SYS_USERFAULTFD, unix.O_CLOEXEC)
	if err != nil {
		fmt.Println("SKIP userfaultfd:", err)
		return 0
	}
	size := os.Getpagesize()
	page, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		fmt.Println("FAIL mmap:", err)
		return 1
	}
	address := uintptr(unsafe.Pointer(&page[0]))
	const apiVersion, missing = 0xaa, 1
	api := [3]uint64{apiVersion}
	region := [4]uint64{uint64(address), uint64(size), missing}
	content := append([]byte(os.DevNull), make([]byte, size)...)
	fill := [5]uint64{uint64(address), uint64(uintptr(unsafe.Pointer(&content[0]))), uint64(size)}
	const ioctlAPI, ioctlRegister, ioctlCopy = 0xc018aa3f, 0xc020aa00, 0xc028aa03
	if _, err := raw(unix.SYS_IOCTL, uintptr(fd), ioctlAPI, uintptr(unsafe.Pointer(&api))); err != nil {
		fmt.Println("FAIL UFFDIO_API:", err)
		return 1
	}
	if _, err := raw(unix.SYS_IOCTL, uintptr(fd), ioctlRegister, uintptr(unsafe.Pointer(&region))); err != nil {
		fmt.Println("FAIL UFFDIO_REGISTER:", err)
		return 1
	}
	opened := make(chan error)
	go func() {
		at := unix.AT_FDCWD
		_, err := raw(unix.SYS_OPENAT, uintptr(at), address, unix.O_RDONLY)
		opened <- err
	}()
	var event [32]byte
	if _, err := unix.Read(fd, event[:]); err != nil { // somebody wants the page
		fmt.Println("FAIL read:", err)
		return 1
	}
	fmt.Println("written meanwhile")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	if _, err := raw(unix.SYS_IOCTL, uintptr(fd), ioctlCopy, uintptr(unsafe.Pointer(&fill))); err != nil {
		fmt.Println("FAIL UFFDIO_COPY:", err)
		return 1
	}
	if err := <-opened; err != nil {
		fmt.Println("FAIL open:", err)
		return 1
	}
	runtime.KeepAlive(content)
	fmt.Println("ok absent")
	return 0
}

// Memory that the program itself must provide, when the supervisor wants to read it, holds up nobody else.
func TestAbsentMemory(t *testing.T) {
	needLaunch(t)
	cmd := helper("absent")
	in, lines := talk(t, cmd)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p, err := launch.Start(cmd, launch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	supervised := make(chan error, 1)
	go func() { supervised <- p.Supervise(ctx, nobody{}) }()
	why := ""
	for _, want := range []string{"written meanwhile", "ok absent"} {
		got := ""
		select {
		case got = <-lines:
		case <-time.After(20 * time.Second): // only if it fails
			_ = cmd.Process.Kill()
		}
		if why = got; strings.HasPrefix(got, "SKIP ") {
			break
		}
		if got != want {
			t.Errorf("it says %q, want %q", got, want)
			break
		}
		fmt.Fprintln(in)
	}
	_ = cmd.Wait()
	if err := <-supervised; err != nil {
		t.Error(err)
	}
	if reason, skip := strings.CutPrefix(why, "SKIP "); skip {
		t.Skip(reason)
	}
}

// stuckFile mounts a file system with one file, which says nothing of itself from when it is opened until goOn is
// called.
func stuckFile(t *testing.T) (path string, goOn func()) {
	t.Helper()
	dev, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("/dev/fuse: ", err)
	}
	dir := t.TempDir()
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d", dev, os.Getuid(), os.Getgid())
	if err := unix.Mount("stuck", dir, "fuse", 0, options); err != nil {
		unix.Close(dev)
		t.Skip("mount: ", err)
	}
	told, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		const lookup, getattr, open, initialize = 1, 3, 14, 26
		opened, b := false, make([]byte, 1<<17)
		for {
			n, err := unix.Read(dev, b)
			if err == unix.EINTR || err == unix.ENOENT {
				continue
			} else if err != nil || n < 40 {
				return // unmounted
			}
			number := binary.NativeEndian.Uint64(b[8:])
			attr := make([]byte, 88)
			binary.NativeEndian.PutUint64(attr, binary.NativeEndian.Uint64(b[16:]))
			binary.NativeEndian.PutUint32(attr[60:], unix.S_IFDIR|0o755)
			errno, body := int32(0), []byte(nil)
			switch binary.NativeEndian.Uint32(b[4:]) {
			case initialize:
				body = make([]byte, 64)
				binary.NativeEndian.PutUint32(body, 7)
				binary.NativeEndian.PutUint32(body[4:], 31)
				binary.NativeEndian.PutUint32(body[20:], 4096)
			case lookup:
				body = make([]byte, 40)
				binary.NativeEndian.PutUint64(body, 2)
				binary.NativeEndian.PutUint64(attr, 2)
				binary.NativeEndian.PutUint32(attr[60:], unix.S_IFREG|0o666)
				body = append(body, attr...)
			case open:
				opened, body = true, make([]byte, 16)
			case getattr:
				if opened {
					<-told
				}
				if binary.NativeEndian.Uint64(b[16:]) == 2 {
					binary.NativeEndian.PutUint32(attr[60:], unix.S_IFREG|0o666)
				}
				body = append(make([]byte, 16), attr...)
			default:
				errno = -int32(unix.ENOSYS)
			}
			out := binary.NativeEndian.AppendUint32(nil, uint32(16+len(body)))
			out = binary.NativeEndian.AppendUint32(out, uint32(errno))
			out = binary.NativeEndian.AppendUint64(out, number)
			_, _ = unix.Write(dev, append(out, body...))
		}
	}()
	once := sync.OnceFunc(func() { close(told) })
	t.Cleanup(func() {
		once()
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
		<-ended
		unix.Close(dev)
	})
	return filepath.Join(dir, "f"), once
}

// beyond writes into the file that its argument names, and to its output meanwhile.
func beyond() int {
	fd, err := unix.Open(os.Args[1], unix.O_WRONLY, 0)
	if err != nil {
		fmt.Println("FAIL open:", err)
		return 1
	}
	done := make(chan error)
	go func() {
		_, err := unix.Write(fd, []byte("x"))
		done <- err
	}()
	// Whether the thread is in its call already cannot be seen, so there are many lines.
	for range 2000 {
		fmt.Println("written meanwhile")
	}
	fmt.Println("now")
	<-done
	return 0
}

// opaque is a handler with a socket somewhere, so that it must be asked about each descriptor.
type opaque struct{ nobody }

func (opaque) Sockets() int { return 1 }

// A file whose file system does not answer holds up only those who use it.
func TestStuckFile(t *testing.T) {
	needLaunch(t)
	path, goOn := stuckFile(t)
	cmd := helper("beyond", path)
	_, lines := talk(t, cmd)
	p, err := launch.Start(cmd, launch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	supervised := make(chan error, 1)
	go func() { supervised <- p.Supervise(context.Background(), opaque{}) }()
	late := time.After(20 * time.Second) // only if it fails
	for got := ""; got != "now"; {
		select {
		case got = <-lines:
			if strings.HasPrefix(got, "FAIL") {
				t.Error(got)
				got = "now"
			}
		case <-late:
			t.Error("it cannot write")
			got = "now"
		}
	}
	goOn()
	_ = cmd.Wait()
	if err := <-supervised; err != nil {
		t.Error(err)
	}
}

// several sends with sendmmsg.
func several() int {
	s, err := unix.Socket(unix.AF_KEY, unix.SOCK_RAW, 2)
	if err != nil {
		fmt.Println("FAIL socket:", err)
		return 1
	}
	for _, way := range sendWays {
		if way.name == "sendmmsg" {
			fmt.Println(way.do(s, request(7, 3, 1)))
		}
	}
	return 0
}

// lately says that a message is carried out when it is told to.
type lately struct{ *slowly }

func (s lately) Find(id launch.FileID) launch.Socket {
	if c := s.Switchboard.Find(id); c != nil {
		return lateClient{c, s}
	}
	return nil
}

type lateClient struct {
	launch.Socket
	s lately
}

func (c lateClient) Send(msg []byte, pid int32) error {
	err := c.Socket.Send(msg, pid)
	c.s.came <- struct{}{}
	<-c.s.goOn
	return err
}

// What a call would write into its caller's memory is written nowhere if the caller was killed while its message was
// carried out: by then the number may be another process's.
func TestKilledWhileSending(t *testing.T) {
	needLaunch(t)
	h := lately{&slowly{Switchboard: connected(t), came: make(chan struct{}), goOn: make(chan struct{})}}
	cmd := helper("several")
	p, err := launch.Start(cmd, launch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	supervised := make(chan error, 1)
	go func() { supervised <- p.Supervise(context.Background(), h) }()
	<-h.came
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	before := p.Counters()
	close(h.goOn)
	if err := <-supervised; err != nil {
		t.Error(err)
	}
	after := p.Counters()
	if after.Passed != before.Passed || after.Gone != before.Gone+1 {
		t.Errorf("counts %+v, want one call more whose caller is gone than %+v", after, before)
	}
}

// An engine that stands still holds nobody up when all programs are gone.
func TestGoneBeforeAnswer(t *testing.T) {
	needLaunch(t)
	h := &slowly{Switchboard: connected(t), came: make(chan struct{}), goOn: make(chan struct{})}
	defer close(h.goOn)
	cmd := helper("several")
	p, err := launch.Start(cmd, launch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	supervised := make(chan error, 1)
	go func() { supervised <- p.Supervise(context.Background(), h) }()
	<-h.came
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	select {
	case err := <-supervised:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second): // only if it fails
		t.Error("Supervise waits for an answer that nobody waits for")
	}
}

// The same holds for the end of a switchboard, while a socket waits to be handed over.
func TestCloseBeforeAnswer(t *testing.T) {
	board := newBoard(t)
	end, hand := pair(t)
	if _, err := hand.Write([]byte("PFKH\x00\x03illumos:/nowhere")); err != nil {
		t.Fatal(err)
	}
	f, err := end.File()
	if err != nil {
		t.Fatal(err)
	}
	end.Close()
	s, err := launch.NewSession(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := board.Use(s); err != nil {
		t.Fatal(err)
	}
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		if f, err := board.Socket(pfkey.Cred{Privileged: true}); err == nil {
			f.Close()
		}
	}()
	b, oob := make([]byte, 64), make([]byte, 64)
	_, n, _, _, err := hand.ReadMsgUnix(b, oob) // it has asked, and there is no answer
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range rightsOf(t, oob[:n]) {
		unix.Close(fd)
	}
	closed := make(chan struct{})
	go func() { board.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(20 * time.Second): // only if it fails
		t.Error("the switchboard waits for the engine")
		hand.Close()
		<-closed
	}
	<-opened
}

func rightsOf(t *testing.T, oob []byte) []int {
	t.Helper()
	records, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(records) != 1 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	fds, err := unix.ParseUnixRights(&records[0])
	if err != nil {
		t.Fatal(err)
	}
	return fds
}

// talk connects a program's input and output with the test.
func talk(t testing.TB, cmd *exec.Cmd) (in io.WriteCloser, lines <-chan string) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	said := make(chan string, 100)
	go func() {
		defer close(said)
		defer r.Close()
		for s := bufio.NewScanner(r); s.Scan(); {
			said <- s.Text()
		}
	}()
	t.Cleanup(func() { in.Close(); w.Close() })
	return in, said
}

// keeper has a socket with everything that belongs to one, and says what is left of it when it is told to.
func keeper() int {
	s, err := unix.Socket(unix.AF_KEY, unix.SOCK_RAW, 2)
	if err != nil {
		fmt.Println("FAIL socket:", err)
		return 1
	}
	buf := make([]byte, 65536)
	for _, msg := range [][]byte{request(7, 3, 1), request(7, 2, 2), request(11, 1, 3)} {
		if err := unix.Sendto(s, msg, 0, nil); err != nil {
			fmt.Println("FAIL send:", err)
			return 1
		}
		for {
			if _, _, err := unix.Recvfrom(s, buf, unix.MSG_DONTWAIT); err != nil {
				break
			}
		}
	}
	if err := unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_RCVBUF, 5000); err != nil {
		fmt.Println("FAIL SO_RCVBUF:", err)
		return 1
	}
	fmt.Println("ready")
	for in := bufio.NewReader(os.Stdin); ; {
		if _, err := in.ReadString('\n'); err != nil {
			return 0
		}
		size, err := unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_RCVBUF)
		heard := 0
		for {
			if _, _, err := unix.Recvfrom(s, buf, unix.MSG_DONTWAIT); err != nil {
				break
			}
			heard++
		}
		fmt.Println("room", size, err, "heard", heard)
	}
}

// What belongs to a socket survives the engine: its registrations, promiscuous mode, its options. Nobody hears of it.
func TestSocketSurvives(t *testing.T) {
	needLaunch(t)
	for _, kernel := range []string{"linux", "illumos"} {
		board := newBoard(t)
		first := openKernel(t, kernel)
		if err := board.Use(first.session(t)); err != nil {
			t.Fatal(err)
		}
		var ins []io.WriteCloser
		var outs []<-chan string
		var running sync.WaitGroup
		for range 2 {
			cmd := helper("keeper")
			in, lines := talk(t, cmd)
			running.Go(func() { _, _, _ = run(t, board, launch.Options{}, cmd) })
			if got := <-lines; got != "ready" {
				t.Fatal(got)
			}
			ins, outs = append(ins, in), append(outs, lines)
		}
		var before []string
		look := func(o *office) (state []string) {
			for _, s := range o.engine.Status(0).Sockets {
				state = append(state, fmt.Sprint(s.PID, s.Registered, s.Flags, s.Queued))
			}
			return state
		}
		if before = look(first); len(before) != 2 || !strings.Contains(before[0], "esp") {
			t.Fatal(before)
		}
		room := map[string]string{"linux": "room 10000 <nil> heard ", "illumos": "room 5000 <nil> heard "}[kernel]
		for round := range 3 {
			if round > 0 { // each engine has got it from the one before
				first.close()
				<-board.Lost()
				first = openKernel(t, kernel)
				if err := board.Use(first.session(t)); err != nil {
					t.Fatal(err)
				}
				if after := look(first); !slices.Equal(after, before) {
					t.Errorf("%s: the sockets are %q, they were %q", kernel, after, before)
				}
			}
			for i, in := range ins {
				fmt.Fprintln(in)
				got := <-outs[i]
				// At first one hears what the other does.
				if !strings.HasPrefix(got, room) || round > 0 && got != room+"0" {
					t.Errorf("%s: program %d says %q, want %s0", kernel, i, got, room)
				}
			}
		}
		for _, in := range ins {
			in.Close()
		}
		running.Wait()
	}
}

// An engine without descriptors refuses a socket as a system whose table is full, wherever on the way they run out.
func TestSocketWithoutRoom(t *testing.T) {
	needLaunch(t)
	for free := range 4 {
		h := &withoutRoom{connected(t), free}
		out, _, err := run(t, h, launch.Options{}, exec.Command(client(t, "rdynamic"), "once"))
		if err == nil || !strings.Contains(out, "FAIL socket: Too many open files in system") {
			t.Errorf("%d free: %v: %s", free, err, out)
		}
	}
}

// withoutRoom makes sockets while this process, which is the engine's, has only a few descriptors left: two are for the
// pair, one for what the engine gets.
type withoutRoom struct {
	*launch.Switchboard
	free int
}

func (s *withoutRoom) Socket(c pfkey.Cred) (*os.File, error) {
	var held []int
	for len(held) < 30000 {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		held = append(held, fd)
	}
	for i, fd := range held {
		if i < s.free {
			unix.Close(fd)
		} else {
			defer unix.Close(fd)
		}
	}
	return s.Switchboard.Socket(c)
}

// waiting has a PF_KEY socket, and does nothing with it.
func waiting() int {
	s, err := unix.Socket(unix.AF_KEY, unix.SOCK_RAW, 2)
	if err != nil {
		fmt.Println("FAIL socket:", err)
		return 1
	}
	defer unix.Close(s)
	return idle()
}

// idle does nothing and waits for nothing.
func idle() int {
	fmt.Println("pid", os.Getpid())
	for {
		unix.Select(0, nil, nil, nil, nil)
	}
}

// orphans leaves two processes behind: one with a PF_KEY socket and nothing in its environment, one the other way
// round.
func orphans() int {
	for _, name := range []string{"waiting", "idle"} {
		cmd := helper(name)
		if name == "waiting" {
			cmd.Env = []string{programVariable + "=" + name}
		}
		cmd.Stdout = os.Stdout
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			fmt.Println("FAIL", err)
			return 1
		}
	}
	return 0
}

// forever leaves two orphans and sends until somebody ends it.
func forever() int {
	cmd := helper("orphans")
	cmd.Stdout = os.Stdout
	if err := cmd.Run(); err != nil {
		fmt.Println("FAIL", err)
		return 1
	}
	fmt.Println("pid", os.Getpid())
	for {
		if err := askOnce(1); err != nil {
			fmt.Println("FAIL", err)
			return 1
		}
		unix.Select(0, nil, nil, nil, &unix.Timeval{Usec: 1000})
	}
}

// launcher runs forever, and is killed. Its argument is a directory that is to be removed then.
func launcher() int {
	t := new(quiet)
	board := newBoard(t)
	if err := board.Use(openOffice(t).session(t)); err != nil {
		fmt.Println("FAIL", err)
		return 1
	}
	cmd := helper("forever")
	cmd.Stdout = os.Stdout
	p, err := launch.Start(cmd, launch.Options{Remove: os.Args[1:]})
	if err != nil {
		fmt.Println("FAIL", err)
		return 1
	}
	fmt.Println("guardian", p.Guardian())
	fmt.Println("FAIL", p.Supervise(context.Background(), board))
	return 1
}

// quiet is the testing.TB of a program that is no test.
type quiet struct{ testing.TB }

func (quiet) Helper()           {}
func (quiet) Cleanup(func())    {}
func (quiet) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// gone says whether a process has ended; a zombie has.
func gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(b, []byte(") Z "))
}

// Who is left by a launcher that was killed does not live on with calls that fail for ever: nothing of it is left.
func TestLauncherKilled(t *testing.T) {
	needLaunch(t)
	dir := filepath.Join(t.TempDir(), "to be removed")
	if err := os.MkdirAll(filepath.Join(dir, "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := helper("launcher", dir)
	_, lines := talk(t, cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for len(pids) < 4 { // the guardian and three programs
		line := <-lines
		what, number, _ := strings.Cut(line, " ")
		pid, err := strconv.Atoi(number)
		if err != nil || what == "FAIL" {
			t.Fatal(line)
		}
		pids = append(pids, pid)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for _, pid := range pids {
		eventually(t, fmt.Sprintf("process %d is gone", pid), func() bool { return gone(pid) })
	}
	eventually(t, "the directory is gone", func() bool {
		_, err := os.Stat(dir)
		return errors.Is(err, os.ErrNotExist)
	})
	for {
		select {
		case line := <-lines:
			t.Errorf("it says %q", line) // of a call that failed
		default:
			return
		}
	}
}

// The end of the context is the end of the programs.
func TestSuperviseEnds(t *testing.T) {
	needLaunch(t)
	cmd := helper("forever")
	_, lines := talk(t, cmd)
	p, err := launch.Start(cmd, launch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	supervised := make(chan error, 1)
	go func() { supervised <- p.Supervise(ctx, connected(t)) }()
	var pids []int
	for range 3 {
		_, number, _ := strings.Cut(<-lines, " ")
		pid, _ := strconv.Atoi(number)
		pids = append(pids, pid)
	}
	cancel()
	if err := <-supervised; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	_ = cmd.Wait()
	for _, pid := range pids {
		eventually(t, "a program is gone", func() bool { return gone(pid) })
	}
	eventually(t, "the guardian is gone", func() bool { return gone(p.Guardian()) })
}

// A program that has closed its socket gets nothing from the next engine: above all not the socket of another program
// whose descriptor has the number now that the closed one had.
func TestClosedBeforeSuccessor(t *testing.T) {
	board, office := newBoard(t), openOffice(t)
	if err := board.Use(office.session(t)); err != nil {
		t.Fatal(err)
	}
	open := func() (*os.File, launch.Socket) {
		f, err := board.Socket(pfkey.Cred{Privileged: true})
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		return f, board.Find(launch.FileID{Device: uint64(st.Dev), Inode: uint64(st.Ino)})
	}
	program, client := open()
	office.close()
	<-board.Lost()
	program.Close()
	eventually(t, "the socket is let go", func() bool { return board.Sockets() == 0 })
	other, _ := open()
	defer other.Close()
	next := openOffice(t)
	if err := board.Use(next.session(t)); err != nil {
		t.Fatal(err)
	}
	if err := client.Send(request(7, 3, 1), 0); err == nil {
		t.Error("a closed socket sends")
	}
	if n := next.server.Counters().Attached; n != 1 {
		t.Errorf("the next engine has got %d sockets, want 1", n)
	}
	if n, _, err := unix.Recvfrom(int(other.Fd()), make([]byte, 64), unix.MSG_DONTWAIT); err != unix.EAGAIN {
		t.Errorf("the other program has got an answer: %d bytes, %v", n, err)
	}
}
