package pfkey_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Another user is refused at the door, even where the modes of directory and socket would let it in.
func TestForeignUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to become somebody else")
	}
	s := newServer(t, newFake(), pfkey.ServerOptions{})
	path := serve(t, s)
	for dir := path; dir != filepath.Clean(os.TempDir()) && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	connected := make(chan *end)
	go func() {
		// The user of one thread only is changed; the thread ends with this goroutine, because it is not unlocked.
		runtime.LockOSThread()
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), 12345, ^uintptr(0)); errno != 0 {
			t.Errorf("setresuid: %v", errno)
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		}
		if err != nil {
			t.Errorf("connect: %v", err)
		}
		connected <- newEnd(t, fd)
	}()
	if got := (<-connected).recv(); got != nil {
		t.Errorf("answered %x", got)
	}
	eventually(t, "counted", func() bool { return s.Counters().Refused == 1 })
	c := connect(t, path)
	c.send(message(wire.MsgGet, 1, 16))
	c.recv()
}
