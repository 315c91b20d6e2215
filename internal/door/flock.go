//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package door

import (
	"os"

	"golang.org/x/sys/unix"
)

// flock locks f for as long as it is open, and does not wait.
func flock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
