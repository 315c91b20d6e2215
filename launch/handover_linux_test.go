package launch_test

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/leak"
	"github.com/pfkeyd/pfkeyd/launch"
)

// fileConn makes a connection of a file, which it closes.
func fileConn(t testing.TB, f *os.File) net.Conn {
	t.Helper()
	c, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pair is two ends of a session: one for a desk, one to speak by hand.
func pair(t testing.TB) (desk, hand *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	desk = fileConn(t, os.NewFile(uintptr(fds[0]), "desk")).(*net.UnixConn)
	hand = fileConn(t, os.NewFile(uintptr(fds[1]), "hand")).(*net.UnixConn)
	t.Cleanup(func() { hand.Close() })
	return desk, hand
}

// Whatever a switchboard says, a desk answers or hangs up, and keeps no descriptor.
func TestDeskProtocol(t *testing.T) {
	const attach, begin, trace, send, replay, call, set, get, sockets = 1, 2, 3, 4, 5, 6, 7, 8, 9
	head := func(op byte, more ...byte) []byte { return append([]byte{op, 0, 0, 0, 0, 0, 0, 9}, more...) }
	number, cred := make([]byte, 8), make([]byte, 8+16)
	for _, tt := range []struct {
		name  string
		msg   []byte
		fds   int
		errno byte // of the reply
		end   bool // hangs up instead
	}{
		{name: "attach without a descriptor", msg: head(attach, cred...), errno: byte(unix.ENFILE)},
		{name: "attach with two", msg: head(attach, cred...), fds: 2, errno: byte(unix.ENFILE)},
		{name: "attach something else", msg: head(attach, cred...), fds: 1, errno: byte(unix.EIO)},
		{name: "trace where there is none", msg: head(trace, 1, 0, 0, 0), fds: 1, errno: byte(unix.EOPNOTSUPP)},
		{name: "sockets where there is no list", msg: head(sockets), fds: 1, errno: byte(unix.ENOENT)},
		{name: "begin of no end", msg: head(begin, number...), errno: byte(unix.ENOTCONN)},
		{name: "send of no end", msg: head(send, append(number, 0, 0, 0, 1, 2)...), fds: 2, errno: byte(unix.ENOTCONN)},
		{name: "replay of no end", msg: head(replay, append(number, 0, 0, 0, 1)...), errno: byte(unix.ENOTCONN)},
		{name: "call of no end", msg: head(call, append(number, 0, 0, 0, 1)...), errno: byte(unix.ENOTCONN)},
		{name: "set of no end", msg: head(set, append(number, cred[:8]...)...), errno: byte(unix.ENOTCONN)},
		{name: "get of no end", msg: head(get, append(number, cred[:4]...)...), errno: byte(unix.ENOTCONN)},
		{name: "unknown", msg: head(77), end: true},
		{name: "short", msg: head(begin)[:7], end: true},
		{name: "long", msg: head(attach, make([]byte, 100)...), fds: 3, end: true},
		{name: "a message that is too long", msg: head(send, make([]byte, 12+16385)...), end: true},
		{name: "begin with a body", msg: head(begin, make([]byte, 9)...), end: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			office := openOffice(t)
			before := leak.OpenFiles()
			end, hand := pair(t)
			done := make(chan struct{})
			go func() { office.desk.ServeConn(end); close(done) }()
			buf := make([]byte, 64)
			n, err := hand.Read(buf)
			if err != nil || string(buf[:n]) != "PFKH\x00\x03illumos:/nowhere" {
				t.Fatalf("greeting %q, %v", buf[:n], err)
			}
			var rights []byte
			for range tt.fds {
				f, err := os.Open("/dev/null")
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				rights = append(rights, unix.UnixRights(int(f.Fd()))...)
			}
			if _, _, err := hand.WriteMsgUnix(tt.msg, rights, nil); err != nil {
				t.Fatal(err)
			}
			n, err = hand.Read(buf)
			if tt.end {
				if n > 0 {
					t.Errorf("reply %x", buf[:n])
				}
			} else if want := string([]byte{
				tt.msg[0], 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, tt.errno, 0, 0, 0, 0,
			}); err != nil || string(buf[:n]) != want {
				t.Errorf("reply %x, %v, want %x", buf[:n], err, want)
			}
			hand.Close()
			<-done
			if n := leak.OpenFiles(); n > before+tt.fds {
				t.Errorf("%d descriptors are left", n-before-tt.fds)
			}
		})
	}
}

// A stranger at the other side, or none, is an error and no hang.
func TestSessionRefuses(t *testing.T) {
	for name, greeting := range map[string]string{
		"stranger": "HTTP/1.1 200",
		"future":   "PFKH\x00\x04x",
		"nothing":  "",
	} {
		end, hand := pair(t)
		f, err := hand.File()
		if err != nil {
			t.Fatal(err)
		}
		hand.Close()
		if greeting != "" {
			if _, err := end.Write([]byte(greeting)); err != nil {
				t.Fatal(err)
			}
		}
		end.Close()
		if _, err := launch.NewSession(f); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := launch.Dial("/nonexistent"); err == nil {
		t.Error("no error for a path without an engine")
	}
}

// Whoever hands both ends of one pair over gets no engine that talks to itself.
func TestBothEnds(t *testing.T) {
	office := openOffice(t)
	end, hand := pair(t)
	go office.desk.ServeConn(end)
	buf := make([]byte, 64)
	if _, err := hand.Read(buf); err != nil {
		t.Fatal(err)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(fd int, msg ...byte) (errno byte) {
		t.Helper()
		var rights []byte
		if fd >= 0 {
			rights = unix.UnixRights(fd)
		}
		if _, _, err := hand.WriteMsgUnix(msg, rights, nil); err != nil {
			t.Fatal(err)
		}
		if n, err := hand.Read(buf); err != nil || n != 16 {
			t.Fatal(n, err)
		}
		return buf[11]
	}
	for i, fd := range fds {
		attach := append([]byte{1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, byte(i)}, make([]byte, 16)...)
		if errno := ask(fd, attach...); errno != 0 {
			t.Fatal(errno)
		}
		unix.Close(fd)
	}
	send := append([]byte{4, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}, request(9, 3, 1)...)
	if errno := ask(-1, send...); errno != 0 {
		t.Fatal(errno)
	}
	eventually(t, "both are let go", func() bool { return office.server.Counters().Open == 0 })
	if c := office.server.Counters(); c.Received != 1 || c.Refused == 0 {
		t.Errorf("counters %+v", c)
	}
}
