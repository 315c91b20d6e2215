package conform_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/conform"
)

var (
	passes = lines("t/passes", openA, sent(9, "", "a"))
	fails  = lines("t/fails", openA, sent(9, "", "aa"))
)

func lastLines(s string, n int) []string {
	all := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return all[max(0, len(all)-n):]
}

func TestMain(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string { return write(t, dir, name, []byte(text)) }
	good, bad := file("good.jsonl", passes), file("bad.jsonl", fails+passes)
	mixed := file("mixed.jsonl", passes+"nonsense\n"+passes)
	gz := write(t, dir, "z.jsonl.gz", zipped(t, passes+passes))
	whole := zipped(t, strings.Repeat(passes, 1000))
	cut := write(t, dir, "cut.jsonl.gz", whole[:len(whole)-20])
	noGzip := file("no.jsonl.gz", passes)
	write(t, dir, "tree/b/2.jsonl", []byte(passes))
	write(t, dir, "tree/1.jsonl", []byte(fails))
	write(t, dir, "tree/README.md", []byte("nothing"))
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	panics := file("panics.jsonl", `{"name":"t/panics","panic":true,"steps":[`+openA+`,{"op":"send","s":"a","hex":"`+
		msg(9)+`","panic":"panic"}]}`)

	for _, tt := range []struct {
		name   string
		c      conform.Config
		code   int
		sums   []string // the last two lines of standard output
		stdout []string // what else it has
		stderr []string
	}{
		{"passes", conform.Config{Paths: []string{good}}, 0, []string{"0 deviations, 0 skipped", "1 passed, 0 failed"},
			nil, nil},
		{"fails", conform.Config{Paths: []string{bad}}, 1, []string{"0 deviations, 0 skipped", "1 passed, 1 failed"},
			[]string{"FAIL t/fails", "bad.jsonl:1", "step 2 (send): rx a[1]: message missing"}, nil},
		{"gzip", conform.Config{Paths: []string{gz}}, 0, []string{"0 deviations, 0 skipped", "2 passed, 0 failed"}, nil,
			nil},
		{"folder", conform.Config{Paths: []string{filepath.Join(dir, "tree")}}, 1, []string{"0 deviations, 0 skipped",
			"1 passed, 1 failed"},
			[]string{filepath.Join("tree", "1.jsonl") + ":1"}, nil},
		{"pattern", conform.Config{Paths: []string{bad}, Run: "^t/pa"}, 0, []string{"0 deviations, 0 skipped",
			"1 passed, 0 failed"}, nil, nil},
		{"pattern behind the folder", conform.Config{Paths: []string{filepath.Join(dir, "tree")}, Run: "^b/t/pa"}, 0,
			[]string{"0 deviations, 0 skipped", "1 passed, 0 failed"}, nil, nil},
		{"pattern of the folder alone",
			conform.Config{Paths: []string{filepath.Join(dir, "tree")}, Run: "^b/?$"}, 2, []string{""}, nil,
			[]string{`no scenario of illumos matches "^b/?$"`}},
		{"deviation", conform.Config{Paths: []string{panics}}, 0,
			[]string{"1 deviation, 0 skipped", "1 passed, 0 failed"},
			[]string{"deviation panic, 1 scenario: the original follows"}, nil},
		{"skipped", conform.Config{Paths: []string{file("clock.jsonl",
			lines("t/clock", openA, `{"op":"age","advance":1,"ret":0}`))}}, 0,
			[]string{"0 deviations, 1 skipped", "0 passed, 0 failed"},
			[]string{"skipped 1 scenario: op age needs a clock"}, nil},
		{"verbose", conform.Config{Paths: []string{panics, good}, Verbose: true}, 0, nil,
			[]string{"pass t/panics  deviates: panic", "pass t/passes"}, nil},

		// Unreadable input comes before failures, and the rest still plays.
		{"unreadable line", conform.Config{Paths: []string{mixed, bad}}, 2, []string{"0 deviations, 0 skipped",
			"3 passed, 1 failed"}, nil,
			[]string{"mixed.jsonl:2: not a scenario"}},
		{"cut gzip", conform.Config{Paths: []string{cut, good}}, 2, nil, nil, []string{"cut.jsonl.gz:", "ends early"}},
		{"no gzip", conform.Config{Paths: []string{noGzip}}, 2, []string{""}, nil,
			[]string{"no.jsonl.gz: not a gzip file"}},
		{"missing file", conform.Config{Paths: []string{filepath.Join(dir, "nowhere.jsonl"), good}}, 2,
			[]string{"0 deviations, 0 skipped", "1 passed, 0 failed"}, nil,
			[]string{"nowhere.jsonl: no such file"}},
		{"something else", conform.Config{Paths: []string{filepath.Join(dir, "tree", "README.md")}}, 2, nil, nil,
			[]string{"not a recording"}},
		{"empty folder", conform.Config{Paths: []string{empty}}, 2, nil, nil, []string{"empty: no recordings"}},

		{"nothing matches", conform.Config{Paths: []string{good}, Run: "zebra"}, 2, []string{""}, nil,
			[]string{`no scenario of illumos matches "zebra"`}},
		{"broken pattern", conform.Config{Paths: []string{good}, Run: "("}, 2, []string{""}, nil,
			[]string{`--run "(" is no regular expression: missing closing`}},
		{"unknown kernel", conform.Config{Kernel: "plan9"}, 2, []string{""}, nil,
			[]string{`unknown kernel "plan9" (known: illumos, linux)`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.c
			if c.Kernel == "" {
				c.Kernel = "illumos"
			}
			c.Target = lab{}
			code, stdout, stderr := run(t, c)
			if code != tt.code {
				t.Errorf("exit %d, want %d", code, tt.code)
			}
			if got := lastLines(stdout, 2); tt.sums != nil && fmt.Sprint(got) != fmt.Sprint(tt.sums) {
				t.Errorf("ends with %q, want %q", got, tt.sums)
			}
			for _, w := range tt.stdout {
				if !strings.Contains(stdout, w) {
					t.Errorf("standard output lacks %q:\n%s", w, stdout)
				}
			}
			for _, w := range tt.stderr {
				if !strings.Contains(stderr, w) {
					t.Errorf("standard error lacks %q:\n%s", w, stderr)
				}
			}
			if (tt.code == 2) != (stderr != "") {
				t.Errorf("exit %d with standard error %q", code, stderr)
			}
		})
	}
}

// One object a line, the last one with the sums.
func TestMainJSON(t *testing.T) {
	p := write(t, t.TempDir(), "r.jsonl", []byte(passes+fails))
	_, stdout, _ := run(t, conform.Config{Kernel: "illumos", Paths: []string{p}, Target: lab{}, JSON: true})
	var got []map[string]any
	for line := range strings.Lines(stdout) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		got = append(got, v)
	}
	if len(got) != 3 || got[0]["status"] != "passed" || got[1]["status"] != "failed" ||
		got[1]["scenario"] != "t/fails" || got[2]["passed"] != 1.0 || got[2]["failed"] != 1.0 {
		t.Fatalf("%v", got)
	}
	d := got[1]["differences"].([]any)[0].(map[string]any)
	if d["step"] != 2.0 || d["op"] != "send" || d["field"] != "rx a[1]" || d["want"] != msg(9) {
		t.Errorf("difference %v", d)
	}
}

// An ADD with keys: 16 bytes of header, an SA, and an authentication key of 0xa5.
func withKey(key string) string {
	return "0203000307000000" + "01000000d2040000" + "02000100000010002001030000000000" + "0300080080000000" + key
}

// A difference is shown field by field; key bytes are not, unless asked for.
func TestShownDifference(t *testing.T) {
	a, b := strings.Repeat("a5", 16), strings.Repeat("a5", 15)+"a4"
	text := `{"name":"t/x","steps":[` + openA + `,{"op":"send","s":"a","hex":"` + withKey(a) +
		`","ret":56,"rx":[{"s":"a","hex":"` + withKey(b) + `"}]}]}`
	text += "\n" + strings.Replace(strings.Replace(text, "t/x", "t/y", 1), `"rx":[{"s":"a","hex":"0203`,
		`"rx":[{"s":"a","hex":"0204`, 1)
	broken := strings.Replace(withKey(b), "02000100", "00000100", 1) // whatever stands behind may be a key
	text += "\n" + `{"name":"t/z","steps":[` + openA + `,{"op":"send","s":"a","hex":"` + withKey(a) +
		`","ret":56,"rx":[{"s":"a","hex":"` + broken + `"}]}]}`
	p := write(t, t.TempDir(), "r.jsonl", []byte(text))
	_, hidden, _ := run(t, conform.Config{Kernel: "illumos", Paths: []string{p}, Target: lab{}, Verbose: true})
	_, asked, _ := run(t, conform.Config{Kernel: "illumos", Paths: []string{p}, Target: lab{}, ShowKeys: true})
	_, asJSON, _ := run(t, conform.Config{Kernel: "illumos", Paths: []string{p}, Target: lab{}, JSON: true})
	for _, s := range []string{hidden, asJSON} {
		for _, secret := range []string{"a5a5", "a5 a5", "a4"} {
			if strings.Contains(s, secret) {
				t.Errorf("%q, of a key, is shown:\n%s", secret, s)
			}
		}
	}
	if !strings.Contains(hidden, "byte 55, in what may be a key, differs") {
		t.Errorf("the difference inside of the key is not told:\n%s", hidden)
	}
	if !strings.Contains(asked, "a5 a5") {
		t.Errorf("keys are hidden though they were asked for:\n%s", asked)
	}
	for _, want := range []string{"byte 1 is 03 instead of 04", "    - ", "    + ", "DELETE", "ADD"} {
		if !strings.Contains(hidden, want) {
			t.Errorf("the report lacks %q:\n%s", want, hidden)
		}
	}
}

// Without a target, recordings are played on an engine in this process; without a path, those built in.
func TestMainInProcess(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    conform.Config
		code int
		want string
	}{
		{"built in", conform.Config{Run: "^promisc/"}, 0, "2 passed, 0 failed\n"},
		{"another address", conform.Config{Run: "^addr/", Addrs: []netip.Addr{netip.MustParseAddr("198.51.100.9")}}, 1,
			" failed\n"},
		{"a tunable", conform.Config{Run: "^getspi/timeout$", Tunables: map[string]string{"larval_timeout": "5"}}, 1,
			"0 passed, 1 failed\n"},
		{"unknown tunable", conform.Config{Tunables: map[string]string{"larval_colour": "5"}}, 2, "larval_colour"},
		{"a fault", conform.Config{Run: "^interleave/esp-packet-after-take$", Fault: "larval-unlocked"}, 1,
			"0 passed, 1 failed\n"},
		{"unknown fault", conform.Config{Fault: "larval-colour"}, 2, "larval-colour"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.Kernel = "illumos"
			code, stdout, stderr := run(t, tt.c)
			if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
				t.Errorf("exit %d, want %d with %q:\n%s%s", code, tt.code, tt.want, stdout, stderr)
			}
		})
	}
}

// The report comes in the order of the recordings, however many are played at a time.
func TestOrder(t *testing.T) {
	var text strings.Builder
	for i := range 500 {
		text.WriteString(lines(fmt.Sprintf("t/%03d", i), openA))
	}
	p := write(t, t.TempDir(), "r.jsonl", []byte(text.String()))
	var seen []string
	var bar []int
	c := conform.Config{Kernel: "illumos", Paths: []string{p}, Target: lab{}, Workers: 8,
		Observe:  func(r conform.Result) { seen = append(seen, r.Scenario) },
		Progress: func(done, total int) { bar = append(bar, done*1000+total) }}
	if _, err := conform.Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 500 || !slices.IsSorted(seen) || len(bar) != 500 || !slices.IsSorted(bar) ||
		bar[499] != 500*1000+500 {
		t.Errorf("%d results, sorted: %v; progress %v", len(seen), slices.IsSorted(seen), bar)
	}
}
