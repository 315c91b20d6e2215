package cli_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/cmd/pfkeyd/cli"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// run executes pfkeyd in this process.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = cli.Run(t.Context(), args, nil, &out, &errs)
	return code, out.String(), errs.String()
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b strings.Builder
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// flush is a FLUSH, which illumos echoes to every socket.
const (
	flush = "02090000020000000000000000000001"
	openA = `{"op":"open","s":"a","ret":0}`
)

// flushed is the step that sends one on socket a, to be heard so many times.
func flushed(times int) string {
	rx := slices.Repeat([]string{`{"s":"a","hex":"` + flush + `"}`}, times)
	return `{"op":"send","s":"a","hex":"` + flush + `","ret":16,"rx":[` + strings.Join(rx, ",") + `]}`
}

func lines(name string, steps ...string) string {
	return fmt.Sprintf(`{"name":%q,"steps":[%s]}`, name, strings.Join(steps, ",")) + "\n"
}

var (
	passes = lines("t/passes", openA, flushed(1))
	fails  = lines("t/fails", openA, flushed(2))
)

func lastLines(s string, n int) []string {
	all := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return all[max(0, len(all)-n):]
}

// conform --report counts what conform plays.
func TestConformReport(t *testing.T) {
	dir := t.TempDir()
	good, bad := write(t, dir, "good.jsonl", passes), write(t, dir, "bad.jsonl", fails+passes)
	for _, tt := range []struct {
		name   string
		args   []string
		code   int
		stdout []string
		stderr string
	}{
		{"passes", []string{good}, 0, []string{"| good.jsonl |      1 |       - |    - | not said     |",
			"| FLUSH             |    1 |     1 |      - |    - |     - |        - |     - |",
			"In none of these: GETSPI, "}, ""},
		{"fails", []string{bad}, 1, []string{
			"| FLUSH             |    2 |     2 |      - |    - |     - |        - |     1 |"}, "1 recording failed"},
		{"JSON", []string{bad, "--json"}, 1, []string{`"failing":["t/fails"]`}, "1 recording failed"},
		{"built in", []string{"--kernel", "openbsd"}, 0, []string{"OpenBSD-current of 2026-08-19", "`timeout-panic`"},
			""},
		{"nothing matches", []string{good, "--run", "zebra"}, 2, nil, `no scenario of illumos matches "zebra"`},
		{"no such file", []string{filepath.Join(dir, "nowhere.jsonl")}, 2, nil, "nowhere.jsonl: no such file"},
		{"not emulated", []string{"--kernel", "darwin"}, 2, nil, "darwin is not emulated yet"},
		{"beside --compare", []string{"--compare", "illumos,linux", good}, 2, nil, "--compare and --report"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := run(t, append([]string{"conform", "--report"}, tt.args...)...)
			if code != tt.code || !strings.Contains(stderr, tt.stderr) || tt.stderr == "" && stderr != "" {
				t.Errorf("exit %d, want %d: %s", code, tt.code, stderr)
			}
			for _, want := range tt.stdout {
				if !strings.Contains(stdout, want) {
					t.Errorf("lacks %q:\n%s", want, stdout)
				}
			}
		})
	}
}

// What conform prints, and its exit code.
func TestConform(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string { return write(t, dir, name, text) }
	good, bad := file("good.jsonl", passes), file("bad.jsonl", fails+passes)
	mixed := file("mixed.jsonl", passes+"nonsense\n"+passes)
	gz := file("z.jsonl.gz", zipped(t, passes+passes))
	whole := zipped(t, strings.Repeat(passes, 1000))
	cut := file("cut.jsonl.gz", whole[:len(whole)-20])
	noGzip := file("no.jsonl.gz", passes)
	file("tree/b/2.jsonl", passes)
	file("tree/1.jsonl", fails)
	readme := file("tree/README.md", "nothing")
	tree, empty := filepath.Join(dir, "tree"), filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	panics := file("panics.jsonl", `{"name":"t/panics","panic":true,"steps":[`+openA+
		`,{"op":"send","s":"a","hex":"`+flush+`","panic":"panic"}]}`)
	unplayed := file("unplayed.jsonl", lines("t/tcp", openA, `{"op":"tcpclose","name":"c","ret":0}`))

	for _, tt := range []struct {
		name   string
		args   []string
		code   int
		sums   []string // the last two lines of standard output
		stdout []string // what else it has
		stderr []string
	}{
		{"passes", []string{good}, 0, []string{"0 deviations, 0 skipped", "1 passed, 0 failed"}, nil, nil},
		{"fails", []string{bad}, 1, []string{"0 deviations, 0 skipped", "1 passed, 1 failed"},
			[]string{"FAIL t/fails", "bad.jsonl:1", "step 2 (send): rx a[1]: message missing"}, nil},
		{"gzip", []string{gz}, 0, []string{"0 deviations, 0 skipped", "2 passed, 0 failed"}, nil, nil},
		{"folder", []string{tree}, 1, []string{"0 deviations, 0 skipped", "1 passed, 1 failed"},
			[]string{filepath.Join("tree", "1.jsonl") + ":1"}, nil},
		{"pattern", []string{bad, "--run", "^t/pa"}, 0, []string{"0 deviations, 0 skipped", "1 passed, 0 failed"}, nil,
			nil},
		{"pattern behind the folder", []string{tree, "--run", "^b/t/pa"}, 0,
			[]string{"0 deviations, 0 skipped", "1 passed, 0 failed"}, nil, nil},
		{"pattern of the folder alone", []string{tree, "--run", "^b/?$"}, 2, []string{""}, nil,
			[]string{`no scenario of illumos matches "^b/?$"`}},
		{"deviation", []string{panics}, 0, []string{"1 deviation, 0 skipped", "1 passed, 0 failed"},
			[]string{"deviation panic, 1 scenario: the original follows"}, nil},
		{"skipped", []string{unplayed}, 0, []string{"0 deviations, 1 skipped", "0 passed, 0 failed"},
			[]string{"skipped 1 scenario: op tcpclose can be read, not played yet"}, nil},
		{"verbose", []string{panics, good, "-v"}, 0, nil,
			[]string{"pass t/panics  deviates: panic", "pass t/passes"}, nil},

		// Unreadable input comes before failures, and the rest still plays.
		{"unreadable line", []string{mixed, bad}, 2, []string{"0 deviations, 0 skipped", "3 passed, 1 failed"}, nil,
			[]string{"mixed.jsonl:2: not a scenario"}},
		{"cut gzip", []string{cut, good}, 2, nil, nil, []string{"cut.jsonl.gz:", "ends early"}},
		{"no gzip", []string{noGzip}, 2, []string{""}, nil, []string{"no.jsonl.gz: not a gzip file"}},
		{"missing file", []string{filepath.Join(dir, "nowhere.jsonl"), good}, 2,
			[]string{"0 deviations, 0 skipped", "1 passed, 0 failed"}, nil, []string{"nowhere.jsonl: no such file"}},
		{"something else", []string{readme}, 2, nil, nil, []string{"not a recording"}},
		{"empty folder", []string{empty}, 2, nil, nil, []string{"empty: no recordings"}},

		{"nothing matches", []string{good, "--run", "zebra"}, 2, []string{""}, nil,
			[]string{`no scenario of illumos matches "zebra"`}},
		{"broken pattern", []string{good, "--run", "("}, 2, []string{""}, nil,
			[]string{`--run "(" is no regular expression: missing closing`}},
		{"unknown kernel", []string{"--kernel", "plan9"}, 2, []string{""}, nil,
			[]string{`unknown kernel "plan9" (known: freebsd, illumos, linux, netbsd, openbsd)`}},
		{"a kernel that is not emulated", []string{"--kernel", "darwin", good}, 2, []string{""}, nil,
			[]string{"darwin is not emulated yet: its recordings can be read, not played"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := run(t, append([]string{"conform"}, tt.args...)...)
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
func TestConformJSON(t *testing.T) {
	p := write(t, t.TempDir(), "r.jsonl", passes+fails)
	_, stdout, _ := run(t, "conform", "--json", p)
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
	if d["step"] != 2.0 || d["op"] != "send" || d["field"] != "rx a[1]" || d["want"] != flush {
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
	p := write(t, t.TempDir(), "r.jsonl", text)
	echoes := serve(t, "illumos", new(echo)).String()
	_, hidden, _ := run(t, "conform", "--against", echoes, p, "-v")
	_, asked, _ := run(t, "conform", "--against", echoes, p, "--show-keys")
	_, asJSON, _ := run(t, "conform", "--against", echoes, p, "--json")
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

// Without a path, the recordings built in are played, on an engine that is made as the flags say.
func TestConformBuiltin(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"built in", []string{"--run", "^promisc/"}, 0, "2 passed, 0 failed\n"},
		{"another address", []string{"--run", "^addr/", "--addr", "198.51.100.9"}, 1, " failed\n"},
		{"a tunable", []string{"--run", "^getspi/timeout$", "-o", "larval_timeout=5"}, 1, "0 passed, 1 failed\n"},
		{"unknown tunable", []string{"-o", "larval_colour=5"}, 2, "larval_colour"},
		{"a fault", []string{"--run", "^interleave/esp-packet-after-take$", "--fault", "larval-unlocked"}, 1,
			"0 passed, 1 failed\n"},
		{"unknown fault", []string{"--fault", "larval-colour"}, 2, "larval-colour"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := run(t, append([]string{"conform"}, tt.args...)...)
			if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
				t.Errorf("exit %d, want %d with %q:\n%s%s", code, tt.code, tt.want, stdout, stderr)
			}
		})
	}
}

// serve runs an engine behind a Unix socket and returns its address.
func serve(t *testing.T, kernel string, e pfkey.Engine) pfkey.Address {
	t.Helper()
	a := pfkey.Address{Kernel: kernel, Path: filepath.Join(t.TempDir(), "s")}
	l, err := pfkey.Listen(a.Path)
	if err != nil {
		t.Fatal(err)
	}
	s := pfkey.NewServer(e, pfkey.ServerOptions{})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		<-done
		s.Close()
	})
	return a
}

func linux(t *testing.T) string {
	t.Helper()
	e, err := kernels.New("linux", engine.Options{Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return serve(t, "linux", e).String()
}

// A recording made on a running engine passes on another.
func TestRecord(t *testing.T) {
	a := linux(t)
	dir := t.TempDir()
	in := write(t, dir, "in.jsonl", `{"name":"t/flush","steps":[`+openA+`,{"op":"send","s":"a","hex":"`+flush+`"}]}`)
	out := filepath.Join(dir, "out.jsonl")
	record := func(args ...string) (int, string, string) {
		return run(t, append([]string{"record", "--against", a}, args...)...)
	}
	code, stdout, stderr := record(in, "-o", out)
	if code != 0 || stdout != "" || !strings.Contains(stderr, "1 scenario, 1 message sent") {
		t.Fatalf("exit %d, %q, %q", code, stdout, stderr)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if want := lines("t/flush", openA, flushed(1)); string(b) != want {
		t.Fatalf("recorded %s, want %s", b, want)
	}
	code, stdout, stderr = record("--random", "300", "--seed", "3")
	if code != 1 || !strings.Contains(stderr, "seed 3") { // some of it an engine behind a socket cannot do
		t.Errorf("exit %d, %q", code, stderr)
	}
	p := write(t, dir, "random.jsonl", stdout)
	code, stdout, _ = run(t, "conform", "--kernel", "linux", "--against", linux(t), p)
	if sums := lastLines(stdout, 1)[0]; code != 0 || !strings.HasSuffix(sums, " passed, 0 failed") || sums[0] == '0' {
		t.Errorf("exit %d, %q of what was recorded", code, sums)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"nobody", []string{in, "--against", "linux:" + filepath.Join(dir, "nowhere")}, 3, "no engine"},
		{"no file", []string{in + "x"}, 2, "no such file"},
		{"nowhere to write", []string{in, "-o", filepath.Join(dir, "no", "where")}, 2, "no such file"},
		{"what a socket cannot do", []string{write(t, dir, "s.jsonl", lines("t/s", openA,
			`{"op":"sysc","s":"a","name":"bind","ret":0}`))}, 1, "t/s: options"},
		{"random conversations with none", []string{"--random", "3", "--kernel", "illumos"}, 2,
			"there are no random conversations with illumos"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if code, _, stderr := record(tt.args...); code != tt.code || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit %d, %q; want %d, %q", code, stderr, tt.code, tt.want)
			}
		})
	}
	code, _, stderr = record(in, "-o", out, "--against", "linux:"+filepath.Join(dir, "nowhere"))
	if b, err := os.ReadFile(out); err != nil || code != 3 || string(b) != lines("t/flush", openA, flushed(1)) {
		t.Errorf("exit %d, %q; nobody was there, and the file is now %q, %v", code, stderr, b, err)
	}
}

// Nobody at the address is told apart from scenarios that fail.
func TestConformAgainstNobody(t *testing.T) {
	dir := t.TempDir()
	nowhere := "linux:" + filepath.Join(dir, "nowhere")
	code, _, stderr := run(t, "conform", "--kernel", "linux", "--against", nowhere, write(t, dir, "g.jsonl", passes))
	if code != 3 || !strings.Contains(stderr, "no engine") {
		t.Errorf("exit %d, %q", code, stderr)
	}
}

// echo is an engine that gives every message back.
type echo struct{}

type echoSocket struct {
	pfkey.Socket // nil: nobody sets options

	mu     sync.Mutex
	queue  [][]byte
	notify func()
}

func (*echo) Dialect() *wire.Dialect { return wire.Illumos() }

func (*echo) Open(pfkey.Cred, int, int) (pfkey.Socket, wire.Errno) { return new(echoSocket), wire.OK }

func (s *echoSocket) Send(msg []byte, _ pfkey.Cred) wire.Errno {
	s.mu.Lock()
	s.queue = append(s.queue, bytes.Clone(msg))
	s.mu.Unlock()
	s.notify()
	return wire.OK
}

func (s *echoSocket) Recv(buf []byte, _ pfkey.RecvFlags) (n, size int, e wire.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return 0, 0, wire.EAGAIN
	}
	msg := s.queue[0]
	s.queue = s.queue[1:]
	return copy(buf, msg), len(msg), wire.OK
}

func (s *echoSocket) Notify(f func()) { s.notify = f }
func (s *echoSocket) Close()          {}
