package kernels_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
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
		"pcaps": os.DirFS("../../../testdata/pcaps"), "unplayed": os.DirFS("../../../testdata/unplayed")}
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

// Zero is a value where it is another one than nothing, and what is nowhere told of an operation is refused with its
// name.
func TestZeroIsAValue(t *testing.T) {
	for _, tt := range []struct{ kernel, step, want string }{
		{"netbsd", `{"op":"inbound","wire":0,"set":[[0,0]],"ret":0}`, ""},
		{"darwin", `{"op":"sysctl","name":"net.key.debug","val":0,"ret":0,"old":0}`, ""},
		{"freebsd", `{"op":"sysctl","name":"net.key.debug","flags":"read","ret":0}`, ""},
		{"openbsd", `{"op":"open","s":"b","proto":0,"pid":0,"ret":0}`, ""},
		{"openbsd", `{"op":"inbound","proto":0,"src":"::1","dst":"::","sport":0,"dport":0,"len":0,"spi":0,` +
			`"pseq":0,"ret":0,"wires":[{"via":"clear","len":0,"proto":0,"spi":0,"pseq":0,"udp":[0,0],"t":0}]}`, ""},
		{"openbsd", `{"op":"keydump","name":"spd","satype":0,"rdomain":0,"ret":0,"need":0,"unordered":true}`, ""},
		{"illumos", `{"op":"tcp","hex":"00","name":"c","src":"::","dst":"::","sport":0,"dport":0,"ret":0,"id":1,` +
			`"verdict":"unsigned"}`, ""},
		{"freebsd", `{"op":"inbound","wire":0,"set":[[0,0]],"ret":0}`, `op inbound: unknown field "set"`},
		{"netbsd", `{"op":"keydump","name":"spd","ret":0}`, `unknown op "keydump"`},
		{"darwin", `{"op":"send","s":"a","hex":"","ret":0,"old":0}`, `op send: unknown field "old"`},
		{"openbsd", `{"op":"inbound","ret":0}`, "op inbound: a packet without protocol or address"},
		{"openbsd", `{"op":"sysctl","name":"x","flags":"write","ret":0}`, `op sysctl: name "x", flags "write"`},
		{"linux", `{"op":"inject","hex":"","verdict":"signed"}`, `op inject: unknown field "verdict"`},
	} {
		k, err := kernels.ByName(tt.kernel)
		if err != nil {
			t.Fatal(err)
		}
		line := `{"name":"t/x","steps":[{"op":"open","s":"a","ret":0},` + tt.step + `]}`
		for sc, err := range conform.Read(strings.NewReader(line), "f", k) {
			var again strings.Builder
			switch {
			case tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), "f:1: t/x: step 2: "+tt.want)):
				t.Errorf("%s: %s: got %v, want %q", tt.kernel, tt.step, err, tt.want)
			case tt.want != "":
			case err != nil:
				t.Errorf("%s: %v", tt.kernel, err)
			case sc.Write(&again) != nil || again.String() != line+"\n":
				t.Errorf("%s: wrote\n%swant\n%s", tt.kernel, again.String(), line)
			}
		}
	}
}

// The samples of kernels that are not emulated yet are those of their manifest.
func TestUnplayedManifest(t *testing.T) {
	const root = "../../../testdata/unplayed"
	manifest, err := os.ReadFile(root + "/MANIFEST")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(root + "/*/*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	got := []string{"# file, scenarios, SHA-256"}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := filepath.Rel(root, f)
		got = append(got, fmt.Sprintf("%s %d %x", filepath.ToSlash(name), bytes.Count(b, []byte("\n")),
			sha256.Sum256(b)))
	}
	if d := cmp.Diff(strings.Split(strings.TrimSpace(string(manifest)), "\n"), got); d != "" {
		t.Errorf("(-manifest +files)\n%s", d)
	}
}

// A kernel without recordings is unknown, and only those that are emulated are named for people to choose.
func TestByName(t *testing.T) {
	_, err := kernels.ByName("plan9")
	if err == nil || err.Error() != `unknown kernel "plan9" (known: freebsd, illumos, linux, netbsd, openbsd)` {
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
var values = []string{"wire", "old", "need", "spi", "pseq", "proto", "sport", "dport", "hex", "val", "satype",
	"rdomain",
	"pid", "len", "t"}

// given is a value without what may be left out.
func given(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = given(v[i])
		}
	case map[string]any:
		if v["op"] == "rcvbuf" && v["val"] == 0.0 {
			delete(v, "val") // a size: some say that it is zero, some say nothing
		}
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
