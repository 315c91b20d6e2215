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
	const attach, gate, trace = 1, 2, 3
	head := func(op byte) []byte { return []byte{op, 0, 0, 0, 0, 0, 0, 9} }
	cred := make([]byte, 12)
	for _, tt := range []struct {
		name  string
		msg   []byte
		fds   int
		errno byte // of the reply
		end   bool // hangs up instead
	}{
		{name: "gate", msg: head(gate)},
		{name: "gate with a descriptor", msg: head(gate), fds: 1},
		{name: "attach without a descriptor", msg: append(head(attach), cred...), errno: byte(unix.EMFILE)},
		{name: "attach with two", msg: append(head(attach), cred...), fds: 2, errno: byte(unix.EMFILE)},
		{name: "attach something else", msg: append(head(attach), cred...), fds: 1, errno: byte(unix.EIO)},
		{name: "trace where there is none", msg: append(head(trace), 1, 0, 0, 0), fds: 1, errno: byte(unix.EOPNOTSUPP)},
		{name: "unknown", msg: head(77), end: true},
		{name: "short", msg: head(gate)[:7], end: true},
		{name: "long", msg: append(head(attach), make([]byte, 100)...), fds: 3, end: true},
		{name: "gate with a body", msg: append(head(gate), 1), end: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			office := openOffice(t)
			before := leak.OpenFiles()
			end, hand := pair(t)
			done := make(chan struct{})
			go func() { office.desk.ServeConn(end); close(done) }()
			buf := make([]byte, 64)
			n, err := hand.Read(buf)
			if err != nil || string(buf[:n]) != "PFKH\x00\x01illumos:/nowhere" {
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
			} else if want := string(append([]byte{tt.msg[0], 0, 0, 0, 0, 0, 0, 9, 0, 0, 0}, tt.errno)); err != nil || string(buf[:n]) != want {
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
	for name, greeting := range map[string]string{"stranger": "HTTP/1.1 200", "future": "PFKH\x00\x02x", "nothing": ""} {
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
