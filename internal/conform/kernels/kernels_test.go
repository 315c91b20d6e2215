package kernels_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/kernels"
	"github.com/pfkeyd/pfkeyd/testdata/golden"
)

// elsewhere are folders of recordings that other packages read: what programs said and printed.
var elsewhere = []string{"ipseckey", "setkey"}

// recorded is where all recordings are that one may have: those of the project, and those below a folder that
// PFKEYD_RECORDINGS names.
func recorded(t *testing.T) map[string]fs.FS {
	all := map[string]fs.FS{"golden": golden.Files, "derived": os.DirFS("../../../testdata/derived"),
		"pcaps": os.DirFS("../../../testdata/pcaps")}
	if more := os.Getenv("PFKEYD_RECORDINGS"); more != "" {
		all[filepath.Clean(more)] = os.DirFS(more)
	}
	return all
}

// Every line of every recording can be read: each operation, field, verdict and volatile span has its place. The name
// of a folder begins with that of the kernel.
func TestEveryLineIsRead(t *testing.T) {
	for root, fsys := range recorded(t) {
		read := map[string]int{}
		err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			folder := path.Base(path.Dir(name))
			kernel, _, _ := strings.Cut(folder, "-")
			capture := path.Ext(name) == ".pcap"
			if slices.Contains(elsewhere, kernel) || !capture && !strings.Contains(name, ".jsonl") {
				return nil
			}
			if capture {
				kernel = "linux"
			}
			k, err := kernels.ByName(kernel)
			if err != nil {
				t.Errorf("%s/%s: %v", root, name, err)
				return fs.SkipDir
			}
			shown := path.Join(root, name)
			if capture {
				if _, err := k.Capture(fsys, name, shown); err != nil {
					t.Errorf("%s: %v", shown, err)
				}
				read[folder]++
				return nil
			}
			f, err := conform.OpenFile(fsys, name)
			if err != nil {
				return err
			}
			defer f.Close()
			text, err := io.ReadAll(f)
			if err != nil {
				return err
			}
			lines := bytes.Split(text, []byte("\n"))
			for sc, err := range conform.Read(bytes.NewReader(text), shown, k) {
				if err != nil {
					t.Error(err)
					continue
				}
				read[folder]++
				if folder != "netbsd-rump" {
					same(t, sc, lines[sc.Line-1])
				}
			}
			return nil
		})
		if err != nil || len(read) == 0 {
			t.Errorf("%s: %d folders, %v", root, len(read), err)
		}
		for _, folder := range slices.Sorted(maps.Keys(read)) {
			t.Logf("%s/%s: %d", root, folder, read[folder])
		}
	}
}

// A kernel without recordings is unknown, and only those that are emulated are named for people to choose.
func TestByName(t *testing.T) {
	_, err := kernels.ByName("plan9")
	if err == nil || err.Error() != `unknown kernel "plan9" (known: illumos, linux)` {
		t.Errorf("got %v", err)
	}
	for _, k := range kernels.All {
		if got, err := kernels.ByName(k.Name); got != k || err != nil {
			t.Errorf("%s: %v", k.Name, err)
		}
	}
}

// same looks whether a scenario is written as it was read.
func same(t *testing.T, sc *conform.Scenario, line []byte) {
	t.Helper()
	var again bytes.Buffer
	if err := sc.Write(&again); err != nil {
		t.Fatal(err)
	}
	var want, got any
	if err := errors.Join(json.Unmarshal(line, &want), json.Unmarshal(again.Bytes(), &got)); err != nil {
		t.Fatal(err)
	}
	if want, got = given(want), given(got); !reflect.DeepEqual(want, got) {
		t.Errorf("%s:%d: %s", sc.File, sc.Line, cmp.Diff(want, got))
	}
}

// values are the numbers that say something when they are zero; others may as well be left out.
var values = []string{"wire", "old", "need", "spi", "pseq", "hex"}

// given is a value without what may be left out.
func given(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = given(v[i])
		}
	case map[string]any:
		for name, x := range v {
			if x = given(x); slices.Contains(values, name) || x != false && x != 0.0 && x != "" {
				v[name] = x
			} else {
				delete(v, name)
			}
		}
	}
	return v
}
