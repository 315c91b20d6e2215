package conform_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/linux"
)

// bridgedResults plays recordings as on the host's own kernel, but on an emulated one that refuses what netlink does.
func bridgedResults(t *testing.T, recorded []*conform.Scenario) []conform.Result {
	t.Helper()
	return report(t, conform.Config{Kernel: linux.Bridged, Target: conform.InProcess{Kernel: linux.Limited},
		Patience: 20 * time.Second}, recorded).Results
}

// What netlink cannot do is a deviation with a name, in those recordings that ask for it and in no other.
func TestBridgedDeviates(t *testing.T) {
	var deviating []string
	for _, r := range bridgedResults(t, linuxRecordings(t)) {
		if r.Status != conform.Passed {
			t.Errorf("%s: %v", r.Scenario, r.Differences)
		}
		if r.Deviations != nil {
			deviating = append(deviating, r.Scenario)
		}
	}
	slices.Sort(deviating)
	want := []string{"add/spi-10000-st9", "add/spi-80000000-st9", "add/spi-ffffffff-st9", "mut/08-2330"}
	if d := cmp.Diff(want, deviating); d != "" {
		t.Errorf("deviating (-want +got):\n%s", d)
	}
}

// The deviation hides nothing beside it: whatever is changed in a step where the refusal does not show is found.
func TestBridgedDeviationHidesNothing(t *testing.T) {
	var bent []*conform.Scenario
	for _, sc := range linuxRecordings(t) {
		if !strings.HasSuffix(sc.Name, "-st9") || !strings.HasPrefix(sc.Name, "add/spi-") {
			continue
		}
		amended := sc.Clone()
		linux.Bridged.Deviations[0].Amend(amended)
		for i := range sc.Steps {
			if !cmp.Equal(sc.Steps[i].Outcome, amended.Steps[i].Outcome, cmp.AllowUnexported(conform.Outcome{})) {
				continue
			}
			for what, change := range changes(&sc.Steps[i]) {
				c := sc.Clone()
				c.Name += " " + what
				change(&c.Steps[i])
				bent = append(bent, c)
			}
		}
	}
	if len(bent) < 10 {
		t.Fatalf("%d changes", len(bent))
	}
	for _, r := range bridgedResults(t, bent) {
		if r.Status != conform.Failed {
			t.Errorf("%s: %s", r.Scenario, r.Status)
		}
	}
}
