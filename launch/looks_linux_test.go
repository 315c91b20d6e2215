package launch_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/launch"
)

// A way is one of sending or looking for an answer.
type way struct {
	name string
	do   func(s int, b []byte) (n int, err error)
}

func iovec(b []byte) unix.Iovec {
	v := unix.Iovec{}
	if len(b) > 0 {
		v.Base = &b[0]
	}
	v.SetLen(len(b))
	return v
}

// raw makes a system call with numbers and pointers, without the library's own ideas.
func raw(call uintptr, a ...uintptr) (int, error) {
	a = append(a, 0, 0, 0, 0, 0, 0)
	n, _, errno := syscall.Syscall6(call, a[0], a[1], a[2], a[3], a[4], a[5])
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// sendWays are all ways to send. Those with several messages send one.
var sendWays = []way{
	{"sendto", func(s int, b []byte) (int, error) {
		v := iovec(b)
		return raw(unix.SYS_SENDTO, uintptr(s), uintptr(unsafe.Pointer(v.Base)), uintptr(len(b)))
	}},
	{"sendmsg", func(s int, b []byte) (int, error) { return unix.SendmsgN(s, b, nil, nil, 0) }},
	{"sendmsg of pieces", func(s int, b []byte) (int, error) {
		v := []unix.Iovec{iovec(b[:len(b)/3]), iovec(nil), iovec(b[len(b)/3:])}
		h := unix.Msghdr{Iov: &v[0]}
		h.SetIovlen(len(v))
		return raw(unix.SYS_SENDMSG, uintptr(s), uintptr(unsafe.Pointer(&h)))
	}},
	{"sendmmsg", func(s int, b []byte) (int, error) {
		v := iovec(b)
		h := mmsghdr{Msghdr: unix.Msghdr{Iov: &v}}
		h.SetIovlen(1)
		n, err := raw(unix.SYS_SENDMMSG, uintptr(s), uintptr(unsafe.Pointer(&h)), 1)
		if err == nil && n != 1 {
			err = fmt.Errorf("sendmmsg sent %d messages", n)
		}
		return int(h.len), err
	}},
	{"write", func(s int, b []byte) (int, error) {
		v := iovec(b)
		return raw(unix.SYS_WRITE, uintptr(s), uintptr(unsafe.Pointer(v.Base)), uintptr(len(b)))
	}},
	{"writev", func(s int, b []byte) (int, error) {
		v := []unix.Iovec{iovec(b[:len(b)/2]), iovec(b[len(b)/2:])}
		return raw(unix.SYS_WRITEV, uintptr(s), uintptr(unsafe.Pointer(&v[0])), 2)
	}},
	{"pwritev2", func(s int, b []byte) (int, error) {
		v := iovec(b)
		return raw(unix.SYS_PWRITEV2, uintptr(s), uintptr(unsafe.Pointer(&v)), 1, ^uintptr(0), ^uintptr(0))
	}},
}

type mmsghdr struct {
	unix.Msghdr
	len uint32
	_   uint32
}

// polled is a look that only says whether there is something; EAGAIN: nothing.
func polled(s int, b []byte, n int, err error) (int, error) {
	if err == nil && n == 0 {
		err = unix.EAGAIN
	}
	if err != nil {
		return 0, err
	}
	return unix.Read(s, b)
}

// lookWays are ways to look for an answer without waiting for it.
var lookWays = []way{
	{"MSG_DONTWAIT", func(s int, b []byte) (int, error) {
		return raw(unix.SYS_RECVFROM, at(s, b, unix.MSG_DONTWAIT)...)
	}},
	{"MSG_PEEK", func(s int, b []byte) (int, error) {
		if n, err := raw(unix.SYS_RECVFROM, at(s, b[:16], unix.MSG_PEEK|unix.MSG_DONTWAIT)...); err != nil || n != 16 {
			return n, err
		}
		return unix.Read(s, b)
	}},
	{"O_NONBLOCK, recv", func(s int, b []byte) (int, error) { return nonblocking(s, unix.SYS_RECVFROM, at(s, b, 0)) }},
	{"O_NONBLOCK, read", func(s int, b []byte) (int, error) { return nonblocking(s, unix.SYS_READ, at(s, b, 0)) }},
	{"O_NONBLOCK, readv", func(s int, b []byte) (int, error) {
		v := iovec(b)
		return nonblocking(s, unix.SYS_READV, []uintptr{uintptr(s), uintptr(unsafe.Pointer(&v)), 1})
	}},
	{"O_NONBLOCK, recvmsg", func(s int, b []byte) (int, error) {
		v := iovec(b)
		h := unix.Msghdr{Iov: &v}
		h.SetIovlen(1)
		return nonblocking(s, unix.SYS_RECVMSG, []uintptr{uintptr(s), uintptr(unsafe.Pointer(&h)), 0})
	}},
	{"recvmmsg", func(s int, b []byte) (int, error) {
		v := iovec(b)
		h := mmsghdr{Msghdr: unix.Msghdr{Iov: &v}}
		h.SetIovlen(1)
		_, err := raw(unix.SYS_RECVMMSG, uintptr(s), uintptr(unsafe.Pointer(&h)), 1, unix.MSG_DONTWAIT)
		return int(h.len), err
	}},
	{"poll", func(s int, b []byte) (int, error) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(s), Events: unix.POLLIN}}, 0)
		return polled(s, b, n, err)
	}},
	{"poll of two", func(s int, b []byte) (int, error) {
		n, err := unix.Poll([]unix.PollFd{{Fd: 0, Events: unix.POLLHUP}, {Fd: int32(s), Events: unix.POLLIN}}, 0)
		return polled(s, b, n, err)
	}},
	{"ppoll", func(s int, b []byte) (int, error) {
		n, err := unix.Ppoll([]unix.PollFd{{Fd: int32(s), Events: unix.POLLIN}}, &unix.Timespec{}, nil)
		return polled(s, b, n, err)
	}},
	{"select", func(s int, b []byte) (int, error) {
		n, err := unix.Select(s+1, fdSet(s), nil, nil, &unix.Timeval{})
		return polled(s, b, n, err)
	}},
	{"select of a millisecond", func(s int, b []byte) (int, error) {
		n, err := unix.Select(s+1, fdSet(s), nil, nil, &unix.Timeval{Usec: 1000})
		return polled(s, b, n, err)
	}},
	{"pselect", func(s int, b []byte) (int, error) {
		n, err := unix.Pselect(s+1, fdSet(s), nil, nil, &unix.Timespec{}, nil)
		return polled(s, b, n, err)
	}},
	{"epoll", func(s int, b []byte) (int, error) {
		e, err := unix.EpollCreate1(0)
		if err != nil {
			return 0, err
		}
		defer unix.Close(e)
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s)}
		if err := unix.EpollCtl(e, unix.EPOLL_CTL_ADD, s, &event); err != nil {
			return 0, err
		}
		n, err := unix.EpollWait(e, make([]unix.EpollEvent, 1), 0)
		return polled(s, b, n, err)
	}},
	{"FIONREAD", func(s int, b []byte) (int, error) {
		n, err := unix.IoctlGetInt(s, unix.TIOCINQ)
		return polled(s, b, n, err)
	}},
	// Goroutines that are in system calls have threads of their own.
	{"another thread", func(s int, b []byte) (n int, err error) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			n, err = raw(unix.SYS_RECVFROM, at(s, b, unix.MSG_DONTWAIT)...)
		}()
		<-done
		return n, err
	}},
}

func at(s int, b []byte, flags uintptr) []uintptr {
	return []uintptr{uintptr(s), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), flags}
}

func fdSet(s int) *unix.FdSet {
	var set unix.FdSet
	set.Set(s)
	return &set
}

// nonblocking reads with a socket that does not wait.
func nonblocking(s int, call uintptr, args []uintptr) (int, error) {
	if err := unix.SetNonblock(s, true); err != nil {
		return 0, err
	}
	defer func() { _ = unix.SetNonblock(s, false) }()
	return raw(call, args...)
}

// looks sends in every way and looks in every way, 50 times each, and says how often it looked too early.
func looks() int {
	const times = 50
	buf := make([]byte, 65536)
	for _, look := range lookWays {
		s, err := unix.Socket(unix.AF_KEY, unix.SOCK_RAW, 2)
		if err != nil {
			fmt.Println("FAIL socket:", err)
			return 1
		}
		early := 0
		for i := range times {
			send := sendWays[i%len(sendWays)]
			msg := request(7, 3, uint32(i+1)) // REGISTER for ESP
			n, err := send.do(s, msg)
			if err != nil || n != len(msg) {
				fmt.Printf("FAIL %s: %d, %v\n", send.name, n, err)
				return 1
			}
			n, err = look.do(s, buf)
			for err == unix.EINTR {
				n, err = look.do(s, buf)
			}
			if err == unix.EAGAIN {
				early++
				n, err = unix.Read(s, buf)
			}
			if err != nil || n < 16 || !bytes.Equal(buf[8:16], msg[8:16]) {
				fmt.Printf("FAIL %s after %s: %d bytes, %v\n", look.name, send.name, n, err)
				return 1
			}
		}
		unix.Close(s)
		if early > 0 {
			fmt.Printf("%s: %d of %d looks came before the answer\n", look.name, early, times)
		}
	}
	fmt.Println("ok looks")
	return 0
}

// request is a message without extensions.
func request(typ, satype byte, seq uint32) []byte {
	msg := []byte{2, typ, 0, satype}
	msg = binary.NativeEndian.AppendUint16(msg, 2)
	msg = append(msg, 0, 0)
	msg = binary.NativeEndian.AppendUint32(msg, seq)
	return binary.NativeEndian.AppendUint32(msg, uint32(os.Getpid()))
}

// helper is this binary as one of the programs of TestMain.
func helper(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), programVariable+"="+name)
	return cmd
}

// Whatever way a program sends and looks, the answer is there.
func TestLooks(t *testing.T) {
	needLaunch(t)
	for _, kernel := range []string{"linux", "illumos"} {
		board := newBoard(t)
		if err := board.Use(openKernel(t, kernel).session(t)); err != nil {
			t.Fatal(err)
		}
		if out, _, err := run(t, board, launch.Options{}, helper("looks")); err != nil || out != "ok looks\n" {
			t.Errorf("%s: %v\n%s", kernel, err, out)
		}
	}
}

// The same where everybody shares one processor, and where others want it, too.
func TestLooksCrowded(t *testing.T) {
	needLaunch(t)
	for _, crowd := range []int{0, 3} {
		var idle []io.Closer
		for range crowd {
			busy := helper("busy")
			in, err := busy.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := busy.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { in.Close(); _ = busy.Wait() })
			idle = append(idle, in)
		}
		cmd := helper("one processor", "-test.run=^TestLooks$")
		out, err := cmd.CombinedOutput()
		if err != nil || bytes.Contains(out, []byte("SKIP")) {
			t.Errorf("beside %d others: %v\n%s", crowd, err, out)
		}
		for _, in := range idle {
			in.Close()
		}
	}
}

// oneProcessor goes on as the tests themselves, on one processor.
func oneProcessor() error {
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	for i := range 1024 {
		if all.IsSet(i) {
			one.Set(i)
			break
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil { // of this thread, and of what it becomes
		return err
	}
	env := slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, programVariable+"=") })
	return unix.Exec("/proc/self/exe", os.Args, env)
}

// busy does nothing, as hard as it can, until its input ends.
func busy() {
	var over atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		over.Store(true)
	}()
	for !over.Load() {
	}
}

// Without the gate a look can be too early, so what is above is not for nothing; and all still works.
func TestGateMatters(t *testing.T) {
	needLaunch(t)
	for range 20 {
		out, _, err := run(t, connected(t), launch.Options{NoGate: true}, helper("looks"))
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if strings.Contains(out, "before the answer") {
			return
		}
	}
	t.Skip("20 programs found every answer without the gate: the engine was faster each time")
}
