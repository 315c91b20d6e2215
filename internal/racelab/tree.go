package racelab

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/packet"
)

// A Tree is every schedule of one variant with one ending, and what the real code did in each of its steps. From its
// root one node after another is a schedule. What goes on alike is there once only, so that hundreds of thousands of
// schedules are a few thousand nodes. Nobody changes it once it is made.
type Tree struct {
	Variant string      `json:"variant"`
	Ending  string      `json:"ending"`
	Steps   []Happening `json:"steps"`
	Ends    []Outcome   `json:"ends"`
	Nodes   []Node      `json:"nodes"` // those that follow before those that they follow; the root is the last
}

// Happening is one step in words.
type Happening struct {
	Actor    string   `json:"actor"` // its letter; "" for what has happened before the first step
	Who      string   `json:"who,omitempty"`
	Does     string   `json:"does"`
	State    string   `json:"state"` // of the SA after it; in brackets when nobody finds the SA any more
	Holds    string   `json:"holds"` // the packets that wait on it then; "-" if none
	Verdicts []string `json:"verdicts,omitempty"`
}

// Outcome is what became of the two packets at the end of a schedule.
type Outcome struct {
	Ends  [2]string   `json:"ends"`  // such as "delivered", "waits"
	Wrong [2][]string `json:"wrong"` // some of "stranded", "lost" and "dead"; nothing if it was done right
}

// Node is a step in its place.
type Node struct {
	Step int   `json:"s"`           // index of Steps
	Next []int `json:"n,omitempty"` // who can go on: indices of Nodes, in the order of the actors
	End  int   `json:"e,omitempty"` // of the last step: index of Ends, from 1; 0 otherwise
}

// Count is how many schedules there are, and how many of them do wrong to a packet; one may do several wrongs.
type Count struct{ Schedules, Failing, Stranded, Lost, Dead int }

// Share is a part of the schedules, from 0 to 1.
func (c Count) Share(n int) float64 {
	if c.Schedules == 0 {
		return 0
	}
	return float64(n) / float64(c.Schedules)
}

// Counts counts for each node the schedules that go through it in one way.
func (t *Tree) Counts() []Count {
	counts := make([]Count, len(t.Nodes))
	for i, n := range t.Nodes {
		c := &counts[i]
		if n.End > 0 {
			c.end(&t.Ends[n.End-1])
		}
		for _, next := range n.Next {
			o := counts[next]
			c.Schedules += o.Schedules
			c.Failing += o.Failing
			c.Stranded += o.Stranded
			c.Lost += o.Lost
			c.Dead += o.Dead
		}
	}
	return counts
}

func (c *Count) end(o *Outcome) {
	c.Schedules++
	wrong := slices.Concat(o.Wrong[0], o.Wrong[1])
	for _, kind := range []struct {
		name string
		n    *int
	}{{wrongStranded, &c.Stranded}, {wrongLost, &c.Lost}, {wrongDead, &c.Dead}} {
		if slices.Contains(wrong, kind.name) {
			*kind.n++
		}
	}
	if len(wrong) > 0 {
		c.Failing++
	}
}

// Path finds the nodes of a schedule, the root first. The name may end before the schedule does.
func (t *Tree) Path(schedule string) ([]int, error) {
	at := len(t.Nodes) - 1
	path := []int{at}
	for i := range len(schedule) {
		next := slices.IndexFunc(t.Nodes[at].Next, func(n int) bool {
			return t.Steps[t.Nodes[n].Step].Actor == schedule[i:i+1]
		})
		if next < 0 {
			return nil, fmt.Errorf("racelab: schedule %q: %q cannot go on at place %d", schedule, schedule[i:i+1], i+1)
		}
		at = t.Nodes[at].Next[next]
		path = append(path, at)
	}
	return path, nil
}

// Grow plays all schedules as [Explore] does, and makes a tree of each variant with each ending beside.
func Grow(ctx context.Context, variants, endings []string, progress func(played int)) ([]*Tree, []Survey, error) {
	growing := make([]*grower, len(variants)*len(endings))
	surveys, err := explore(ctx, variants, endings, progress, func(i int, l *Lab, r *Run) {
		if growing[i] == nil {
			growing[i] = newGrower(l)
		}
		growing[i].add(r)
	})
	if err != nil {
		return nil, nil, err
	}
	trees := make([]*Tree, len(growing))
	for i, g := range growing {
		trees[i] = g.tree()
	}
	return trees, surveys, nil
}

// grower makes a tree of runs that come depth first. What hangs on a step is known once a run comes that does not have
// the step.
type grower struct {
	*Tree
	lab  *Lab
	path []growing // the run before, without its opening
	root growing

	steps map[string]int
	ends  map[string]int
	nodes map[string]int
	key   []byte
}

// growing is a node that still gets what follows.
type growing struct {
	actor Actor
	Node
}

func newGrower(l *Lab) *grower {
	g := &grower{Tree: &Tree{Variant: l.Variant, Ending: l.Ending}, lab: l, steps: map[string]int{},
		ends: map[string]int{}, nodes: map[string]int{}}
	g.root.Step = g.step(Happening{Does: opening.Does, State: opening.State, Holds: opening.Holds})
	return g
}

// add takes the next run.
func (g *grower) add(r *Run) {
	same := 0
	for same < len(g.path) && same < len(r.Steps) && g.path[same].actor == r.Steps[same].Actor {
		same++
	}
	g.close(same)
	before := &Step{Linked: true}
	var carried []uint64
	for i := range r.Steps {
		s := &r.Steps[i]
		if s.Actor == Update && s.emptied(before) {
			carried = before.Held
		}
		if i >= same {
			l := g.lab.line(s, before, carried)
			h := Happening{Actor: string(rune(s.Actor)), Who: l.Who, Does: l.Does, State: l.State, Holds: l.Holds}
			for _, v := range s.Verdicts {
				h.Verdicts = append(h.Verdicts, v.String())
			}
			g.path = append(g.path, growing{s.Actor, Node{Step: g.step(h)}})
		}
		before = s
	}
	g.path[len(g.path)-1].End = g.end(r)
}

// close ends the nodes from a place on: nothing follows them any more.
func (g *grower) close(from int) {
	for len(g.path) > from {
		last := len(g.path) - 1
		n := g.node(g.path[last].Node)
		g.path = g.path[:last]
		parent := &g.root
		if last > 0 {
			parent = &g.path[last-1]
		}
		parent.Next = append(parent.Next, n)
	}
}

func (g *grower) tree() *Tree {
	g.close(0)
	g.Nodes = append(g.Nodes, g.root.Node)
	return g.Tree
}

// node finds the node that goes on alike, or makes it.
func (g *grower) node(n Node) int {
	g.key = binary.AppendUvarint(g.key[:0], uint64(n.Step))
	g.key = binary.AppendUvarint(g.key, uint64(n.End))
	for _, next := range n.Next {
		g.key = binary.AppendUvarint(g.key, uint64(next))
	}
	if i, ok := g.nodes[string(g.key)]; ok {
		return i
	}
	g.Nodes = append(g.Nodes, n)
	g.nodes[string(g.key)] = len(g.Nodes) - 1
	return len(g.Nodes) - 1
}

func (g *grower) step(h Happening) int {
	key := strings.Join(append([]string{h.Actor, h.Who, h.Does, h.State, h.Holds}, h.Verdicts...), "\x00")
	if i, ok := g.steps[key]; ok {
		return i
	}
	g.Steps = append(g.Steps, h)
	g.steps[key] = len(g.Steps) - 1
	return len(g.Steps) - 1
}

// The words for what is wrong with a packet's fate.
const (
	wrongStranded = "stranded"
	wrongLost     = "lost"
	wrongDead     = "dead"
)

// end finds how a run ended, from 1.
func (g *grower) end(r *Run) int {
	var o Outcome
	for i := range r.Fates {
		f := &r.Fates[i]
		o.Ends[i], o.Wrong[i] = f.end(i+1), []string{}
		for _, kind := range []struct {
			is   bool
			name string
		}{{f.Stranded, wrongStranded}, {f.Lost, wrongLost}, {f.Dead, wrongDead}} {
			if kind.is {
				o.Wrong[i] = append(o.Wrong[i], kind.name)
			}
		}
	}
	key := fmt.Sprint(o)
	if n, ok := g.ends[key]; ok {
		return n
	}
	g.Ends = append(g.Ends, o)
	g.ends[key] = len(g.Ends)
	return len(g.Ends)
}

// end is how packet n ended, such as "delivered", or "waits".
func (f *Fate) end(n int) string {
	if k := len(f.Verdicts); k > 0 && f.Verdicts[k-1].Kind != packet.Queued {
		return strings.TrimPrefix(f.Verdicts[k-1].String(), fmt.Sprintf("packet %d ", n))
	}
	return "waits"
}
