package ipseckey

import (
	"io"
)

// FileInfo is what the command wants to know of a file.
type FileInfo struct {
	Regular bool
	Perm    uint32 // permission bits with set-id and sticky bits
	UID     int    // of the owner
}

// Files is the file system as the command needs it.
type Files interface {
	// Stat follows links.
	Stat(name string) (FileInfo, error)
	// Open opens a file for reading; what is told of it belongs to the file that was opened.
	Open(name string) (io.ReadCloser, FileInfo, error)
	// Create makes a new file with mode 0400, or truncates one that exists and tells what it was before: created is false then.
	// An existing file keeps its mode.
	Create(name string) (f io.WriteCloser, old FileInfo, created bool, err error)
}
