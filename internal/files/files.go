// Package files opens and reads files of which a command knows nothing but the name. A pipe without a writer, a device
// or something without an end may stand there: no wait outlasts a context, and every read has a bound.
package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ErrInterrupted is in the chain of an error that says that the context has ended.
var ErrInterrupted = errors.New("interrupted")

// ErrTooLong is in the chain of an error that says that there is more than may be read.
var ErrTooLong = errors.New("too long")

// A File is open for reading. One goroutine uses it.
type File struct {
	io.Reader // of which every Read ends with the context
	file      *os.File
}

// Open opens a file for reading. It waits for a writer where the name is that of a pipe, and so does Read, but no
// longer than until ctx ends.
func Open(ctx context.Context, name string) (*File, error) {
	f, err := open(ctx, name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	return &File{Until(ctx, f), f}, nil
}

// Stat tells of the file that was opened.
func (f *File) Stat() (fs.FileInfo, error) { return f.file.Stat() }

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// Create makes a file, or empties the one that is there, for writing. It waits for a reader where the name is that of a
// pipe, until ctx ends.
func Create(ctx context.Context, name string, perm fs.FileMode) (*os.File, error) {
	return open(ctx, name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
}

// Reopen empties a file that is there, for writing, and waits as Create does.
func Reopen(ctx context.Context, name string) (*os.File, error) {
	return open(ctx, name, os.O_WRONLY|os.O_TRUNC, 0)
}

// open is os.OpenFile that gives up with ctx.
func open(ctx context.Context, name string, flag int, perm fs.FileMode) (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	opened := make(chan result, 1)
	go func() { // a pipe may have nobody at the other side for ever: then it is left behind
		f, err := os.OpenFile(name, flag, perm)
		opened <- result{f, err}
	}()
	select {
	case r := <-opened:
		return r.file, r.err
	case <-ctx.Done():
	}
	go func() {
		if r := <-opened; r.err == nil {
			r.file.Close()
		}
	}()
	return nil, &fs.PathError{Op: "open", Path: name, Err: ErrInterrupted}
}

// ReadAll reads a file of at most max bytes whole. The error for a longer one has ErrTooLong in its chain.
func ReadAll(ctx context.Context, name string, max int64) ([]byte, error) {
	f, err := Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(AtMost(f, max))
	if err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			return nil, pe // names the file itself
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// AtMost reads from r up to its end, and gives an error with ErrTooLong in its chain if that is behind more than max
// bytes.
func AtMost(r io.Reader, max int64) io.Reader { return &atMost{r: r, max: max, left: max} }

type atMost struct {
	r         io.Reader
	max, left int64
}

func (a *atMost) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	// One more byte than there may be tells whether that is the end.
	n, err := a.r.Read(b[:min(int64(len(b)), a.left+1)])
	if int64(n) > a.left {
		n = int(a.left)
		a.left = 0
		return n, fmt.Errorf("%w: there are more than %d bytes", ErrTooLong, a.max)
	}
	a.left -= int64(n)
	return n, err
}

// Until reads from r, and gives ErrInterrupted once ctx has ended. A Read of r that is under way then is left behind,
// and what it gets is lost.
func Until(ctx context.Context, r io.Reader) io.Reader {
	if ctx.Done() == nil {
		return r
	}
	return &until{ctx: ctx, r: r, got: make(chan result, 1)}
}

// untilBuffer is how much is read from a file at a time.
const untilBuffer = 64 << 10

type until struct {
	ctx  context.Context
	r    io.Reader
	got  chan result
	buf  []byte
	left []byte // read, and not yet given
	err  error  // behind it
}

type result struct {
	n   int
	err error
}

func (u *until) Read(b []byte) (int, error) {
	switch {
	case u.ctx.Err() != nil:
		return 0, ErrInterrupted
	case len(b) == 0:
		return 0, nil
	}
	if len(u.left) == 0 && u.err == nil {
		if u.buf == nil {
			u.buf = make([]byte, untilBuffer)
		}
		go func() { // ends with the Read
			n, err := u.r.Read(u.buf)
			u.got <- result{n, err}
		}()
		select {
		case r := <-u.got:
			u.left, u.err = u.buf[:r.n], r.err
		case <-u.ctx.Done():
			return 0, ErrInterrupted
		}
	}
	if len(u.left) == 0 {
		return 0, u.err
	}
	n := copy(b, u.left)
	u.left = u.left[n:]
	return n, nil
}
