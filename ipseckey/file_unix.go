//go:build unix

package ipseckey

import (
	"io/fs"
	"syscall"
)

// owner is the user id of a file's owner.
func owner(info fs.FileInfo) int {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid)
	}
	return 0
}
