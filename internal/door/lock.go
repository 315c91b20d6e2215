//go:build unix

package door

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockTries times lockPause is how long a path may be locked by another engine that starts.
const (
	lockTries = 200
	lockPause = 10 * time.Millisecond
)

// lock keeps other engines of this user from starting at path until unlock is called. What it locks is a file of its
// own beside path: whoever may read a directory can lock that one, and would keep engines from starting for ever.
func lock(path string) (unlock func(), err error) {
	dir := filepath.Dir(path)
	path += ".lock"
	for range lockTries {
		var f *os.File
		if f, err = tryLock(path); err == nil {
			return func() {
				os.Remove(path) // before it is unlocked, so that nobody removes the next one's
				f.Close()
			}, nil
		}
		if !errors.Is(err, errLocked) {
			break
		}
		time.Sleep(lockPause)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EROFS):
		return nil, fmt.Errorf("directory of the socket: %s: %w", dir, err)
	case errors.Is(err, unix.ELOOP):
		err = errors.New("it is a link; remove it, or choose another path for the socket")
	}
	return nil, fmt.Errorf("the lock file %s: %w", path, err)
}

var errLocked = errors.New("another engine that starts holds it")

// tryLock makes the file if it is not there, and locks it. It does not wait.
func tryLock(path string) (_ *os.File, err error) {
	// A link that somebody has put there is not followed, and a FIFO does not block.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err
		}
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular() || !ours(st):
		return nil, errors.New("it belongs to somebody else; remove it, or choose another path for the socket")
	}
	switch err := flock(f); {
	case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EINTR):
		return nil, errLocked
	case err != nil:
		return nil, err
	}
	// Who held the lock until now has removed the file: then this one is nobody's any more.
	if now, err := os.Lstat(path); err != nil || !os.SameFile(st, now) {
		return nil, errLocked
	}
	return f, nil
}
