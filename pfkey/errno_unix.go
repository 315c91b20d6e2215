//go:build unix

package pfkey

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// errnoName is the name of an errno of this system, empty if it has none.
func errnoName(n syscall.Errno) string { return unix.ErrnoName(n) }
