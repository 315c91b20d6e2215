package cli_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/cmd/pfkeyd/cli"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/testdata/pcaps"
)

// demo plays the demo. What it leaves behind in the directory of temporary files is an error.
func demo(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return demoFrom(t, strings.NewReader(""), args...)
}

func demoFrom(t *testing.T, stdin io.Reader, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	tmp := emptyTemp(t)
	var out, errs bytes.Buffer
	code = cli.Run(t.Context(), append([]string{"demo"}, args...), stdin, &out, &errs)
	checkEmpty(t, tmp)
	return code, out.String(), errs.String()
}

// tempDir is where temporary files are while nobody has said otherwise.
var tempDir = os.TempDir()

// emptyTemp makes a directory of temporary files whose name is short, because it gets Unix sockets.
func emptyTemp(t *testing.T) string {
	t.Helper()
	tmp, err := os.MkdirTemp(tempDir, "demo")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	t.Setenv("TMPDIR", tmp)
	return tmp
}

func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("the demo leaves behind %q, %v", left, err)
	}
}

// act is the part of an output that shows one act.
func act(t *testing.T, out string, n int) string {
	t.Helper()
	_, text, ok := strings.Cut(out, fmt.Sprintf("\n%d. ", n))
	if !ok {
		t.Fatalf("no act %d:\n%s", n, out)
	}
	text, _, _ = strings.Cut(text, fmt.Sprintf("\n%d. ", n+1))
	return text
}

// table is the lines of the fourth act that say who does what, under the name of their kernel; blanks are one each.
func table(t *testing.T, out string) map[string][]string {
	t.Helper()
	m, name := map[string][]string{}, ""
	row := regexp.MustCompile(`^   (packet \d|UPDATE  )   |^   = |^ {14}> `)
	for line := range strings.Lines(act(t, out, 4)) {
		if head, ok := strings.CutSuffix(strings.TrimSpace(line), " SA      holds"); ok {
			name, _, _ = strings.Cut(strings.TrimSpace(head), "/")
		} else if name != "" && row.MatchString(line) {
			m[name] = append(m[name], strings.Join(strings.Fields(line), " "))
		}
	}
	return m
}

// The ends of the fourth act are those of the recordings of the old kernels, which package racelab compares; here they
// must be in the table.
var (
	common = []string{
		"packet 1 finds the SA and sees LARVAL LARVAL -",
		"packet 1 stores itself LARVAL 1",
		"packet 2 finds the SA and sees LARVAL: in the window now LARVAL 1",
		"UPDATE finds the SA and gives it its keys LARVAL 1",
	}
	unlocked = []string{
		"UPDATE takes packet 1 LARVAL -",
		"UPDATE makes it MATURE MATURE -",
		"packet 2 stores itself, without looking again MATURE 2",
		"UPDATE sends packet 1 on: it is decrypted MATURE 2",
		"> packet 1 delivered",
		"= packet 2 is stranded: it waits on a MATURE SA for good; no counter moved",
	}
	window = []string{
		"UPDATE makes it MATURE MATURE 1",
		"packet 2 looks again, sees MATURE, throws packet 1 away MATURE -",
		"> packet 1 dropped: sadb_inlarval_replace",
		"> packet 2 delivered",
		"UPDATE looks what waits: nothing MATURE -",
		"= packet 1 is lost: thrown away as its keys came (sadb_inlarval_replace)",
	}
	ours = []string{
		"UPDATE makes it MATURE and takes packet 1, in one go MATURE -",
		"packet 2 looks again, sees MATURE, and goes on MATURE -",
		"> packet 2 delivered",
		"UPDATE sends packet 1 on: it is decrypted MATURE -",
		"> packet 1 delivered",
		"= both packets are delivered",
	}
)

func TestDemo(t *testing.T) {
	code, out, errs := demo(t)
	if code != 0 || errs != "" || !strings.HasSuffix(out, "\nEvery packet ended as it should.\n") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	for n, ends := range []string{"packet 1   delivered", "packet 2   dropped", "packet 4   dropped"} {
		if !strings.Contains(act(t, out, n+1), ends) {
			t.Errorf("act %d lacks %q:\n%s", n+1, ends, out)
		}
	}
	want := map[string][]string{
		"on all three kernels": common, "Solaris until 2008 (larval-unlocked": unlocked,
		"illumos since 2008 (larval-window": window, "pfkeyd (ours": ours,
	}
	if diff := cmp.Diff(want, table(t, out)); diff != "" {
		t.Errorf("act 4 (-want +got):\n%s", diff)
	}
}

// TestDemoFault: an old kernel plays all four acts, and the packet that it does wrong to is named.
func TestDemoFault(t *testing.T) {
	for _, tt := range []struct {
		fault, kernel, wrong string
		table                []string
	}{
		{"larval-unlocked", "Solaris until 2008",
			"act 4: packet 2 is stranded: it waits on a MATURE SA for good", unlocked},
		{"larval-window", "illumos since 2008",
			"act 4: packet 1 is lost: thrown away as its keys came", window},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			code, out, errs := demo(t, "--fault", tt.fault)
			if code != 1 || errs != "pfkeyd: "+tt.wrong+"\n" {
				t.Errorf("exit %d: %s", code, errs)
			}
			if strings.Contains(out, "Every packet") {
				t.Errorf("it says that all went well:\n%s", out)
			}
			if who := "with the fault " + tt.fault + ", as " + tt.kernel; !strings.Contains(out, who) {
				t.Errorf("lacks %q:\n%s", who, out)
			}
			// What comes one after the other goes well there, too.
			if n := strings.Count(out, "  delivered  "); n != 2 {
				t.Errorf("%d packets of the first three acts are delivered:\n%s", n, out)
			}
			want := map[string][]string{tt.kernel + " (" + tt.fault: append(append([]string{}, common...), tt.table...)}
			if diff := cmp.Diff(want, table(t, out)); diff != "" {
				t.Errorf("act 4 (-want +got):\n%s", diff)
			}
		})
	}
}

// demoOptions are those that change what the demo shows.
func demoOptions() (all [][]string) {
	for _, fault := range append(sadb.FaultNames(), "") {
		for _, messages := range []bool{false, true} {
			for _, pace := range []string{"", "--slow=1us", "--step"} {
				var args []string
				if fault != "" {
					args = append(args, "--fault", fault)
				}
				if messages {
					args = append(args, "--messages")
				}
				if pace != "" {
					args = append(args, pace)
				}
				all = append(all, args)
			}
		}
	}
	return append(all, []string{"--help"}, []string{"--kernel", "linux"}, []string{"--slow", "--step"},
		[]string{"--slow=-1s"})
}

func TestDemoFits(t *testing.T) {
	for _, args := range demoOptions() {
		_, out, errs := demo(t, args...)
		for line := range strings.Lines(out + errs) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n >= 80 {
				t.Errorf("%q: %d columns: %s", args, n, line)
			}
		}
	}
}

func TestDemoRepeats(t *testing.T) {
	_, first, _ := demo(t, "--messages")
	if !strings.Contains(first, "add:1199145600") { // the beginning of 2008
		t.Errorf("the messages have times of this machine:\n%s", first)
	}
	for range 19 {
		if _, out, _ := demo(t, "--messages"); out != first {
			t.Fatalf("two performances differ (-first +later):\n%s", cmp.Diff(first, out))
		}
	}
}

// TestDemoMessages: each message of the responder is there once, in its act, and no key is.
func TestDemoMessages(t *testing.T) {
	_, plain, _ := demo(t)
	code, out, errs := demo(t, "--messages")
	if code != 0 || errs != "" {
		t.Errorf("exit %d: %s", code, errs)
	}
	more := regexp.MustCompile(`^ {9}[a-z]+=`) // where a line goes on
	var told, rest []string
	for line := range strings.Lines(out) {
		switch {
		case strings.HasPrefix(line, "       > "), strings.HasPrefix(line, "       < "):
			told = append(told, strings.Join(strings.Fields(line)[:2], " "))
		case more.MatchString(line):
		default:
			rest = append(rest, line)
		}
	}
	want := []string{
		"> GETSPI", "< GETSPI", "> UPDATE", "< UPDATE", // act 1
		"> DELETE", "< DELETE", "> GETSPI", "< GETSPI", "> UPDATE", "< UPDATE",
		"> DELETE", "< DELETE", "> GETSPI", "< GETSPI", "> GET", "< GET",
		"> GETSPI", "< GETSPI", "> UPDATE", "< UPDATE", "< UPDATE", "< UPDATE", // act 4, on three kernels
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(plain, strings.Join(rest, "")); diff != "" {
		t.Errorf("what is shown beside messages (-without +with):\n%s", diff)
	}
	for n := 2; n <= 3; n++ { // the request comes under what it was for
		if _, after, _ := strings.Cut(act(t, out, n), "\n"); !strings.HasPrefix(after, "       > DELETE ") {
			t.Errorf("act %d begins with\n%s", n, after)
		}
	}
	keys := regexp.MustCompile(`"key": *"([0-9a-f]{32,})"`)
	side, err := pcaps.Files.ReadFile("esp-linux-6.1/esp-aes128cbc-sha1-tra4.json")
	if err != nil {
		t.Fatal(err)
	}
	found := keys.FindAllStringSubmatch(string(side), -1)
	if len(found) < 2 {
		t.Fatalf("the capture has %d keys", len(found))
	}
	secrets := []string{hex.EncodeToString([]byte("racelab, 16 byte"))}
	for _, m := range found {
		secrets = append(secrets, m[1])
	}
	for _, secret := range secrets {
		raw, _ := hex.DecodeString(secret)
		for _, form := range []string{secret, strings.ToUpper(secret), secret[:16], string(raw)} {
			if strings.Contains(out, form) {
				t.Errorf("the output has a key, %q", form)
			}
		}
	}
}

// steps is a pipe of which each read is an Enter.
type steps struct {
	out   *bytes.Buffer
	sizes []int // of the output before each key
	keys  int
}

func (s *steps) Read(b []byte) (int, error) {
	if s.keys == 0 {
		return 0, io.EOF
	}
	s.keys--
	s.sizes = append(s.sizes, s.out.Len())
	b[0] = '\n'
	return 1, nil
}

// TestDemoStep: every Enter of a pipe shows one thing more, and no more than that; after its end nobody waits.
func TestDemoStep(t *testing.T) {
	_, want, _ := demo(t)
	emptyTemp(t)
	for _, keys := range []int{1000, 7, 0} {
		var out bytes.Buffer
		in := &steps{out: &out, keys: keys}
		if code := cli.Run(t.Context(), []string{"demo", "--step"}, in, &out, io.Discard); code != 0 {
			t.Errorf("%d keys: exit %d", keys, code)
		}
		shown := strings.Replace(out.String(), "(a key shows what comes next, Ctrl-C ends)\n", "", 1)
		if diff := cmp.Diff(want, shown); diff != "" {
			t.Errorf("%d keys (-without +with):\n%s", keys, diff)
		}
		if keys < 1000 && len(in.sizes) != keys || keys == 1000 && len(in.sizes) < 50 {
			t.Errorf("%d of %d keys were pressed", len(in.sizes), keys)
		}
		for i := 1; i < len(in.sizes); i++ {
			if in.sizes[i] <= in.sizes[i-1] {
				t.Errorf("key %d shows nothing", i)
			}
			if lines := strings.Count(out.String()[in.sizes[i-1]:in.sizes[i]], "\n"); lines > 12 {
				t.Errorf("key %d shows %d lines", i, lines)
			}
		}
	}
}

// endless has no end and no line.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// TestDemoStepWithoutLines: what has no end of a line does not keep the demo from going on.
func TestDemoStepWithoutLines(t *testing.T) {
	if code, out, errs := demoFrom(t, endless{}, "--step"); code != 0 {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if code, _, errs := demoFrom(t, iotest.ErrReader(io.ErrUnexpectedEOF), "--step"); code != 1 ||
		errs != "pfkeyd: --step: unexpected EOF\n" {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// TestDemoInterrupted: whoever waits for time or for a key ends at once with the context, and nothing more is shown.
func TestDemoInterrupted(t *testing.T) {
	for _, args := range [][]string{{"demo", "--slow=1h"}, {"demo", "--step"}} {
		tmp := emptyTemp(t)
		ctx, interrupt := context.WithCancel(t.Context())
		never, w := io.Pipe()
		out := &first{seen: interrupt}
		var errs bytes.Buffer
		begun := time.Now()
		code := cli.Run(ctx, args, never, out, &errs)
		w.Close() // ends the reader that was left behind
		if code != 1 || errs.String() != "pfkeyd: interrupted\n" || time.Since(begun) > 20*time.Second {
			t.Errorf("%q: exit %d after %v: %s", args, code, time.Since(begun), &errs)
		}
		if n := strings.Count(out.text.String(), "\n"); n != 1 {
			t.Errorf("%q: %d lines, want the title", args, n)
		}
		checkEmpty(t, tmp)
	}
}

// first tells when something is written.
type first struct {
	text strings.Builder
	seen func()
}

func (f *first) Write(b []byte) (int, error) {
	f.seen()
	return f.text.Write(b)
}

// TestDemoSlow: --slow takes its time for each line.
func TestDemoSlow(t *testing.T) {
	begun := time.Now()
	code, out, errs := demo(t, "--slow=2ms")
	took := time.Since(begun)
	if least := time.Duration(strings.Count(out, "\n")-2) * 2 * time.Millisecond; code != 0 || took < least {
		t.Errorf("exit %d after %v, want at least %v: %s", code, took, least, errs)
	}
	if _, plain, _ := demo(t); plain != out {
		t.Errorf("it shows something else (-without +with):\n%s", cmp.Diff(plain, out))
	}
}

func TestDemoUsage(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--kernel", "linux"}, "--kernel linux: the demo needs illumos, where packets wait for keys"},
		{[]string{"--fault", "larval-locked"}, `unknown fault "larval-locked" (known: larval-unlocked, larval-window)`},
		{[]string{"--fault", "ours"}, `unknown fault "ours"`},
		{[]string{"--slow", "--step"}, "--slow and --step exclude each other"},
		{[]string{"--slow=-1s"}, "--slow -1s is less than nothing"},
		{[]string{"--slow=often"}, "a time is wanted"},
		{[]string{"more"}, "takes no arguments"},
	} {
		if code, out, errs := demo(t, tt.args...); code != 2 || out != "" || !strings.Contains(errs, tt.want) {
			t.Errorf("%q: exit %d, %q, %q", tt.args, code, out, errs)
		}
	}
}

// broken is an output that fails after some bytes.
type broken int

func (b *broken) Write(p []byte) (int, error) {
	if *b -= broken(len(p)); *b < 0 {
		return 0, fmt.Errorf("the screen is full")
	}
	return len(p), nil
}

// TestDemoBroken: an output that takes no more ends the demo, also in the middle of an act.
func TestDemoBroken(t *testing.T) {
	for _, room := range []int{0, 400, 3000, 4000} {
		tmp := emptyTemp(t)
		out := broken(room)
		var errs bytes.Buffer
		code := cli.Run(t.Context(), []string{"demo"}, strings.NewReader(""), &out, &errs)
		if code != 1 || errs.String() != "pfkeyd: the screen is full\n" {
			t.Errorf("room for %d bytes: exit %d, %q", room, code, &errs)
		}
		checkEmpty(t, tmp)
	}
}
