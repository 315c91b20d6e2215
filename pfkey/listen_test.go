package pfkey_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/door"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

func TestListenModes(t *testing.T) {
	dir := atHome(t)
	l := listen(t, pfkey.DefaultPath("linux"))
	for path, want := range map[string]fs.FileMode{dir: fs.ModeDir | 0o700, l.Addr().String(): fs.ModeSocket | 0o600} {
		if st, err := os.Lstat(path); err != nil || st.Mode() != want {
			t.Errorf("%s: mode %v %v, want %v", path, st.Mode(), err, want)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(l.Addr().String()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// What is in the way stays there, and the error says what it is.
func TestListenInTheWay(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		make       func(t *testing.T, path string)
	}{
		{"file", "not a socket", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"directory", "not a socket", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}},
		{"link to a leftover", "not a socket", func(t *testing.T, path string) {
			leftover(t, path+".there")
			if err := os.Symlink(path+".there", path); err != nil {
				t.Fatal(err)
			}
		}},
		{"engine", "in use", func(t *testing.T, path string) { listen(t, path) }},
		{"engine that accepts nothing more", "in use", func(t *testing.T, path string) {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(fd) })
			if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
				t.Fatal(err)
			}
			waiting, err := net.Dial("unixpacket", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { waiting.Close() })
		}},
		{"stream socket in use", "in use", func(t *testing.T, path string) {
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}},
		{"leftover of somebody else", "somebody else", func(t *testing.T, path string) {
			leftover(t, path)
			if err := os.Chown(path, 12345, 12345); err != nil {
				t.Skipf("needs root: %v", err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			tt.make(t, path)
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			l, err := pfkey.Listen(path)
			if err == nil {
				l.Close()
				t.Fatal("it listens")
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %q, want %q and the path in it", err, tt.want)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("it is not there any more: %v", err)
			}
		})
	}
}

func TestListenReplacesLeftover(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	leftover(t, path)
	listen(t, path)
	c, err := net.Dial("unixpacket", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestListenPath(t *testing.T) {
	limit := len(unix.RawSockaddrUnix{}.Path) - 1
	dir := t.TempDir()
	fits := filepath.Join(dir, strings.Repeat("x", limit-len(dir)-1))
	listen(t, fits)
	_, err := pfkey.Listen(fits + "y")
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint(limit)) ||
		!strings.Contains(err.Error(), fmt.Sprint(limit+1)) {
		t.Errorf("a path one too long: %v, want both lengths", err)
	}
	for _, bad := range []string{"", "a\x00b", filepath.Join(dir, "none", "s")} {
		if _, err := pfkey.Listen(bad); err == nil {
			t.Errorf("%q: it listens", bad)
		}
	}
	// On Linux a leading @ would be another name space, without a file and its mode.
	t.Chdir(dir)
	if _, err := pfkey.Listen("@s"); err == nil || !strings.Contains(err.Error(), `"./@s"`) {
		t.Errorf("an abstract socket: %v, want the path of the file", err)
	}
	listen(t, "./@s")
	if _, err := os.Lstat("@s"); err != nil {
		t.Error(err)
	}
}

// A socket that somebody else has put in the place of ours stays when we go.
func TestListenerCloseForeign(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := listen(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	successor := listen(t, path)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	c, err := net.Dial("unixpacket", path)
	if err != nil {
		t.Fatalf("the successor cannot be reached: %v", err)
	}
	c.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := successor.Close(); err != nil {
		t.Errorf("closing when the path is gone: %v", err)
	}
}

// A lock that others hold on the directory, or a lock file of theirs, keeps no engine from starting for ever.
func TestListenLocked(t *testing.T) {
	for _, tt := range []struct {
		name, want string // the error, "" for none
		make       func(t *testing.T, path string)
	}{
		{"directory locked", "", func(t *testing.T, path string) {
			f, err := os.Open(filepath.Dir(path))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
				t.Fatal(err)
			}
		}},
		{"left behind by a killed engine", "", func(t *testing.T, path string) {
			if err := os.WriteFile(path+".lock", nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"link", "it is a link", func(t *testing.T, path string) {
			if err := os.Symlink(path+".there", path+".lock"); err != nil {
				t.Fatal(err)
			}
		}},
		{"pipe", "belongs to somebody else", func(t *testing.T, path string) {
			if err := unix.Mkfifo(path+".lock", 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"of somebody else", "belongs to somebody else", func(t *testing.T, path string) {
			if err := os.WriteFile(path+".lock", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(path+".lock", 12345, 12345); err != nil {
				t.Skipf("needs root: %v", err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			tt.make(t, path)
			l, err := pfkey.Listen(path)
			if err == nil {
				defer l.Close()
			}
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(),
					path+".lock") {
					t.Errorf("%v, want %q and the lock file", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(path + ".lock"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the lock file is still there: %v", err)
			}
		})
	}
}

// Listen touches no file but the one it makes: what a link points to keeps its mode. On Linux the mode of the socket is
// right from its first moment on, whatever the mask of the process, so that nothing is left to change later.
func TestListenMask(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	dir := t.TempDir()
	for name, network := range map[string]string{"packets": "unixpacket", "stream": "unix"} {
		l, err := door.Listen(network, filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if st, err := os.Lstat(l.Addr().String()); err != nil || st.Mode() != fs.ModeSocket|0o600 {
			t.Errorf("%s: mode %v %v", name, st.Mode(), err)
		}
	}
}

// Of many engines that start over one leftover at the same time exactly one wins.
func TestListenRace(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "s")
		leftover(t, path)
		var starting sync.WaitGroup
		listeners := make([]net.Listener, 8)
		for i := range listeners {
			starting.Go(func() {
				l, err := pfkey.Listen(path)
				if err != nil && !strings.Contains(err.Error(), "in use") {
					t.Error(err)
				}
				listeners[i] = l
			})
		}
		starting.Wait()
		won := 0
		for _, l := range listeners {
			if l != nil {
				won++
				l.Close()
			}
		}
		if won != 1 {
			t.Fatalf("%d engines believe that they have the path", won)
		}
	}
}

// Others might put sockets of their own into a directory that is open to them.
func TestRunningElsewhere(t *testing.T) {
	dir := atHome(t)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	want := "pfkey: the directory " + dir + " has mode 0755, others may use it; it must be 0700"
	if _, err := pfkey.Running(); err == nil || err.Error() != want {
		t.Errorf("Running: %v, want %s", err, want)
	}
}
