package pfkey_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/pfkey"
)

// Somebody who may write into the directory puts a link into the place of the socket as soon as it is there. The file
// that it points to keeps its mode, and Listen does not take the link for its socket.
func TestListenSwapped(t *testing.T) {
	dir := t.TempDir()
	path, victim := filepath.Join(dir, "s"), filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	in, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Skip("nothing tells here when the socket is there: ", err)
	}
	notices := os.NewFile(uintptr(in), "inotify")
	if _, err := unix.InotifyAddWatch(in, dir, unix.IN_CREATE); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() { // ends when the notices are closed, or with the file "end"
		defer close(stopped)
		buf := make([]byte, 4096)
		for {
			n, err := notices.Read(buf)
			switch {
			case err != nil || strings.Contains(string(buf[:n]), "end\x00"):
				return
			case strings.Contains(string(buf[:n]), "\x00s\x00"):
				os.Symlink(victim, path+".new")
				os.Rename(path+".new", path)
			}
		}
	}()
	for range 200 {
		if l, err := pfkey.Listen(path); err == nil { // an error says that the link was there in time
			l.Close()
		}
		os.Remove(path)
	}
	if err := os.WriteFile(filepath.Join(dir, "end"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	<-stopped
	notices.Close()
	if st, err := os.Stat(victim); err != nil || st.Mode().Perm() != 0o644 {
		t.Errorf("the file that the link points to has mode %v now, %v", st.Mode(), err)
	}
}
