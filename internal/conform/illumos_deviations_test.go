package conform_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pfkeyd/pfkeyd/internal/conform"
)

var update = flag.Bool("update", false, "write illumos/answers.jsonl anew")

// Where the original panics, the emulator gives the answers that are listed. Read the difference before updating.
func TestAnswers(t *testing.T) {
	var got bytes.Buffer
	for _, sc := range builtin(t) {
		if !sc.Panic {
			continue
		}
		rec, err := conform.Play(conform.InProcess{Kernel: of("illumos")}, of("illumos"), sc)
		if err != nil {
			t.Errorf("%s: %v", sc.Name, err)
			continue
		}
		last := &conform.Scenario{Name: sc.Name, Steps: rec.Steps[len(rec.Steps)-1:]}
		if err := last.Write(&got); err != nil {
			t.Fatal(err)
		}
	}
	const file = "illumos/answers.jsonl"
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")); d != "" {
		t.Errorf("(-listed +given):\n%s", d)
	}
}

// engineResults plays recordings on the emulated illumos.
func engineResults(t testing.TB, fault string, recorded ...*conform.Scenario) []conform.Result {
	t.Helper()
	return report(t, conform.Config{Kernel: of("illumos"), Fault: fault, Patience: 20 * time.Second}, recorded).Results
}

// The emulator passes every recording, and takes a deviation for no more of them than is known.
func TestIllumosPasses(t *testing.T) {
	deviating := map[string]int{}
	for _, r := range engineResults(t, "", builtin(t)...) {
		if r.Status != conform.Passed {
			t.Errorf("%s: %v", r.Scenario, r.Differences[0])
		}
		for _, d := range r.Deviations {
			deviating[d]++
			if class, _, _ := strings.Cut(r.Scenario, "/"); d != "panic" && class != "interleave" && class != "idle" {
				t.Errorf("%s deviates: %s", r.Scenario, d)
			}
		}
	}
	want := map[string]int{"panic": 60, "dead-sa": 18, "elsewhere-sa": 4, "flushed-larval": 8, "promoted-slot": 3,
		"idle-leak": 1}
	if d := cmp.Diff(want, deviating); d != "" {
		t.Errorf("deviations (-want +got):\n%s", d)
	}
}

// A deviation hides nothing beside it: the recording is changed in every place where it still counts, and each time the
// scenario fails.
func TestDeviationsAreExact(t *testing.T) {
	for _, sc := range builtin(t) {
		if !strings.HasPrefix(sc.Name, "interleave/") && !strings.HasPrefix(sc.Name, "idle/") {
			continue
		}
		r := engineResults(t, "", sc)[0]
		if r.Deviations == nil || r.Deviations[0] == "panic" {
			continue
		}
		rec, err := conform.Play(conform.InProcess{Kernel: of("illumos")}, of("illumos"), sc)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		var changed []*conform.Scenario
		for i := range sc.Steps {
			if sc.Steps[i].At != "" {
				continue // its result is empty, whatever it is
			}
			for what, change := range changes(&sc.Steps[i]) {
				c := sc.Clone()
				change(&c.Steps[i])
				if deviates(t, sc.Steps[i], rec.Steps[i]) && !strings.HasPrefix(what, "one more") {
					continue // perhaps the change is in what the deviation replaces
				}
				names = append(names, what)
				changed = append(changed, c)
			}
		}
		for i, r := range engineResults(t, "", changed...) {
			if r.Status != conform.Failed {
				t.Errorf("%s: %s: not found", sc.Name, names[i])
			}
		}
	}
}

// deviates says whether the emulator's outcome of a step is another one than recorded, apart from volatile bytes.
func deviates(t *testing.T, want, got conform.Step) bool {
	t.Helper()
	mask := func(s conform.Step) string {
		c := clone(t, &conform.Scenario{Steps: []conform.Step{s}}).Steps[0].Outcome
		for i, m := range c.Rx {
			for _, v := range m.Vol {
				clear(m.Hex[v.Offset : v.Offset+v.Len])
			}
			c.Rx[i].Vol = nil
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	return mask(want) != mask(got)
}

// With the fault that illumos has, the scenarios of the race match the recordings as they are; with the older one, what
// it breaks is caught.
func TestFaultsAreCaught(t *testing.T) {
	var scs []*conform.Scenario
	for _, sc := range builtin(t) {
		if strings.HasPrefix(sc.Name, "interleave/") && !sc.Panic {
			scs = append(scs, sc)
		}
	}
	for _, r := range engineResults(t, "larval-window", scs...) {
		// What it does with a flushed SA has nothing to do with the window.
		if r.Status != conform.Passed || r.Deviations != nil &&
			!slices.Equal(r.Deviations, []string{"flushed-larval"}) {
			t.Errorf("larval-window: %s: %s %v %v", r.Scenario, r.Status, r.Deviations, r.Differences)
		}
	}
	var caught []string
	for _, r := range engineResults(t, "larval-unlocked", scs...) {
		if r.Status == conform.Failed {
			caught = append(caught, strings.TrimPrefix(r.Scenario, "interleave/"))
		}
	}
	for _, name := range []string{"esp-held-until-taken", "esp-packet-after-take", "esp6-held-over-update"} {
		if !slices.Contains(caught, name) {
			t.Errorf("larval-unlocked: %s passes; caught are %v", name, caught)
		}
	}
}

// The fault larval-unlocked is the race as it really was: what became of the packets in 2008 is what becomes of them
// with it. The messages of that version differ, so only fates are compared.
func TestOldRaceIsTheRecordedOne(t *testing.T) {
	// Not of the race: other ways for an UPDATE to fail, when a DEAD SA lets go of its packet, and requests inside of a
	// request.
	except := regexp.MustCompile(
		`-(delete-before-store-second|fail-before-store|held-over-fail|held-over-update-expire|(delete|flush)-(before|after)-take|taskq-refuses)$`)
	n := 0
	for _, r := range engineResults(t, "larval-unlocked", recordings(t, "illumos-2008/interleave.jsonl.gz")...) {
		if except.MatchString(r.Scenario) {
			continue
		}
		n++
		for _, d := range r.Differences {
			if d.Field == "verdict" || d.Field == "inner" || d.Field == "play" ||
				strings.HasPrefix(d.Field, "packets") {
				t.Errorf("%s: %v", r.Scenario, d)
			}
		}
	}
	if n < 80 {
		t.Errorf("%d scenarios only", n)
	}
	// The older recordings do tell the fault from the emulator without it.
	caught := 0
	for _, r := range engineResults(t, "", recordings(t, "illumos-2008/interleave.jsonl.gz")...) {
		for _, d := range r.Differences {
			if strings.HasPrefix(d.Field, "packets") && strings.Contains(r.Scenario, "held-over-update") {
				caught++
				break
			}
		}
	}
	if caught < 4 {
		t.Errorf("without the fault, %d scenarios in which a packet is held over an UPDATE differ", caught)
	}
}

// The deviations hold for all four protocols and families, also where there is no recording of 2015: the actions are
// those of 2008, and the recording is what the emulator with illumos' present fault answers, which
// [TestFaultsAreCaught] compares with what illumos answered.
func TestDeviationsInAllFamilies(t *testing.T) {
	window := conform.InProcess{Kernel: of("illumos"), Fault: "larval-window"}
	panics := regexp.MustCompile(`-((delete|timeout)-before-store(-second)?|taskq-refuses)$`) // in 2015
	var recorded []*conform.Scenario
	for _, sc := range recordings(t, "illumos-2008/interleave.jsonl.gz") {
		if panics.MatchString(sc.Name) || sc.Panic {
			continue
		}
		rec, err := conform.Play(window, of("illumos"), sc)
		if err != nil {
			t.Fatalf("%s: %v", sc.Name, err)
		}
		recorded = append(recorded, rec)
	}
	families := map[string]map[string]bool{} // of a deviation
	for _, r := range engineResults(t, "", recorded...) {
		if r.Status != conform.Passed {
			t.Errorf("%s: %v", r.Scenario, r.Differences)
		}
		for _, d := range r.Deviations {
			if families[d] == nil {
				families[d] = map[string]bool{}
			}
			family, _, _ := strings.Cut(strings.TrimPrefix(r.Scenario, "interleave/"), "-")
			families[d][family] = true
		}
	}
	for _, d := range []string{"dead-sa", "elsewhere-sa", "promoted-slot"} {
		if len(families[d]) != 4 {
			t.Errorf("%s: %v only", d, families[d])
		}
	}
}
