//go:build !unix

package pfkey

import "syscall"

// errnoName knows no names: nobody can ask for them here.
func errnoName(syscall.Errno) string { return "" }
