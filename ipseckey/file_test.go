//go:build unix

package ipseckey_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/pfkeyd/pfkeyd/ipseckey"
)

// TestOSFiles makes, truncates and reads files of this machine.
func TestOSFiles(t *testing.T) {
	var files ipseckey.OSFiles
	name := filepath.Join(t.TempDir(), "out")
	if _, err := files.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat: %v", err)
	}
	write := func(text string, wantCreated bool, wantPerm uint32) {
		t.Helper()
		f, old, created, err := files.Create(t.Context(), name)
		if err != nil || created != wantCreated || old.Perm != wantPerm {
			t.Fatalf("create: %+v, %v, %v", old, created, err)
		}
		if _, err := io.WriteString(f, text); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	write("a long text", true, 0)
	if info, err := os.Stat(name); err != nil || info.Mode() != 0o400 {
		t.Errorf("a new file: %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(name, 0o640|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	write("short", false, 0o1640)
	f, info, err := files.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	want := ipseckey.FileInfo{Regular: true, Perm: 0o1640, UID: os.Getuid()}
	if err != nil || string(b) != "short" || info != want {
		t.Errorf("%q, %+v, %v", b, info, err)
	}
	if info, err := files.Stat(filepath.Dir(name)); err != nil || info.Regular {
		t.Errorf("a folder: %+v, %v", info, err)
	}
	if _, _, _, err := files.Create(t.Context(), filepath.Dir(name)); err == nil {
		t.Error("a folder was truncated")
	}
}
