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
	"github.com/pfkeyd/pfkeyd/internal/racelab"
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
	code, out, errs := runRace("--free", "--plot="+file, "--trials", "20", "--delay", "0,50us")
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

// The plot says what every schedule says: the shares, the point of no return, and what real threads do, with the window
// that was widened.
func TestRacePlot(t *testing.T) {
	small := []string{"--ending", "none", "--trials", "3", "--delay", "0"}
	code, out, errs := runRace(append(small, "--plot")...)
	if code != 0 || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, want := range []string{"larval-unlocked none  █████████░░░ 72.1%  ██░░░░░░░░░░ 15.3%",
		"larval-window   none",
		"ours            none", "The point of no return: larval-unlocked/none/1UU", "3906 of 5420", "171 of 171: all",
		"after 1UU there is no way back", "no window is widened", " of 3\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
	for line := range strings.Lines(out) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	file := filepath.Join(t.TempDir(), "race.svg")
	code, out, errs = runRace(append(small, "--plot="+file, "--window", "30us")...)
	if code != 0 || !strings.Contains(out, "again: ipsecinject race --replay") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(b, new(struct{})); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"171 of 171: all", "THE WINDOW IS WIDENED BY 30µs", "prefers-color-scheme:dark"} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("the picture lacks %q:\n%s", want, b)
		}
	}
}

// The page has every schedule, each with the end that the lab gives it.
func TestRacePage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "race.html")
	code, _, errs := runRace("--ending", "none", "--html", file)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(b, []byte(`id="data">`))
	text, _, ok := bytes.Cut(rest, []byte("</script>"))
	var data struct {
		Variants, Endings []string
		Trees             []struct {
			racelab.Tree
			Shortest struct{ Stranded, Lost, Dead string }
		}
	}
	if err := json.Unmarshal(text, &data); !ok || err != nil || len(data.Trees) != 3 {
		t.Fatalf("%d trees, %v", len(data.Trees), err)
	}
	for _, loads := range []string{"http:", "https:", "src=", "import", "fetch("} {
		if bytes.Contains(b, []byte(loads)) {
			t.Errorf("the page loads something: %s", loads)
		}
	}
	for _, tree := range data.Trees {
		lab, err := racelab.New(tree.Variant, tree.Ending)
		if err != nil {
			t.Fatal(err)
		}
		err = lab.Explore(func(r *racelab.Run) bool {
			path, err := tree.Path(r.Schedule)
			if err != nil {
				t.Error(err)
				return false
			}
			end := tree.Nodes[path[len(path)-1]].End
			if end == 0 || (len(tree.Ends[end-1].Wrong[0])+len(tree.Ends[end-1].Wrong[1]) > 0) != r.Fails() {
				t.Errorf("%s/%s: the page has it end as %d", tree.Variant, r.Schedule, end)
			}
			return !t.Failed()
		})
		if err != nil {
			t.Fatal(err)
		}
		if (tree.Shortest.Stranded != "") != (tree.Variant == "larval-unlocked") {
			t.Errorf("%s: the shortest that strands is %q", tree.Variant, tree.Shortest.Stranded)
		}
	}
	nowhere := filepath.Join(t.TempDir(), "no", "x")
	if code, _, _ := runRace("--ending", "none", "--fault", "ours", "--html", nowhere); code != 1 {
		t.Errorf("a page that cannot be written: exit %d", code)
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
	code := cli.Run(ctx, []string{"race", "--free", "--plot=" + file, "--trials", "20", "--delay", "0"}, nil, out,
		&errs)
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
		{"--plot", "race.svg"}, {"--plot", "--json"}, {"--html", "x.html", "--free"}, {"--window", "-1s"},
		{"--plot", "--arrivals", "3"},
	} {
		if code, _, errs := runRace(args...); code != 2 || errs == "" {
			t.Errorf("%q: exit %d, %q", args, code, errs)
		}
	}
	if code, _, _ := runRace("--free", "--plot="+filepath.Join(t.TempDir(), "no", "where.svg"), "--trials", "1",
		"--delay", "0"); code != 1 {
		t.Errorf("a plot that cannot be written: exit %d", code)
	}
}
