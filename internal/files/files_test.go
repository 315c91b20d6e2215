package files_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/files"
)

func fifo(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Skip("no named pipes here: ", err)
	}
	return name
}

// The other side of a pipe is waited for, and no longer than the context lasts.
func TestOpenWaits(t *testing.T) {
	for what, open := range map[string]func(context.Context, string) error{
		"Open": func(ctx context.Context, name string) error { _, err := files.Open(ctx, name); return err },
		"Create": func(ctx context.Context, name string) error {
			_, err := files.Create(ctx, name,
				0o600)
			return err
		},
		"Reopen":  func(ctx context.Context, name string) error { _, err := files.Reopen(ctx, name); return err },
		"ReadAll": func(ctx context.Context, name string) error { _, err := files.ReadAll(ctx, name, 1); return err },
	} {
		name := fifo(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- open(ctx, name) }()
		cancel()
		if err := <-done; !errors.Is(err, files.ErrInterrupted) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", what, err)
		}
		// Who was left behind goes on when the other side comes.
		if f, err := os.OpenFile(name, os.O_RDWR, 0); err == nil {
			f.Close()
		}
	}
}

// A pipe is read as it comes, and a Read ends with the context.
func TestReadWaits(t *testing.T) {
	name := fifo(t)
	wrote := make(chan *os.File)
	go func() {
		w, err := files.Create(t.Context(), name, 0)
		if err != nil {
			t.Error(err)
		}
		io.WriteString(w, "hello")
		wrote <- w
	}()
	ctx, cancel := context.WithCancel(t.Context())
	f, err := files.Open(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := <-wrote
	defer w.Close()
	b := make([]byte, 3)
	for _, want := range []string{"hel", "lo"} {
		if n, err := f.Read(b); string(b[:n]) != want || err != nil {
			t.Errorf("%q %v, want %q", b[:n], err, want)
		}
	}
	done := make(chan error)
	go func() {
		_, err := f.Read(b)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, files.ErrInterrupted) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := f.Read(b); !errors.Is(err, files.ErrInterrupted) {
		t.Errorf("and again: %v", err)
	}
}

// What is longer than it may be is an error, and not cut.
func TestBound(t *testing.T) {
	for _, tt := range []struct {
		text string
		max  int64
		long bool
	}{{"", 0, false}, {"x", 0, true}, {"12345", 5, false}, {"123456", 5, true}, {strings.Repeat("x", 1<<20), 1 << 20,
		false}} {
		name := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(name, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := files.ReadAll(t.Context(), name, tt.max)
		switch {
		case tt.long && (!errors.Is(err, files.ErrTooLong) || !strings.Contains(err.Error(), name)):
			t.Errorf("%d bytes of %d: %v", len(tt.text), tt.max, err)
		case !tt.long && (err != nil || !bytes.Equal(b, []byte(tt.text))):
			t.Errorf("%d bytes of %d: %d bytes, %v", len(tt.text), tt.max, len(b), err)
		}
	}
	if _, err := files.ReadAll(t.Context(), "/dev/zero", 1<<16); !errors.Is(err, files.ErrTooLong) && !errors.Is(err,
		fs.ErrNotExist) {
		t.Errorf("something without an end: %v", err)
	}
	if _, err := files.ReadAll(t.Context(), t.TempDir(), 1<<16); err == nil {
		t.Error("a directory is read")
	}
}
