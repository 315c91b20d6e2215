package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pfkeyd/pfkeyd/cmd/ipsecinject/cli"
)

// run executes the command.
func runRace(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = cli.Run(context.Background(), append([]string{"race"}, args...), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestRaceEvery(t *testing.T) {
	code, out, errs := runRace("--ending", "none")
	if code != 0 || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, want := range []string{
		"larval-unlocked  none           5420       3906",
		"ours             none           4038          0",
		"again: ipsecinject race --replay larval-unlocked/none/",
		"again: ipsecinject race --replay larval-window/none/",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
	for line := range strings.Lines(out) {
		if len(line) > 81 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
	code, out, _ = runRace("--ending", "none", "--fault", "ours", "--json")
	var s struct{ Schedules, Failing int }
	if err := json.Unmarshal([]byte(out), &s); code != 0 || err != nil || s.Schedules != 4038 || s.Failing != 0 {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
}

func TestRaceReplay(t *testing.T) {
	code, out, errs := runRace("--replay", "larval-unlocked/none/1UUUU1122")
	if code != 0 || !strings.Contains(out, "packet 1: waits   <- stranded") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	code, out, _ = runRace("--replay", "larval-unlocked/none/1UUUU1122", "--json")
	var s struct {
		Fates []string
		Steps []struct {
			Actor string
			Held  []int
		}
	}
	if err := json.Unmarshal([]byte(out), &s); code != 0 || err != nil || s.Fates[0] != "stranded" ||
		len(s.Steps) != 9 || len(s.Steps[8].Held) != 1 {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
}

func TestRaceFree(t *testing.T) {
	file := filepath.Join(t.TempDir(), "race.svg")
	code, out, errs := runRace("--plot", file, "--trials", "20", "--delay", "0,50us")
	if code != 0 || strings.Count(out, "\n") != 4+3*2+4 ||
		!regexp.MustCompile(`(?m)^ours: \d+ hits? in 40 trials, \d+ astride$`).MatchString(out) {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	number := regexp.MustCompile(`\d+`)
	for line := range strings.Lines(out) {
		if strings.Contains(line, " trials") {
			line = number.ReplaceAllString(line, "10000000") // the summary grows with the number of trials
		}
		if utf8.RuneCountInString(line) > 81 {
			t.Errorf("%d columns: %s", utf8.RuneCountInString(line)-1, line)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(b, new(struct{})); err != nil || !bytes.Contains(b, []byte("larval-unlocked")) ||
		!bytes.Contains(b, []byte("50µs")) {
		t.Errorf("no picture of it: %v\n%.300s", err, b)
	}
}

// lookout cancels when what it waits for has been written.
type lookout struct {
	bytes.Buffer
	waitFor string
	cancel  context.CancelFunc
}

func (l *lookout) Write(b []byte) (int, error) {
	n, err := l.Buffer.Write(b)
	if strings.Contains(l.String(), l.waitFor) {
		l.cancel()
	}
	return n, err
}

// An interrupt ends the measurement with what there is, in words, and draws it.
func TestRaceFreeInterrupted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "race.svg")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var errs bytes.Buffer
	out := &lookout{waitFor: "larval-window ", cancel: cancel}
	code := cli.Run(ctx, []string{"race", "--plot", file, "--trials", "20", "--delay", "0"}, nil, out, &errs)
	interrupted := regexp.MustCompile(`^ipsecinject: interrupted after [23] of 3 lines\n$`)
	if code != 1 || !interrupted.MatchString(errs.String()) {
		t.Errorf("exit %d: %s", code, &errs)
	}
	if !strings.Contains(out.String(), "larval-unlocked: ") || !strings.Contains(out.String(), "larval-window: ") {
		t.Errorf("no summary:\n%s", out)
	}
	if b, err := os.ReadFile(file); err != nil || !bytes.Contains(b, []byte("larval-window")) {
		t.Errorf("no picture: %v", err)
	}
}

func TestRaceArrivals(t *testing.T) {
	code, out, errs := runRace("--arrivals", "20000")
	if code != 0 || !strings.Contains(out, "20000 injected = 20000 ended + 0 held + 0 in flight") ||
		!strings.Contains(out, "nothing was stranded") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

func TestRaceUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--fault", "theirs"}, {"--ending", "never"}, {"--replay", "x"}, {"--replay", "ours/none/XYZ"},
		{"--replay", "ours/none/1"}, {"--free", "--arrivals", "3"},
		{"--free", "--trials", "0"}, {"--arrivals", "-1"}, {"--free", "--delay", "-1s"}, {"--packets", "65"}, {"more"},
	} {
		if code, _, errs := runRace(args...); code != 2 || errs == "" {
			t.Errorf("%q: exit %d, %q", args, code, errs)
		}
	}
	if code, _, _ := runRace("--plot", filepath.Join(t.TempDir(), "no", "where.svg"), "--trials", "1", "--delay",
		"0"); code != 1 {
		t.Errorf("a plot that cannot be written: exit %d", code)
	}
}
