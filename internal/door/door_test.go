//go:build unix

package door_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/door"
)

// A listener gives what it was told to.
type listener struct {
	net.Listener
	results []error // nil is a connection
}

func (l *listener) Accept() (net.Conn, error) {
	err := l.results[0]
	l.results = l.results[1:]
	return nil, err
}

func accept(errno unix.Errno) error {
	return &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", errno)}
}

// What passes is waited for, longer each time and no longer than a second; after a connection it begins anew.
func TestAcceptor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &listener{}
		for _, errno := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED,
			unix.EINTR} {
			l.results = append(l.results, accept(errno))
		}
		for range 4 {
			l.results = append(l.results, accept(unix.EMFILE))
		}
		broken := accept(unix.EBADF)
		l.results = append(l.results, nil, accept(unix.EMFILE), broken)
		var waits []time.Duration
		a := door.Acceptor{Listener: l, Waits: func(err error, retry time.Duration) {
			waits = append(waits,
				retry/time.Millisecond)
		}}
		begin := time.Now()
		if _, err := a.Accept(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 3275*time.Millisecond {
			t.Errorf("it waited %v", took)
		}
		if _, err := a.Accept(); !errors.Is(err, unix.EBADF) {
			t.Errorf("a broken listener: %v", err)
		}
		if diff := cmp.Diff([]time.Duration{5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 5}, waits); diff != "" {
			t.Errorf("waits in ms (-want +got)\n%s", diff)
		}
	})
}

// A stop ends the wait at once.
func TestAcceptorStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		l := &listener{results: []error{accept(unix.EMFILE)}}
		a := door.Acceptor{Listener: l, Stop: stop, Waits: func(error, time.Duration) { close(stop) }}
		begin := time.Now()
		if _, err := a.Accept(); !errors.Is(err, net.ErrClosed) || time.Since(begin) != 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func TestCheckPath(t *testing.T) {
	limit := len(unix.RawSockaddrUnix{}.Path) - 1
	for _, tt := range []struct {
		path, want string // "": taken
	}{
		{"e.sock", ""}, {"./@e", ""}, {strings.Repeat("x", limit), ""},
		{"", "empty"}, {"@e", `"./@e"`}, {"a\x00b", "NUL"}, {strings.Repeat("x", limit+1), "bytes long"},
	} {
		err := door.CheckPath(tt.path)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.path, err, tt.want)
		}
	}
}

// The own engine is dialled, and the other side is checked in the same way.
func TestDial(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := door.Dial(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := door.Check(other); err != nil {
		t.Error(err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if err := door.Check(a); err == nil || !strings.Contains(err.Error(), "no Unix socket") {
		t.Errorf("a pipe: %v", err)
	}
}
