package launch_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/launch"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// sysAccept is accept(2), which not every machine has that this builds for.
var sysAccept = map[string]uintptr{"amd64": 43, "arm64": 202}[runtime.GOARCH]

// badMessages are what a header check refuses, and what it does not.
func badMessages() (msgs [][]byte) {
	for _, n := range []int{0, 1, 8, 15, 16, 24, 20000, 212961, 524280, 524281, 600000} {
		msgs = append(msgs, make([]byte, n))
	}
	good := request(7, 3, 1)
	for at, values := range [][]byte{{0, 1, 3}, {0, 25, 77, 255}, {1}, {1, 77}, {0, 1, 3, 255}, {1}, {1}, {1}} {
		for _, v := range values {
			msg := append([]byte(nil), good...)
			msg[at] = v
			msgs = append(msgs, msg)
		}
	}
	return append(msgs, good, append(good[:16:16], 0), append(good[:16:16], make([]byte, 8)...))
}

// senders tells, for each way of sending and each bad message, what came of it and how many messages there were to be
// read.
func senders() int {
	s, err := unix.Socket(unix.AF_KEY, unix.SOCK_RAW, 2)
	if err != nil {
		fmt.Println("FAIL socket:", err)
		return 1
	}
	buf := make([]byte, 1<<20)
	for i, msg := range badMessages() {
		for _, w := range sendWays {
			n, err := w.do(s, msg)
			answers := 0
			for {
				if _, _, err := unix.Recvfrom(s, buf, unix.MSG_DONTWAIT); err != nil {
					break
				}
				answers++
			}
			fmt.Printf("%d, %s: %d %s, %d\n", i, w.name, n, errnoName(err), answers)
		}
	}
	return 0
}

func errnoName(err error) string {
	if e, ok := err.(unix.Errno); ok {
		return unix.ErrnoName(e)
	}
	return fmt.Sprint(err)
}

// What the kernel refuses in send(2), every call that sends refuses, and nothing comes of it. What it refuses is what
// the engine's own socket refuses, which recordings of the real kernel hold to the truth.
func TestBadMessages(t *testing.T) {
	needLaunch(t)
	for _, kernel := range []string{"linux", "illumos"} {
		office := openKernel(t, kernel)
		board := newBoard(t)
		if err := board.Use(office.session(t)); err != nil {
			t.Fatal(err)
		}
		out, p, err := run(t, board, launch.Options{}, helper("senders"))
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		sock, errno := openKernel(t, kernel).engine.Open(pfkey.Cred{Privileged: true}, 3, 2)
		if errno != 0 {
			t.Fatal(errno)
		}
		var want strings.Builder
		refused := 0
		for i, msg := range badMessages() {
			errno := sock.Send(msg, pfkey.Cred{})
			answers := 0
			for {
				if _, _, errno := sock.Recv(nil, 0); errno != 0 {
					break
				}
				answers++
			}
			for _, w := range sendWays {
				n, result, answers := len(msg), "<nil>", answers
				switch {
				case n == 0 && (w.name == "writev" || w.name == "pwritev2"):
					answers = 0 // nothing to write is nothing to do
				case len(msg) > 524280:
					n, result, answers = 0, "EMSGSIZE", 0 // longer than any message can be
				case errno != 0:
					n, result = 0, errno.String()
				}
				if result != "<nil>" {
					refused++
				}
				fmt.Fprintf(&want, "%d, %s: %d %s, %d\n", i, w.name, n, result, answers)
			}
		}
		if diff := cmp.Diff(want.String(), out); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", kernel, diff)
		}
		if n := p.Counters().Denied; n != uint64(refused) || n == 0 {
			t.Errorf("%s: %d calls denied, want %d", kernel, n, refused)
		}
		if c := office.server.Counters(); c.Errnos != 0 || c.Unanswerable != 0 {
			t.Errorf("%s: counters %+v", kernel, c)
		}
	}
}

// What a real Linux says to calls on a PF_KEY socket; each was seen on Linux 6.1, those of pwritev2 with a
// Unix socket. ENOTSUP is EOPNOTSUPP there.
var socketCalls = []struct {
	name string
	do   func(s int) (string, error)
	want string
}{
	{"getsockopt SO_TYPE", getInt(unix.SO_TYPE), "3 <nil>"},
	{"getsockopt SO_DOMAIN", getInt(unix.SO_DOMAIN), "15 <nil>"},
	{"getsockopt SO_PROTOCOL", getInt(unix.SO_PROTOCOL), "0 <nil>"},
	{"getsockopt SO_ERROR", getInt(unix.SO_ERROR), "0 <nil>"},
	{"getsockopt SO_RCVBUF", getInt(unix.SO_RCVBUF), "212992 <nil>"},
	{"getsockopt SO_SNDBUF", getInt(unix.SO_SNDBUF), "212992 <nil>"},
	{"getsockopt SO_ACCEPTCONN", getInt(unix.SO_ACCEPTCONN), "0 <nil>"},
	{"getsockopt SO_PEEK_OFF", getInt(42), "0 ENOTSUP"},
	{"getsockopt SO_PEERCRED", getBytes(unix.SO_PEERCRED, 16), "00000000ffffffffffffffff <nil>"},
	{"getsockopt SO_PEERCRED, short", getBytes(unix.SO_PEERCRED, 6), "00000000ffff <nil>"},
	{"getsockopt SO_PEERNAME", getBytes(28, 16), " ENOTCONN"},
	{"getsockopt SO_PEERGROUPS", getBytes(59, 16), " ENODATA"},
	{"getsockopt SO_TYPE, short", getBytes(unix.SO_TYPE, 2), "0300 <nil>"},
	{"getsockopt SO_TYPE, nowhere", func(s int) (string, error) {
		n := uint32(4)
		_, err := raw(unix.SYS_GETSOCKOPT, uintptr(s), unix.SOL_SOCKET, unix.SO_TYPE, 8, uintptr(unsafe.Pointer(&n)))
		return "", err
	}, " EFAULT"},
	{"getsockopt SO_TYPE, no length", func(s int) (string, error) {
		_, err := raw(unix.SYS_GETSOCKOPT, uintptr(s), unix.SOL_SOCKET, unix.SO_TYPE, 8, 8)
		return "", err
	}, " EFAULT"},
	{"setsockopt SO_RCVBUF", setInt(unix.SO_RCVBUF, 100), "2304 <nil>"},
	{"setsockopt SO_RCVBUF, too much", setInt(unix.SO_RCVBUF, 1e7), "425984 <nil>"},
	{"setsockopt SO_RCVBUF, negative", setInt(unix.SO_RCVBUF, -1), "425984 <nil>"},
	{"setsockopt SO_SNDBUF", setInt(unix.SO_SNDBUF, 100), "4608 <nil>"},
	{"send beyond SO_SNDBUF", func(s int) (string, error) {
		return "", unix.Sendto(s, make([]byte, 5000), 0, nil)
	}, " EMSGSIZE"},
	{"setsockopt SO_RCVBUF, short", func(s int) (string, error) {
		var b [2]byte
		_, err := raw(unix.SYS_SETSOCKOPT, uintptr(s), unix.SOL_SOCKET, unix.SO_RCVBUF, uintptr(unsafe.Pointer(&b)), 2)
		return "", err
	}, " EINVAL"},
	{"getsockname", errOf(func(s int) error { _, err := unix.Getsockname(s); return err }), " ENOTSUP"},
	{"getpeername", errOf(func(s int) error { _, err := unix.Getpeername(s); return err }), " ENOTSUP"},
	{"bind", func(s int) (string, error) { return "", unix.Bind(s, &unix.SockaddrUnix{Name: "@x"}) }, " ENOTSUP"},
	{"bind, long", address(unix.SYS_BIND, 200), " EINVAL"},
	{"bind, nowhere", errOf(func(s int) error {
		_, err := raw(unix.SYS_BIND, uintptr(s), 8, 16)
		return err
	}), " EFAULT"},
	{"connect", address(unix.SYS_CONNECT, 16), " ENOTSUP"},
	{"connect, long", address(unix.SYS_CONNECT, 200), " EINVAL"},
	{"listen", func(s int) (string, error) { return "", unix.Listen(s, 1) }, " ENOTSUP"},
	{"accept", errOf(func(s int) error { _, err := raw(sysAccept, uintptr(s)); return err }), " ENOTSUP"},
	{"accept4", errOf(func(s int) error { _, _, err := unix.Accept4(s, unix.SOCK_CLOEXEC); return err }), " ENOTSUP"},
	{"accept4, wrong flags", errOf(func(s int) error { _, _, err := unix.Accept4(s, 1); return err }), " EINVAL"},
	{"shutdown", func(s int) (string, error) { return "", unix.Shutdown(s, unix.SHUT_RDWR) }, " ENOTSUP"},
	{"ioctl SIOCATMARK", ioctlInt(unix.SIOCATMARK), " ENOTSUP"},
	{"ioctl TIOCOUTQ", ioctlInt(unix.TIOCOUTQ), " ENOTSUP"},
	{"ioctl SIOCGIFINDEX", ioctlInt(unix.SIOCGIFINDEX), " ENOTSUP"},
	{"ioctl SIOCGPGRP", ioctlInt(0x8904), " <nil>"},
	{"send", func(s int) (string, error) { return "", unix.Sendto(s, request(9, 3, 1), 0, nil) }, " <nil>"},
	{"send, out of band", errOf(func(s int) error {
		return unix.Sendto(s, request(9, 3, 1), unix.MSG_OOB, nil)
	}), " ENOTSUP"},
	{"send, out of band and nowhere", func(s int) (string, error) {
		_, err := raw(unix.SYS_SENDTO, uintptr(s), 8, 16, unix.MSG_OOB)
		return "", err
	}, " ENOTSUP"},
	{"send, nowhere", errOf(func(s int) error {
		_, err := raw(unix.SYS_SENDTO, uintptr(s), 8, 16)
		return err
	}), " EFAULT"},
	{"send, nowhere and long", errOf(func(s int) error {
		_, err := raw(unix.SYS_SENDTO, uintptr(s), 8, 1e6)
		return err
	}), " EMSGSIZE"},
	{"sendto an address", func(s int) (string, error) {
		return "", unix.Sendto(s, request(9, 3, 1), 0, &unix.SockaddrInet4{Port: 1})
	}, " <nil>"},
	{"sendto, long address", sendto(200), " EINVAL"},
	{"sendto, negative address", sendto(-1), " EINVAL"},
	{"writev of too many", func(s int) (string, error) {
		v := make([]unix.Iovec, 1025)
		_, err := raw(unix.SYS_WRITEV, uintptr(s), uintptr(unsafe.Pointer(&v[0])), 1025)
		return "", err
	}, " EINVAL"},
	{"sendmsg of too many", func(s int) (string, error) {
		v := make([]unix.Iovec, 1025)
		h := unix.Msghdr{Iov: &v[0]}
		h.SetIovlen(1025)
		_, err := raw(unix.SYS_SENDMSG, uintptr(s), uintptr(unsafe.Pointer(&h)))
		return "", err
	}, " EMSGSIZE"},
	{"sendmsg with descriptors", func(s int) (string, error) {
		return "", unix.Sendmsg(s, request(9, 3, 1), unix.UnixRights(s), nil, 0)
	}, " <nil>"},
	{"sendmmsg of two, the second bad", func(s int) (string, error) {
		one, two := iovec(request(9, 3, 1)), iovec([]byte{1, 2, 3})
		h := [2]mmsghdr{{Msghdr: unix.Msghdr{Iov: &one}}, {Msghdr: unix.Msghdr{Iov: &two}}}
		h[0].SetIovlen(1)
		h[1].SetIovlen(1)
		n, err := raw(unix.SYS_SENDMMSG, uintptr(s), uintptr(unsafe.Pointer(&h)), 2)
		return fmt.Sprint(n, h[0].len, h[1].len), err
	}, "1 16 0 <nil>"},
	{"pwrite", errOf(func(s int) error { _, err := unix.Pwrite(s, request(9, 3, 1), 0); return err }), " ESPIPE"},
	{"pwritev2 at a place", pwritev2(0, 0), " ESPIPE"},
	{"pwritev2 at a place before the first", pwritev2(-2, 0), " EINVAL"},
	{"pwritev2 with RWF_NOWAIT", pwritev2(-1, 8), " ENOTSUP"},
	{"pwritev2 at a place with RWF_NOWAIT", pwritev2(0, 8), " ESPIPE"},
	{"pwritev2 with RWF_HIPRI, RWF_DSYNC, RWF_SYNC and RWF_APPEND", pwritev2(-1, 0x17), " <nil>"},
	{"pwritev2 with RWF_NOAPPEND, which Linux 6.1 has not", pwritev2(-1, 0x20), " ENOTSUP"},
	{"pwritev2 with unknown flags", pwritev2(-1, 1<<30), " ENOTSUP"},
	{"pwritev2 of nothing, with unknown flags", errOf(func(s int) error {
		_, err := raw(unix.SYS_PWRITEV2, uintptr(s), 0, 0, ^uintptr(0), 0, 1<<30)
		return err
	}), " <nil>"},
	{"a closed descriptor", errOf(func(int) error {
		_, err := unix.Write(99, request(9, 3, 1))
		return err
	}), " EBADF"},
}

// errOf is a call of which only the errno counts.
func errOf(do func(s int) error) func(int) (string, error) {
	return func(s int) (string, error) { return "", do(s) }
}

func getInt(option int) func(int) (string, error) {
	return func(s int) (string, error) {
		v, err := unix.GetsockoptInt(s, unix.SOL_SOCKET, option)
		return strconv.Itoa(v), err
	}
}

func setInt(option, value int) func(int) (string, error) {
	return func(s int) (string, error) {
		if err := unix.SetsockoptInt(s, unix.SOL_SOCKET, option, value); err != nil {
			return "", err
		}
		return getInt(option)(s)
	}
}

func getBytes(option uintptr, room uint32) func(int) (string, error) {
	return func(s int) (string, error) {
		b := make([]byte, 64)
		_, err := raw(unix.SYS_GETSOCKOPT,
			uintptr(s), unix.SOL_SOCKET, option, uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&room)))
		if err != nil {
			return "", err
		}
		return hex.EncodeToString(b[:room]), nil
	}
}

func address(call uintptr, n uintptr) func(int) (string, error) {
	return func(s int) (string, error) {
		b := make([]byte, 256)
		b[0] = unix.AF_KEY
		_, err := raw(call, uintptr(s), uintptr(unsafe.Pointer(&b[0])), n)
		return "", err
	}
}

func sendto(n int) func(int) (string, error) {
	return func(s int) (string, error) {
		b, msg := make([]byte, 256), request(9, 3, 1)
		_, err := raw(unix.SYS_SENDTO,
			uintptr(s), uintptr(unsafe.Pointer(&msg[0])), 16, 0, uintptr(unsafe.Pointer(&b[0])), uintptr(n))
		return "", err
	}
}

// pwritev2 writes a message at a place; -1: none.
func pwritev2(at int64, flags uintptr) func(int) (string, error) {
	return errOf(func(s int) error {
		v := iovec(request(9, 3, 1))
		_, err := raw(unix.SYS_PWRITEV2, uintptr(s), uintptr(unsafe.Pointer(&v)), 1, uintptr(at), 0, flags)
		return err
	})
}

func ioctlInt(request uintptr) func(int) (string, error) {
	return func(s int) (string, error) {
		var b [64]byte
		_, err := raw(unix.SYS_IOCTL, uintptr(s), request, uintptr(unsafe.Pointer(&b)))
		return "", err
	}
}

// calls does all of them on one socket, and says what came of it.
func calls() int {
	s, err := unix.Socket(unix.AF_KEY, unix.SOCK_RAW, 2)
	if err != nil {
		fmt.Println("FAIL socket:", err)
		return 1
	}
	for _, c := range socketCalls {
		text, err := c.do(s)
		fmt.Printf("%s: %s %s\n", c.name, text, errnoName(err))
	}
	return 0
}

func wantCalls() string {
	var want strings.Builder
	for _, c := range socketCalls {
		fmt.Fprintf(&want, "%s: %s\n", c.name, c.want)
	}
	return want.String()
}

func TestSocketCalls(t *testing.T) {
	needLaunch(t)
	board := newBoard(t)
	if err := board.Use(openKernel(t, "linux").session(t)); err != nil {
		t.Fatal(err)
	}
	out, _, err := run(t, board, launch.Options{}, helper("calls"))
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if diff := cmp.Diff(wantCalls(), out); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// The same on this machine's own PF_KEY, where it has one.
func TestSocketCallsHost(t *testing.T) {
	s, err := unix.Socket(unix.AF_KEY, unix.SOCK_RAW, 2)
	if err != nil {
		t.Skip("this kernel has no PF_KEY for us: ", err)
	}
	unix.Close(s)
	if os.Getenv(hostVariable) != "1" {
		t.Skipf("it flushes the SAs of this host: only with %s=1", hostVariable)
	}
	out, err := helper("calls").Output()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantCalls(), string(out)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// hostVariable is that of package pfkey's tests.
const hostVariable = "PFKEY_TEST_MAY_FLUSH_THE_SAD_OF_THIS_HOST"
