package pfkey

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxPath is the longest path that fits into a sockaddr_un of this system with the NUL behind it.
const maxPath = len(unix.RawSockaddrUnix{}.Path) - 1

// A Listener is the Unix socket of an engine. It is safe for concurrent use.
type Listener struct {
	*net.UnixListener
	path  string
	made  fs.FileInfo // the socket in the file system, as we made it
	close sync.Once
	err   error
}

// Listen makes a SOCK_SEQPACKET Unix socket at path, usable by the own user and root only (mode 0600). If the directory is
// the default one it is made too (mode 0700).
//
// A socket that is already there is replaced if it is a leftover: it is ours and nobody holds it. Everything else at the path
// is left alone and is an error: a file that is no socket, a socket of somebody else, a living engine.
//
// Finding a leftover and replacing it are two steps, and so are bind and listen, between which a socket looks dead. The
// directory is locked meanwhile (flock, nothing is left behind), so of two engines that start at the same time one wins and
// the other is told that it is taken.
func Listen(path string) (*Listener, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	if dir == DefaultDir() {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("pfkey: default directory: %w", err)
		}
		if err := checkDir(dir); err != nil {
			return nil, err
		}
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := makeRoom(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		// On Linux the mode of the descriptor is that of the file from its first moment on; elsewhere this does nothing.
		return c.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), 0o600) })
	}}
	l, err := config.Listen(context.Background(), "unixpacket", bindable(path))
	if err != nil {
		if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EPROTOTYPE) {
			err = fmt.Errorf("%w (this system has no SOCK_SEQPACKET Unix sockets)", err)
		}
		return nil, fmt.Errorf("pfkey: %w", err)
	}
	own := &Listener{UnixListener: l.(*net.UnixListener), path: path}
	own.SetUnlinkOnClose(false)
	if err = os.Chmod(path, 0o600); err == nil {
		own.made, err = os.Lstat(path)
	}
	if err != nil {
		own.UnixListener.Close()
		return nil, fmt.Errorf("pfkey: %w", err)
	}
	return own, nil
}

// Path returns the path of the socket as it was given to [Listen].
func (l *Listener) Path() string { return l.path }

// Close stops listening, and removes the socket from the file system if the one at the path is still the one that Listen
// made. A second call does nothing and returns the same error.
func (l *Listener) Close() error {
	l.close.Do(func() {
		// While the socket is open its inode cannot be given to another file, so it is compared before it is closed.
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(l.made, now) {
			l.err = os.Remove(l.path)
		}
		if err := l.UnixListener.Close(); err != nil {
			l.err = err
		}
	})
	return l.err
}

// checkPath says in plain words what bind would call an invalid argument.
func checkPath(path string) error {
	switch {
	case path == "":
		return errors.New("pfkey: the path of the socket is empty")
	case strings.IndexByte(path, 0) >= 0:
		return fmt.Errorf("pfkey: the path of the socket has a NUL in it: %q", path)
	case len(bindable(path)) > maxPath:
		return fmt.Errorf("pfkey: the path of the socket is %d bytes long, this system allows %d: %q", len(bindable(path)), maxPath, path)
	}
	return nil
}

// bindable keeps a path that begins with "@" from meaning something else on Linux.
func bindable(path string) string {
	if strings.HasPrefix(path, "@") {
		return "./" + path
	}
	return path
}

// checkDir says whether the default directory is ours alone.
func checkDir(dir string) error {
	st, err := os.Lstat(dir)
	switch {
	case err != nil:
		return fmt.Errorf("pfkey: %w", err)
	case !st.IsDir():
		return fmt.Errorf("pfkey: %s is not a directory", dir)
	case !ours(st):
		return fmt.Errorf("pfkey: the directory %s belongs to somebody else", dir)
	case st.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("pfkey: the directory %s has mode %04o, others may use it; it must be 0700", dir, st.Mode().Perm())
	}
	return nil
}

func ours(st fs.FileInfo) bool {
	s, ok := st.Sys().(*syscall.Stat_t)
	return ok && int64(s.Uid) == int64(os.Geteuid())
}

// makeRoom removes a leftover of ours at path. The directory is locked.
func makeRoom(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("pfkey: %w", err)
	case st.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("pfkey: %s exists and is not a socket", path)
	case !ours(st):
		return fmt.Errorf("pfkey: the socket %s belongs to somebody else", path)
	}
	live, err := alive(path)
	switch {
	case err != nil:
		return fmt.Errorf("pfkey: the socket %s exists, and whether it is in use cannot be found out: %w", path, err)
	case live:
		return fmt.Errorf("pfkey: the socket %s is in use by a running engine", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("pfkey: leftover socket: %w", err)
	}
	return nil
}

// alive says whether somebody holds the socket at path. It asks with a socket of the wrong type: a living one answers
// EPROTOTYPE and does not notice, even when its queue of connections is full; a leftover answers ECONNREFUSED.
func alive(path string) (bool, error) {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: bindable(path), Net: "unixgram"})
	switch {
	case err == nil:
		c.Close()
		return true, nil
	case errors.Is(err, unix.EPROTOTYPE):
		return true, nil
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOENT):
		return false, nil
	}
	return false, err
}

// lockTries times lockPause is how long a directory may be locked by another engine that starts.
const (
	lockTries = 200
	lockPause = 10 * time.Millisecond
)

// lockDir keeps other engines from starting in the same directory until unlock is called.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("pfkey: directory of the socket: %w", err)
	}
	for range lockTries {
		if err = flock(f); err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			break
		}
		pause(context.Background(), lockPause)
	}
	f.Close()
	return nil, fmt.Errorf("pfkey: directory of the socket: cannot lock %s: %w", dir, err)
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}
