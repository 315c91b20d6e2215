package ipseckey

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/files"
)

// FileInfo is what the command wants to know of a file.
type FileInfo struct {
	Regular bool
	Perm    uint32 // permission bits, with set-id and sticky bits as in chmod(1)
	UID     int    // of the owner
}

// Files is the file system as the command needs it.
type Files interface {
	// Stat follows links.
	Stat(name string) (FileInfo, error)
	// Open opens a file for reading; what is told of it belongs to the file that was opened. No wait for it, or in its
	// Read, goes on when ctx has ended.
	Open(ctx context.Context, name string) (io.ReadCloser, FileInfo, error)
	// Create makes a new file with mode 0400, or truncates one that exists and tells what it was before: created is
	// false then. An existing file keeps its mode. No wait goes on when ctx has ended.
	Create(ctx context.Context, name string) (f io.WriteCloser, old FileInfo, created bool, err error)
}

// OSFiles are the files of this machine. The umask must not take away the owner's right to read.
type OSFiles struct{}

// Stat implements [Files].
func (OSFiles) Stat(name string) (FileInfo, error) {
	info, err := os.Stat(name)
	if err != nil {
		return FileInfo{}, err
	}
	return fileInfo(info), nil
}

// Open implements [Files].
func (OSFiles) Open(ctx context.Context, name string) (io.ReadCloser, FileInfo, error) {
	f, err := files.Open(ctx, name)
	if err != nil {
		return nil, FileInfo{}, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, FileInfo{}, err
	}
	return f, fileInfo(info), nil
}

// Create implements [Files].
func (OSFiles) Create(ctx context.Context, name string) (io.WriteCloser, FileInfo, bool, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err == nil {
		return endWith(ctx, f), FileInfo{}, true, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return nil, FileInfo{}, false, err
	}
	f, err = files.Reopen(ctx, name)
	if err != nil {
		return nil, FileInfo{}, false, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, FileInfo{}, false, err
	}
	return endWith(ctx, f), fileInfo(info), false, nil
}

// endWith makes writes to f, which may be a pipe that nobody reads, end with ctx.
func endWith(ctx context.Context, f *os.File) io.WriteCloser {
	return untilEnd{f, context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) })}
}

type untilEnd struct {
	*os.File
	forget func() bool
}

func (u untilEnd) Close() error {
	u.forget()
	return u.File.Close()
}

func fileInfo(info fs.FileInfo) FileInfo {
	perm := uint32(info.Mode().Perm())
	for bit, mode := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if info.Mode()&mode != 0 {
			perm |= bit
		}
	}
	return FileInfo{Regular: info.Mode().IsRegular(), Perm: perm, UID: owner(info)}
}
