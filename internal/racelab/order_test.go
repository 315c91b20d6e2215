package racelab_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/racelab"
	"github.com/pfkeyd/pfkeyd/wire"
)

// cross plays the order of events of 2008 on a variant.
func cross(t *testing.T, variant string) (*racelab.Lab, *racelab.Run) {
	t.Helper()
	lab, err := racelab.New(variant, racelab.EndNone)
	if err != nil {
		t.Fatal(err)
	}
	lab.Detail = true
	r, err := lab.PlayTurns(racelab.Crossing())
	if err != nil {
		t.Fatal(err)
	}
	return lab, r
}

// TestCrossing: one order of events is another schedule in each variant, and each does something else to the packets.
// Two of them were recorded.
func TestCrossing(t *testing.T) {
	for _, tt := range []struct {
		variant, schedule string
		fates             [2]string
		recording         string // set and scenario
		turns             []string
	}{
		{"larval-unlocked", "1112UUU22UU", [2]string{"", "stranded"}, "illumos-2008 interleave/esp-held-over-update",
			[]string{"LARVAL 1", "LARVAL 1", "MATURE -", "MATURE 2", "MATURE 2"}},
		{"larval-window", "1112UU222UU", [2]string{"lost", ""}, "illumos interleave/esp-held-until-take",
			[]string{"LARVAL 1", "LARVAL 1", "MATURE 1", "MATURE -", "MATURE -"}},
		{racelab.Ours, "1112UU222UU", [2]string{}, "",
			[]string{"LARVAL 1", "LARVAL 1", "MATURE -", "MATURE -", "MATURE -"}},
	} {
		t.Run(tt.variant, func(t *testing.T) {
			lab, r := cross(t, tt.variant)
			if r.Schedule != tt.schedule {
				t.Errorf("schedule %s, want %s", r.Schedule, tt.schedule)
			}
			if got := [2]string{r.Fates[0].String(), r.Fates[1].String()}; got != tt.fates {
				t.Errorf("fates %q, want %q", got, tt.fates)
			}
			// The SA at the end of each turn.
			lines := lab.Lines(r)
			var turns []string
			for i, line := range lines[1:] {
				if i+2 == len(lines) || lines[i+2].Who != line.Who {
					turns = append(turns, line.State+" "+line.Holds)
				}
			}
			if diff := cmp.Diff(tt.turns, turns); diff != "" {
				t.Errorf("the SA after each turn (-want +got):\n%s", diff)
			}
			if tt.recording == "" {
				return
			}
			set, scenario, _ := strings.Cut(tt.recording, " ")
			want, got := recorded(t, set, scenario), ends(r)
			want = slices.DeleteFunc(want, func(end string) bool { // that recording goes on, with a DELETE
				return end == "packet 2 dropped: sadb_inlarval_timeout"
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the ends differ from the recording (-recorded +ours):\n%s", diff)
			}
		})
	}
}

// TestDetail: the messages are those of the socket, in the step that they belong to, and the counters are the kernel's.
func TestDetail(t *testing.T) {
	for _, tt := range []struct {
		variant, answered string
		overtaken         map[string]uint64 // what moves in packet 2's second turn
	}{
		{"larval-unlocked", "makes it MATURE", map[string]uint64{}},
		{"larval-window", "makes it MATURE", map[string]uint64{
			"ipdrop/sadb_inlarval_replace": 1, "esp/crypto_sync": 1, "esp/good_auth": 1,
		}},
		{racelab.Ours, "makes it MATURE and takes packet 1, in one go", map[string]uint64{
			"esp/crypto_sync": 1, "esp/good_auth": 1,
		}},
	} {
		t.Run(tt.variant, func(t *testing.T) {
			lab, r := cross(t, tt.variant)
			var got []string
			say := func(does string, ms []racelab.Message) {
				for _, m := range ms {
					h, err := wire.Illumos().Header(m.Data)
					if err != nil {
						t.Fatal(err)
					}
					arrow := map[bool]string{true: "> ", false: "< "}[m.Sent]
					got = append(got, arrow+wire.Illumos().MsgName(h.Type)+": "+does)
				}
			}
			say("opening", r.Opening)
			lines := lab.Lines(r)
			moved, second := map[string]uint64{}, false
			for i, s := range r.Steps {
				say(lines[i+1].Does, s.Messages)
				second = second || s.Actor == racelab.Update
				if second && s.Actor == racelab.Packet2 {
					for name, n := range s.Counters {
						moved[name] += n
					}
				}
			}
			want := []string{"> GETSPI: opening", "< GETSPI: opening",
				"> UPDATE: finds the SA and gives it its keys", "< UPDATE: " + tt.answered}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.overtaken, moved); diff != "" {
				t.Errorf("counters that packet 2 moves after the UPDATE (-want +got):\n%s", diff)
			}
		})
	}
	lab, err := racelab.New(racelab.Ours, racelab.EndNone)
	if err != nil {
		t.Fatal(err)
	}
	r, err := lab.PlayTurns(racelab.Crossing())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Steps {
		if r.Opening != nil || s.Messages != nil || s.Counters != nil {
			t.Errorf("details that nobody has asked for: %+v", s)
		}
	}
}

func TestPlayTurnsRefuses(t *testing.T) {
	lab, err := racelab.New(racelab.Ours, racelab.EndDelete)
	if err != nil {
		t.Fatal(err)
	}
	p1, p2, u, e := racelab.Packet1, racelab.Packet2, racelab.Update, racelab.End
	for _, tt := range []struct {
		turns []racelab.Turn
		why   string
	}{
		{nil, "after 0 turns 4 actors have not ended"},
		{racelab.Crossing(), "after 5 turns 1 actors have not ended"},
		{[]racelab.Turn{{p1, racelab.Ended}, {p1, racelab.Ended}}, `turn 2: '1' cannot go on`},
		{[]racelab.Turn{{'X', racelab.Ended}}, `turn 1: 'X' cannot go on`},
	} {
		if _, err := lab.PlayTurns(tt.turns); err == nil || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%v: %v, want %q", tt.turns, err, tt.why)
		}
	}
	// Whoever ends before the mark has had its turn.
	r, err := lab.PlayTurns([]racelab.Turn{
		{e, racelab.Ended}, {p1, racelab.Looked}, {p2, racelab.Looked}, {u, racelab.Promoted},
	})
	if err != nil || r.Fates[0].Fails() {
		t.Errorf("%+v, %v", r, err)
	}
}
