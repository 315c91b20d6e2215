//go:build unix

package door

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Listener is one of the Unix sockets of an engine. It is safe for concurrent use.
type Listener struct {
	*net.UnixListener
	path  string
	made  fs.FileInfo // the socket in the file system, as we made it
	close sync.Once
	err   error
}

// Listen makes a Unix socket of a network such as "unixpacket" at path, usable by the own user and root only (mode
// 0600). If the directory is the default one it is made too (mode 0700).
//
// A socket that is already there is replaced if it is a leftover: it is ours and nobody holds it. Everything else at
// the path is left alone and is an error: a file that is no socket, a socket of somebody else, a living engine.
//
// Finding a leftover and replacing it are two steps, and so are bind and listen, between which a socket looks dead. A
// file path.lock of the own user is locked meanwhile and removed at the end, so of two engines that start at the same
// time one wins and the other is told that it is taken. Nobody else can hold that lock.
func Listen(network, path string) (*Listener, error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	if dir := filepath.Dir(path); dir == DefaultDir() {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("default directory: %w", err)
		}
		if err := CheckDir(dir); err != nil {
			return nil, err
		}
	}
	unlock, err := lock(path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := makeRoom(path); err != nil {
		return nil, err
	}
	l, err := bind(network, path)
	if err != nil {
		if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EPROTOTYPE) {
			err = fmt.Errorf("%w (this system has no SOCK_SEQPACKET Unix sockets)", err)
		}
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	made, err := os.Lstat(path)
	if err == nil && (made.Mode().Type() != fs.ModeSocket || !ours(made) || made.Mode().Perm()&0o077 != 0) {
		// Nobody but who may write into the directory can have done that.
		err = fmt.Errorf("something else has taken the place of the socket %s", path)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return &Listener{UnixListener: l, path: path, made: made}, nil
}

// Close stops listening, and removes the socket from the file system if the one at the path is still the one that
// Listen made. A second call does nothing and returns the same error.
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

// CheckDir says whether the default directory is ours alone.
func CheckDir(dir string) error {
	st, err := os.Lstat(dir)
	switch {
	case err != nil:
		return err
	case !st.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case !ours(st):
		return fmt.Errorf("the directory %s belongs to somebody else", dir)
	case st.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("the directory %s has mode %04o, others may use it; it must be 0700", dir,
			st.Mode().Perm())
	}
	return nil
}

func ours(st fs.FileInfo) bool {
	s, ok := st.Sys().(*syscall.Stat_t)
	return ok && int64(s.Uid) == int64(os.Geteuid())
}

// makeRoom removes a leftover of ours at path, which is locked.
func makeRoom(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s exists and is not a socket", path)
	case !ours(st):
		return fmt.Errorf("the socket %s belongs to somebody else", path)
	}
	live, err := Alive(path)
	switch {
	case err != nil:
		return fmt.Errorf("the socket %s exists, and whether it is in use cannot be found out: %w", path, err)
	case live:
		return fmt.Errorf("the socket %s is in use by a running engine", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("leftover socket: %w", err)
	}
	return nil
}

// Alive says whether somebody holds the socket at path. It asks with a socket of the wrong type: a living one answers
// EPROTOTYPE and does not notice, even when its queue of connections is full; a leftover answers ECONNREFUSED.
func Alive(path string) (bool, error) {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
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
