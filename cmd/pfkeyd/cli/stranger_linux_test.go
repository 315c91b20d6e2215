package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/control"
	"github.com/pfkeyd/pfkeyd/internal/door"
	"github.com/pfkeyd/pfkeyd/launch"
	"github.com/pfkeyd/pfkeyd/packetport"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

const stranger = 12345

// listenAs makes a socket that another user listens on.
func listenAs(t *testing.T, uid int, typ int, path string) {
	t.Helper()
	result := make(chan error)
	var fd int
	go func() {
		// The user of one thread only is changed; the thread ends with this goroutine, because it is not unlocked.
		runtime.LockOSThread()
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0))
		if errno != 0 {
			result <- errno
			return
		}
		var err error
		if fd, err = unix.Socket(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0); err == nil {
			err = errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 8))
		}
		result <- err
	}()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
}

// Who listens at an engine's path in the place of the engine is told nothing, at none of its ports.
func TestStranger(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to become somebody else")
	}
	dir, err := os.MkdirTemp("/tmp", "stranger")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	listenAs(t, stranger, unix.SOCK_SEQPACKET, path)
	listenAs(t, stranger, unix.SOCK_SEQPACKET, packetport.Path(path))
	listenAs(t, stranger, unix.SOCK_STREAM, control.Path(path))
	listenAs(t, stranger, unix.SOCK_SEQPACKET, launch.AttachPath(path))
	for port, dial := range map[string]func() error{
		"PF_KEY":  func() error { _, err := pfkey.Dial(t.Context(), "illumos:"+path); return err },
		"packets": func() error { _, err := packetport.Dial(t.Context(), packetport.Path(path)); return err },
		"control": func() error { _, err := control.NewClient(control.Path(path)).Clock(t.Context()); return err },
		"attach":  func() error { _, err := launch.Dial(launch.AttachPath(path)); return err },
	} {
		err := dial()
		var e *door.StrangerError
		if !errors.As(err, &e) || e.UID != stranger {
			t.Errorf("%s: %v, want that user %d listens there", port, err, stranger)
		}
	}
	var out bytes.Buffer
	code := Run(context.Background(), []string{"status", "--engine", "illumos:" + path}, nil, &out, &out)
	if code != 1 || !strings.Contains(out.String(), "nothing is sent to a stranger") {
		t.Errorf("status: exit %d, %s", code, &out)
	}
}
