package conform_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/kernels"
	"github.com/pfkeyd/pfkeyd/testdata/golden"
)

// good is a scenario that can be read.
const good = `{"name":"t/good","steps":[{"op":"open","s":"a","ret":0},{"op":"send","s":"a","hex":"0209","ret":2,"rx":[{"s":"a","hex":"0209000002000000","vol":[[4,4,"spi"]]}]}]}`

// passes is a recording that any machine passes.
var passes = lines("t/passes", openA, sent(9, "", "a"))

func readAll(t testing.TB, text string) (names, problems []string) {
	t.Helper()
	for sc, err := range conform.Read(strings.NewReader(text), "f.jsonl", of("illumos")) {
		if err != nil {
			if _, ok := errors.AsType[*conform.InputError](err); !ok {
				t.Errorf("%v is a %T", err, err)
			}
			problems = append(problems, err.Error())
			continue
		}
		names = append(names, sc.Name)
	}
	return names, problems
}

func TestReadRefuses(t *testing.T) {
	step := func(s string) string {
		return `{"name":"t/x","steps":[{"op":"open","s":"a","ret":0},` + s + `]}`
	}
	for _, tt := range []struct{ name, line, want string }{
		{"cut in the middle", good[:len(good)/2], "cut off in the middle"},
		{"cut by one byte", good[:len(good)-1], "cut off in the middle"},
		{"no JSON", "hello", "not a scenario"},
		{"another value", "[1,2]", "not a scenario"},
		{"two values", good + good, "more than one value"},
		{"no name", `{"steps":[{"op":"open","s":"a"}]}`, "without a usable name"},
		{"a name with an escape", `{"name":"a\u001b[2Jb","steps":[{"op":"open","s":"a"}]}`, "without a usable name"},
		{"no steps", `{"name":"t/x","steps":[]}`, "no steps"},
		{"unknown field of a scenario", `{"name":"t/x","colour":1,"steps":[]}`, "colour"},
		{"unknown field of a step",
			step(`{"op":"send","s":"a","hex":"","colour":1}`), `step 2: op send: unknown field "colour"`},
		{"unknown op", step(`{"op":"dance","s":"a"}`), `step 2: unknown op "dance"`},
		{"unknown point", step(`{"op":"send","s":"a","hex":"","at":"lunch"}`), `unknown point "lunch"`},
		{"unknown point to hold at", step(`{"op":"inject","hex":"","until":"lunch"}`), `unknown point "lunch"`},
		{"a message cannot be held", step(`{"op":"send","s":"a","hex":"","until":"store"}`), "cannot be held"},
		{"no socket", step(`{"op":"send","hex":""}`), "without a socket"},
		{"another socket", step(`{"op":"send","s":"b","hex":""}`), `socket "b", which was not opened`},
		{"odd hexadecimal", step(`{"op":"send","s":"a","hex":"020"}`), "odd length"},
		{"no hexadecimal", step(`{"op":"send","s":"a","hex":"xx"}`), "invalid byte"},
		{"patch outside",
			step(`{"op":"send","s":"a","hex":"0011","patch":[{"at":1,"s":"a","msg":0,"from":0,"len":2}]}`),
			"patch that does not fit"},
		{"patch before the start",
			step(`{"op":"send","s":"a","hex":"0011","patch":[{"at":-1,"s":"a","msg":0,"from":0,"len":1}]}`),
			"patch that does not fit"},
		{"negative count", step(`{"op":"recv","s":"a","n":-1}`), "n = -1"},
		{"clock backwards", step(`{"op":"clock","advance":-1}`), "advances the clock by -1"},
		{"clock that overflows", step(`{"op":"age","advance":9000000000000000000}`), "advances the clock"},
		{"unknown errno", step(`{"op":"send","s":"a","hex":"","errno":"EFUN"}`), `unknown errno "EFUN"`},
		{"unknown verdict", step(`{"op":"inject","hex":"","verdict":"eaten"}`), `unknown verdict "eaten"`},
		{"unknown verdict of another packet", step(`{"op":"age","packets":[{"id":1,"verdict":"eaten"}]}`),
			`unknown verdict "eaten"`},
		{"verdict without packet", step(`{"op":"age","verdict":"queued"}`), `op age: unknown field "verdict"`},
		{"counters elsewhere", step(`{"op":"age","counters":{"a":1}}`), `op age: unknown field "counters"`},
		{"negative counter", step(`{"op":"counters","counters":{"a":-1}}`), `op counters: field "counters"`},
		{"unknown span", step(`{"op":"age","rx":[{"s":"a","hex":"00","vol":[[0,1,"mood"]]}]}`),
			`unknown volatile span "mood"`},
		{"span outside", step(`{"op":"age","rx":[{"s":"a","hex":"00000000","vol":[[1,4,"spi"]]}]}`),
			"outside of 4 bytes"},
		{"span of the wrong size", step(`{"op":"age","rx":[{"s":"a","hex":"00000000","vol":[[1,3,"spi"]]}]}`),
			"has 3 bytes, want 4"},
		{"span that overflows", step(fmt.Sprintf(`{"op":"age","rx":[{"s":"a","hex":"00","vol":[[%d,1,"undefined"]]}]}`,
			math.MaxInt)), "outside of 1 bytes"},
		{"span of two", step(`{"op":"age","rx":[{"s":"a","hex":"00","vol":[[0,1]]}]}`), "want [offset, length, name]"},
		{"message without socket", step(`{"op":"age","rx":[{"hex":"00"}]}`), "without socket or bytes"},
		{"unknown option", step(`{"op":"opt","s":"a","name":"colour"}`), `unknown option "colour"`},
		{"panic in the middle",
			`{"name":"t/x","panic":true,"steps":[{"op":"age","panic":"panic"},{"op":"age","panic":"panic"}]}`,
			"not in the last step"},
		{"panic that is not announced", `{"name":"t/x","steps":[{"op":"age","panic":"panic"}]}`,
			"not in the last step"},
		{"panic that was cut off", `{"name":"t/x","panic":true,"steps":[{"op":"age"}]}`, "cut off"},
		{"task queue", step(`{"op":"taskq","name":"maybe"}`), "neither refuse nor accept"},
		{"rule without acts", step(`{"op":"policy","dst":"192.0.2.2"}`), "without acts"},
		{"rule to nowhere", step(`{"op":"policy","dst":"192.0.2","acts":[{"ah":-1,"esp":12,"espa":3}]}`), "dst"},
		{"rule in no direction", step(`{"op":"policy","dir":"up","acts":[{"ah":-1,"esp":12,"espa":3}]}`),
			`direction "up"`},
		{"unknown type of act", step(`{"op":"policy","acts":[{"type":3,"ah":-1,"esp":12,"espa":3}]}`),
			"type of action 3"},
		{"no such algorithm", step(`{"op":"policy","acts":[{"ah":300,"esp":12,"espa":3}]}`), "300"},
		{"tunnel without a name", step(`{"op":"tunnel","src":"192.0.2.1","dst":"192.0.2.2"}`), "without a name"},
		{"tunnel to nowhere", step(`{"op":"tunnel","name":"t0","src":"192.0.2.1"}`), "unable to parse IP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The lines around it still count.
			names, problems := readAll(t, good+"\n"+tt.line+"\n\n"+good+"\n")
			if want := []string{"t/good", "t/good"}; !cmp.Equal(names, want) {
				t.Errorf("read %q, want %q", names, want)
			}
			if len(problems) != 1 || !strings.HasPrefix(problems[0], "f.jsonl:2: ") ||
				!strings.Contains(problems[0], tt.want) {
				t.Errorf("problems %q, want one of f.jsonl:2 with %q", problems, tt.want)
			}
		})
	}
}

// What is read and written again is the same to the reader.
func TestReadRoundTrip(t *testing.T) {
	for sc, err := range conform.Read(strings.NewReader(good), "f", of("illumos")) {
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := sc.Write(&b); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(b.String()); got != good {
			t.Errorf("wrote\n%s\nwant\n%s", got, good)
		}
	}
}

// The manifest names every recording built in, with what is in it.
func TestManifest(t *testing.T) {
	for _, dir := range []string{"freebsd-13", "freebsd-crash", "illumos", "illumos-2008", "linux-6.1",
		"linux-live", "netbsd", "netbsd-crash", "openbsd", "openbsd-crash"} {
		manifest, err := fs.ReadFile(golden.Files, dir+"/MANIFEST")
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		files, err := fs.Glob(golden.Files, dir+"/*.jsonl.gz")
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			lines = append(lines, manifestLine(t, f))
		}
		want := strings.Split(strings.TrimSpace(string(manifest)), "\n")
		if !strings.HasPrefix(want[1], "# answers: ") {
			t.Errorf("%s: it does not say who answered", dir)
		}
		want = want[2:]
		if d := cmp.Diff(want, lines); d != "" {
			t.Errorf("%s (-manifest +files):\n%s", dir, d)
		}
	}
}

// of is the kernel of a name.
func of(name string) *conform.Kernel {
	k, err := kernels.ByName(name)
	if err != nil {
		panic(err)
	}
	return k
}

// unreadable plays a file, all of which has to pass, and says what of it could not be read.
func unreadable(t *testing.T, kernel, file string) string {
	t.Helper()
	rep, err := conform.Run(t.Context(), conform.Config{Kernel: of(kernel), Paths: []string{file}})
	if err != nil || rep.Passed < len(rep.Results) {
		t.Errorf("%v, %+v", err, rep.Results)
	}
	return strings.Join(texts(rep.Unreadable), "\n")
}

func texts(errs []error) (all []string) {
	for _, err := range errs {
		all = append(all, err.Error())
	}
	return all
}

func write(t testing.TB, dir, name string, b []byte) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func manifestLine(t *testing.T, file string) string {
	t.Helper()
	f, err := golden.Files.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %d %x", path.Base(file), bytes.Count(b, []byte("\n")), sha256.Sum256(b))
}
