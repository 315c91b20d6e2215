package conform

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/internal/files"
	"github.com/pfkeyd/pfkeyd/testdata/golden"
)

// suffixes of the files that hold recordings, or packets.
var suffixes = []string{".jsonl", ".jsonl.gz", captureSuffix}

const captureSuffix = ".pcap"

// IsRecording reports whether a name is one that a recording or capture has, by its end.
func IsRecording(name string) bool {
	return slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(name, s) })
}

// Load reads the recordings and captures of a kernel: those at the given paths (files, and folders with what is below
// them), or the recordings built in if there are none. It returns what can be played in the order of the paths, sorted
// inside a folder, and an error for each place that cannot. It stops when ctx ends, which is for the caller to see.
func Load(ctx context.Context, k *Kernel, paths []string) (scs []*Scenario, captures []Capture, bad []error) {
	take := func(fsys fs.FS, name, shown string) {
		if ctx.Err() != nil {
			return
		}
		if strings.HasSuffix(name, captureSuffix) {
			c, err := k.Capture(fsys, name, shown)
			if err != nil {
				bad = append(bad, &InputError{File: shown, Err: err})
				return
			}
			captures = append(captures, c)
			return
		}
		r, err := OpenFile(fsys, name)
		if err != nil {
			bad = append(bad, &InputError{File: shown, Err: err})
			return
		}
		defer r.Close()
		unread := 0
		for sc, err := range Read(r, shown, k) {
			switch {
			case ctx.Err() != nil:
				return
			case err == nil:
				scs = append(scs, sc)
				continue
			}
			bad = append(bad, err)
			if unread++; unread == maxUnread {
				bad = append(bad, &InputError{File: shown, Err: fmt.Errorf("left after %d lines that cannot be played",
					maxUnread)})
				return
			}
		}
	}
	// walk takes every recording below dir; shown maps its path to that which errors show.
	walk := func(fsys fs.FS, dir string, shown func(string) string) {
		found := false
		err := fs.WalkDir(fsys, dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				bad = append(bad, &InputError{File: shown(p), Err: plain(err)})
				return nil
			}
			if !d.IsDir() && IsRecording(p) {
				found = true
				take(fsys, p, shown(p))
			}
			return nil
		})
		if err == nil && !found {
			bad = append(bad, &InputError{File: shown(dir),
				Err: errors.New("no recordings (*.jsonl, *.jsonl.gz) or captures (*.pcap) in this folder")})
		}
	}
	if len(paths) == 0 {
		for _, folder := range k.Builtin {
			walk(golden.Files, folder, func(p string) string { return p })
		}
		return scs, captures, bad
	}
	for _, p := range paths {
		st, err := os.Stat(p)
		switch {
		case err != nil:
			bad = append(bad, &InputError{File: p, Err: plain(err)})
		case st.IsDir():
			walk(os.DirFS(p), ".", func(q string) string { return filepath.Join(p, filepath.FromSlash(q)) })
		case !IsRecording(p):
			bad = append(bad, &InputError{File: p, Err: fmt.Errorf("not a recording: want %s",
				strings.Join(suffixes, " or "))})
		default:
			take(os.DirFS(filepath.Dir(p)), filepath.Base(p), p)
		}
	}
	return scs, captures, bad
}

// Choose reads the scenarios of a kernel as [Load] does, without the captures, and leaves those whose names match run,
// a regular expression as [Config] has it. The error says what cannot be read, or that there are none.
func Choose(ctx context.Context, k *Kernel, paths []string, run string) ([]*Scenario, error) {
	pattern, err := compile(run)
	if err != nil {
		return nil, err
	}
	scs, _, bad := Load(ctx, k, paths)
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	scs = slices.DeleteFunc(scs, func(sc *Scenario) bool { return !wanted(pattern, sc.File, sc.Name) })
	if len(scs) == 0 && ctx.Err() == nil {
		return nil, fmt.Errorf("no scenario of %s matches %q", k.Name, run)
	}
	return scs, nil
}

// plain strips the path from an error of package os: the report names it already.
func plain(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// maxUnread is of how many lines of a file it is said that they cannot be played.
const maxUnread = 100

// maxFile bounds a recording or a capture, in bytes, as it is once it is uncompressed.
const maxFile = 256 << 20

// OpenFile opens a file that may be compressed, to be read up to its bound. It is no pipe and no device: a scenario has
// to be read whole before anything is played, and they may have no end.
func OpenFile(fsys fs.FS, name string) (io.ReadCloser, error) {
	st, err := fs.Stat(fsys, name)
	switch {
	case err != nil:
		return nil, plain(err)
	case !st.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, plain(err)
	}
	b := bufio.NewReader(f)
	if magic, _ := b.Peek(2); path.Ext(name) != ".gz" && string(magic) != "\x1f\x8b" {
		return bounded{files.AtMost(b, maxFile), f}, nil
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("not a gzip file: %w", unreadable(err))
	}
	return bounded{files.AtMost(z, maxFile), f}, nil
}

type bounded struct {
	io.Reader
	io.Closer
}
