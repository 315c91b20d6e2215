package racelab_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/racelab"
	"github.com/pfkeyd/pfkeyd/packet"
)

var all = flag.Bool("all", false, "explore every variant with every ending, which takes half a minute")

// modelCounts reads what spin has counted on the model.
func modelCounts(t *testing.T) map[string]racelab.Survey {
	t.Helper()
	b, err := os.ReadFile("../../proof/counts.txt")
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]racelab.Survey{}
	for line := range strings.Lines(string(b)) {
		var s racelab.Survey
		name, rest, ok := strings.Cut(line, ": ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		s.Variant, s.Ending, _ = strings.Cut(name, " ")
		if _, err := fmt.Sscanf(rest, "%d schedules, %d failing: %d stranded, %d lost, %d dead", &s.Schedules,
			&s.Failing, &s.Stranded, &s.Lost, &s.Dead); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		counts[name] = s
	}
	return counts
}

// TestEverySchedule plays the schedules of the real code, and compares their number, and how many did what wrong, with
// the model that spin has proved.
func TestEverySchedule(t *testing.T) {
	most := 25_000
	if testing.Short() || raceEnabled {
		most = 6_000
	}
	for _, v := range racelab.Variants() {
		for _, e := range racelab.Endings() {
			t.Run(v+"/"+e, func(t *testing.T) {
				want, ok := modelCounts(t)[v+" "+e]
				if !ok {
					t.Fatal("the model says nothing of it")
				}
				if want.Schedules > most && !*all {
					t.Skipf("%d schedules: -all plays them", want.Schedules)
				}
				t.Parallel()
				got, err := racelab.Explore(context.Background(), []string{v}, []string{e}, nil)
				if err != nil {
					t.Fatal(err)
				}
				s := got[0]
				if s.Broken != "" {
					t.Errorf("after schedule %s the books do not add up", s.Broken)
				}
				if (s.Worst() != "") != (s.Failing > 0) {
					t.Errorf("%d schedules fail, the worst is %q", s.Failing, s.Worst())
				}
				s.ShortestDead, s.ShortestLost, s.ShortestStranded, s.Broken = "", "", "", ""
				if diff := cmp.Diff(want, s); diff != "" {
					t.Errorf("the code differs from the model (-model +code):\n%s", diff)
				}
				if v == racelab.Ours && s.Failing > 0 {
					t.Errorf("%d schedules do wrong to a packet", s.Failing)
				}
			})
		}
	}
}

// recorded reads what became of the packets in a scenario of a set of recordings, as sorted lines like "packet 1
// delivered".
func recorded(t *testing.T, set, scenario string) (ends []string) {
	t.Helper()
	f, err := os.Open("../../testdata/golden/" + set + "/interleave.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	type fate struct {
		ID              uint64
		Verdict, Reason string
	}
	for d := json.NewDecoder(z); d.More(); {
		var sc struct {
			Name  string
			Steps []struct {
				fate
				Packets []fate
			}
		}
		if err := d.Decode(&sc); err != nil {
			t.Fatal(err)
		}
		if sc.Name != scenario {
			continue
		}
		for _, s := range sc.Steps {
			for _, x := range append(s.Packets, s.fate) {
				if x.Verdict == "" || x.Verdict == "paused" {
					continue
				}
				end := fmt.Sprintf("packet %d %s", x.ID, x.Verdict)
				if x.Reason != "" {
					end += ": " + x.Reason
				}
				ends = append(ends, end)
			}
		}
	}
	if len(ends) < 3 {
		t.Fatalf("recording %s tells only %q", scenario, ends)
	}
	// A recording tells that a packet was queued when the call returned, which was after what the call had caused.
	slices.Sort(ends)
	return ends
}

// ends is the same of a run.
func ends(r *racelab.Run) (ends []string) {
	for _, s := range r.Steps {
		for _, v := range s.Verdicts {
			ends = append(ends, v.String())
		}
	}
	slices.Sort(ends)
	return ends
}

// TestSameEndsAs2008: in the orders of three recordings, larval-unlocked does to the packets what the kernel of that
// time did.
func TestSameEndsAs2008(t *testing.T) {
	for _, tt := range []struct{ scenario, schedule, ending string }{
		// Packet 2 has seen LARVAL, the UPDATE runs to its end, packet 2 stores; DELETE.
		{"interleave/esp-held-over-update", "1112UUUUU22EE", racelab.EndDelete},
		// Packet 2 has seen LARVAL, and stores between the slot being emptied and the promotion; DELETE.
		{"interleave/esp-held-until-taken", "1112UU22UUUEE", racelab.EndDelete},
		// Packet 2 arrives in that gap.
		{"interleave/esp-packet-after-take", "111UU222UUU", racelab.EndNone},
	} {
		t.Run(tt.scenario, func(t *testing.T) {
			want := recorded(t, "illumos-2008", tt.scenario)
			lab, err := racelab.New("larval-unlocked", tt.ending)
			if err != nil {
				t.Fatal(err)
			}
			r, err := lab.Play(tt.schedule)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, ends(r)); diff != "" {
				t.Errorf("the ends differ (-recorded +ours):\n%s", diff)
			}
			if !r.Fates[1].Stranded {
				t.Error("packet 2 is not called stranded")
			}
		})
	}
}

// TestStories tells one schedule for each thing that can go wrong.
func TestStories(t *testing.T) {
	for _, tt := range []struct {
		variant, ending, schedule string
		fate                      string
		told                      []string
	}{
		{"larval-unlocked", racelab.EndNone, "1UU11U22U", "stranded", []string{"stores itself, without looking again",
			"packet 1: waits   <- stranded"}},
		{"larval-window", racelab.EndNone, "1112UU222UU", "lost",
			[]string{"throws packet 1", "packet 1: dropped: sadb_inlarval_replace   <- lost"}},
		{"larval-window", racelab.EndDelete, "UUUU1EE12", "delivered on a DEAD SA",
			[]string{"packet 1: delivered   <- delivered on a DEAD SA"}},
		{racelab.Ours, racelab.EndNone, "1112UU222UU", "", []string{"packet 1: delivered\n", "packet 2: delivered\n"}},
	} {
		t.Run(tt.variant+"/"+tt.schedule, func(t *testing.T) {
			lab, err := racelab.New(tt.variant, tt.ending)
			if err != nil {
				t.Fatal(err)
			}
			r, err := lab.Play(tt.schedule)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Fates[0].String() + r.Fates[1].String(); got != tt.fate {
				t.Errorf("fates %q, want %q", got, tt.fate)
			}
			var b strings.Builder
			lab.Tell(&b, r)
			for _, want := range tt.told {
				if !strings.Contains(b.String(), want) {
					t.Errorf("the story lacks %q:\n%s", want, b.String())
				}
			}
			for line := range strings.Lines(b.String()) {
				if len(line) > 81 {
					t.Errorf("%d columns: %s", len(line)-1, line)
				}
			}
		})
	}
}

// TestStoriesFit tells many schedules: every line fits, and none is without words.
func TestStoriesFit(t *testing.T) {
	for _, v := range racelab.Variants() {
		for _, e := range racelab.Endings() {
			lab, err := racelab.New(v, e)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			err = lab.Explore(func(r *racelab.Run) bool {
				var b strings.Builder
				lab.Tell(&b, r)
				for line := range strings.Lines(b.String()) {
					if len(line) > 81 {
						t.Errorf("%s %s %s: %d columns: %s", v, e, r.Schedule, len(line)-1, line)
					}
				}
				n++
				return n < 200 && !t.Failed()
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestPlayRefuses(t *testing.T) {
	lab, err := racelab.New(racelab.Ours, racelab.EndDelete)
	if err != nil {
		t.Fatal(err)
	}
	for schedule, why := range map[string]string{
		"":        "ends while",
		"111":     "ends while",
		"X":       "cannot go on",
		"1111111": "cannot go on",
		// The UPDATE is stopped with the control lock held: DELETE cannot begin there.
		"UE": "cannot go on",
	} {
		if _, err := lab.Play(schedule); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("schedule %q: %v, want %q", schedule, err, why)
		}
	}
	for _, bad := range [][2]string{{"theirs", racelab.EndNone}, {racelab.Ours, "never"}} {
		if _, err := racelab.New(bad[0], bad[1]); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// TestReplay: a schedule that was found plays the same again by its name.
func TestReplay(t *testing.T) {
	lab, err := racelab.New("larval-window", racelab.EndDelete)
	if err != nil {
		t.Fatal(err)
	}
	type played struct {
		schedule string
		kinds    []packet.Kind
	}
	play := func(r *racelab.Run) (p played) {
		p.schedule = r.Schedule
		for _, f := range r.Fates {
			for _, v := range f.Verdicts {
				p.kinds = append(p.kinds, v.Kind)
			}
		}
		return p
	}
	var found []played
	if err := lab.Explore(func(r *racelab.Run) bool {
		if r.Fails() {
			found = append(found, play(r))
		}
		return len(found) < 100
	}); err != nil {
		t.Fatal(err)
	}
	if len(found) < 100 {
		t.Fatalf("only %d failing schedules", len(found))
	}
	for _, want := range found {
		r, err := lab.Play(want.schedule)
		if err != nil {
			t.Fatal(err)
		}
		if got := play(r); !slices.Equal(got.kinds, want.kinds) {
			t.Errorf("%s: %v, then %v", want.schedule, want.kinds, got.kinds)
		}
	}
}
