package racelab_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/racelab"
)

// grown is every schedule without an ending: trees the way that a page gets them, and surveys.
var grown = sync.OnceValues(func() (trees []*racelab.Tree, surveys []racelab.Survey) {
	made, surveys, err := racelab.Grow(context.Background(), racelab.Variants(), []string{racelab.EndNone}, nil)
	var b []byte
	if err == nil {
		b, err = json.Marshal(made)
	}
	if err == nil {
		err = json.Unmarshal(b, &trees)
	}
	if err != nil {
		panic(err)
	}
	return trees, surveys
})

// TestTree: the tree has each schedule of the lab, with its steps and its end, and no other one.
func TestTree(t *testing.T) {
	trees, surveys := grown()
	for i, tree := range trees {
		t.Run(tree.Variant, func(t *testing.T) {
			s := surveys[i]
			counts := tree.Counts()
			want := racelab.Count{Schedules: s.Schedules, Failing: s.Failing, Stranded: s.Stranded, Lost: s.Lost,
				Dead: s.Dead}
			if d := cmp.Diff(want, counts[len(counts)-1]); d != "" {
				t.Errorf("the survey and the tree differ (-survey +tree):\n%s", d)
			}
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
				for k, line := range lab.Lines(r) {
					h := tree.Steps[tree.Nodes[path[k]].Step]
					if got := (racelab.Line{Who: h.Who, Does: h.Does, State: h.State, Holds: h.Holds}); got != line {
						t.Errorf("%s, step %d: %+v, want %+v", r.Schedule, k, got, line)
					}
					var verdicts []string
					if k > 0 {
						for _, v := range r.Steps[k-1].Verdicts {
							verdicts = append(verdicts, v.String())
						}
					}
					if d := cmp.Diff(verdicts, h.Verdicts); d != "" {
						t.Errorf("%s, step %d: verdicts (-want +got):\n%s", r.Schedule, k, d)
					}
				}
				last := tree.Nodes[path[len(path)-1]]
				if last.End == 0 || len(last.Next) != 0 {
					t.Errorf("%s does not end", r.Schedule)
					return false
				}
				end := tree.Ends[last.End-1]
				for p, f := range r.Fates {
					wrong := strings.Join(end.Wrong[p], " ")
					for name, is := range map[string]bool{"stranded": f.Stranded, "lost": f.Lost, "dead": f.Dead} {
						if strings.Contains(wrong, name) != is {
							t.Errorf("%s: packet %d is called %q, want %s %v", r.Schedule, p+1, wrong, name, is)
						}
					}
				}
				return !t.Failed()
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestNoReturn: along one schedule of 2008 the share of ends that do wrong grows, until it is all of them.
func TestNoReturn(t *testing.T) {
	trees, _ := grown()
	tree := trees[0]
	path, err := tree.Path("1UU")
	if err != nil {
		t.Fatal(err)
	}
	counts := tree.Counts()
	var got [][2]int
	for _, n := range path {
		got = append(got, [2]int{counts[n].Failing, counts[n].Schedules})
	}
	if d := cmp.Diff([][2]int{{3906, 5420}, {1221, 1811}, {561, 713}, {171, 171}}, got); d != "" {
		t.Errorf("failing, of how many (-want +got):\n%s", d)
	}
}

func TestPathRefuses(t *testing.T) {
	trees, _ := grown()
	for _, name := range []string{"X", "E", "11111", "\xff"} {
		if path, err := trees[2].Path(name); err == nil || !strings.Contains(err.Error(), "cannot go on") {
			t.Errorf("%q: %v, %v", name, path, err)
		}
	}
}
