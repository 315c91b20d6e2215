package conform_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/testdata/golden"
)

// recordings reads one file of those of illumos that are built in.
func recordings(t testing.TB, name string) []*conform.Scenario {
	t.Helper()
	return recordingsOf(t, name, "illumos")
}

func recordingsOf(t testing.TB, name, kernel string) (scs []*conform.Scenario) {
	t.Helper()
	f, err := golden.Files.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for sc, err := range conform.Read(z, name, of(kernel)) {
		if err != nil {
			t.Fatal(err)
		}
		scs = append(scs, sc)
	}
	return scs
}

// loaded keeps the recordings of each kernel that are built in.
var loaded struct {
	sync.Mutex
	by map[string][]*conform.Scenario
}

// allOf is the recordings of a kernel in a folder. They are shared: clone what is to be changed.
func allOf(t testing.TB, folder, kernel string) []*conform.Scenario {
	t.Helper()
	loaded.Lock()
	defer loaded.Unlock()
	if scs := loaded.by[kernel]; scs != nil {
		return scs
	}
	files, err := fs.Glob(golden.Files, folder+"/*.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	var scs []*conform.Scenario
	for _, name := range files {
		scs = append(scs, recordingsOf(t, name, kernel)...)
	}
	if len(scs) == 0 {
		t.Fatal("no recordings")
	}
	if loaded.by == nil {
		loaded.by = map[string][]*conform.Scenario{}
	}
	loaded.by[kernel] = scs
	return scs
}

// builtin is the recordings of illumos, shared.
func builtin(t testing.TB) []*conform.Scenario { return allOf(t, "illumos", "illumos") }

// echoable says whether the echo can tell from the calls it gets which step is being played.
func echoable(sc *conform.Scenario) bool {
	return !sc.Panic && !strings.HasPrefix(sc.Name, "socket/flow-") &&
		!slices.ContainsFunc(sc.Steps, func(s conform.Step) bool {
			return s.At != "" || s.Until != "" || s.NoRx
		})
}

func clone(t testing.TB, sc *conform.Scenario) *conform.Scenario {
	t.Helper()
	b, err := json.Marshal(sc)
	if err != nil {
		t.Fatal(err)
	}
	c := new(conform.Scenario)
	if err := json.Unmarshal(b, c); err != nil {
		t.Fatal(err)
	}
	return c
}

// report plays recordings as c says.
func report(t testing.TB, c conform.Config, recorded []*conform.Scenario) conform.Report {
	t.Helper()
	c.Paths = []string{write(t, t.TempDir(), "r.jsonl", []byte(text(t, recorded)))}
	rep, err := conform.Run(context.Background(), c)
	if err != nil || rep.Unreadable != nil {
		t.Fatal(err, rep.Unreadable)
	}
	return rep
}

// played plays a recording on a machine that does what another one says.
func played(t testing.TB, recorded []*conform.Scenario, e *echo) conform.Report {
	t.Helper()
	return report(t, conform.Config{Kernel: of("illumos"), Target: e}, recorded)
}

func byName(scs []*conform.Scenario) map[string]*conform.Scenario {
	m := map[string]*conform.Scenario{}
	for _, sc := range scs {
		m[sc.Name] = sc
	}
	return m
}

// A machine that does what the recordings say passes them all.
func TestPerfectMachinePasses(t *testing.T) {
	all := builtin(t)
	scs := slices.DeleteFunc(slices.Clone(all), func(sc *conform.Scenario) bool { return !echoable(sc) })
	if len(scs) < len(all)*9/10 {
		t.Fatalf("only %d of %d scenarios can be echoed", len(scs), len(all))
	}
	rep := played(t, scs, &echo{says: byName(scs)})
	for _, r := range rep.Results {
		if r.Status != conform.Passed {
			t.Errorf("%s: %v", r.Scenario, r.Differences)
		}
	}
	if rep.Passed != len(scs) {
		t.Errorf("%d of %d passed", rep.Passed, len(scs))
	}
}

// Whatever a machine does otherwise than recorded is found, and found where it is: every result of every step is
// changed in turn, in one scenario of each class.
func TestEveryDifferenceIsFound(t *testing.T) {
	seen := map[string]bool{}
	for _, sc := range builtin(t) {
		class, _, _ := strings.Cut(sc.Name, "/")
		if !echoable(sc) || seen[class] || len(sc.Steps) > 30 {
			continue
		}
		seen[class] = true
		t.Run(class, func(t *testing.T) {
			t.Parallel()
			for i := range sc.Steps {
				for what, change := range changes(&sc.Steps[i]) {
					recorded := sc.Clone()
					change(&recorded.Steps[i])
					rep := played(t, []*conform.Scenario{recorded}, &echo{says: byName([]*conform.Scenario{sc})})
					r := rep.Results[0]
					if r.Status != conform.Failed {
						t.Errorf("%s: step %d: %s: not found", sc.Name, i+1, what)
					} else if r.Differences[0].Step != i+1 {
						t.Errorf("%s: step %d: %s: found as %v", sc.Name, i+1, what, r.Differences[0])
					}
				}
			}
		})
	}
	if len(seen) < 20 {
		t.Errorf("classes %v only", seen)
	}
}

// changes lists ways to change the recorded result of a step.
func changes(st *conform.Step) map[string]func(*conform.Step) {
	c := map[string]func(*conform.Step){
		"ret":   func(s *conform.Step) { s.Ret += 1000 },
		"errno": func(s *conform.Step) { s.Errno = map[string]string{"": "EINVAL"}[s.Errno] },
		"one more packet": func(s *conform.Step) {
			s.Packets = append(s.Packets, conform.Fate{ID: 9, Verdict: "dropped", Reason: "x"})
		},
		"one more message": func(s *conform.Step) {
			s.Rx = append(s.Rx, conform.Message{Socket: "a", Hex: make([]byte, 16)})
		},
	}
	if st.Op == "counters" {
		c["one more counter"] = func(s *conform.Step) { s.Counters = with(s.Counters, "esp/nonsense", 1) }
		for n := range st.Counters {
			c["counter "+n] = func(s *conform.Step) { s.Counters = with(s.Counters, n, s.Counters[n]+1) }
			c["no counter "+n] = func(s *conform.Step) { s.Counters = with(s.Counters, n, 0) }
		}
	}
	if st.Verdict != "" {
		c["verdict"] = func(s *conform.Step) {
			s.Verdict = map[bool]string{true: "dropped", false: "delivered"}[s.Verdict != "dropped"]
		}
		c["id"] = func(s *conform.Step) { s.ID++ }
		c["reason"] = func(s *conform.Step) { s.Reason += "x" }
		c["longer inner packet"] = func(s *conform.Step) { s.Inner = append(s.Inner, 0) }
	}
	for i := range st.Packets {
		p := fmt.Sprintf("packet %d: ", i)
		c[p+"id"] = func(s *conform.Step) { s.Packets[i].ID += 7 }
		c[p+"verdict"] = func(s *conform.Step) {
			s.Packets[i].Verdict = map[bool]string{true: "dropped",
				false: "delivered"}[s.Packets[i].Verdict != "dropped"]
		}
		c[p+"reason"] = func(s *conform.Step) { s.Packets[i].Reason += "x" }
		c[p+"gone"] = func(s *conform.Step) { s.Packets = slices.Delete(s.Packets, i, i+1) }
		if i > 0 {
			c[p+"order"] = func(s *conform.Step) { s.Packets[i], s.Packets[i-1] = s.Packets[i-1], s.Packets[i] }
		}
	}
	for i := range st.Rx {
		m := fmt.Sprintf("message %d: ", i)
		c[m+"gone"] = func(s *conform.Step) { s.Rx = slices.Delete(s.Rx, i, i+1) }
		c[m+"socket"] = func(s *conform.Step) { s.Rx[i].Socket = "zz" }
		c[m+"cut"] = func(s *conform.Step) { s.Rx[i].Hex = s.Rx[i].Hex[:len(s.Rx[i].Hex)-1]; s.Rx[i].Vol = nil }
		if i > 0 && st.Rx[i].Socket == st.Rx[i-1].Socket && !bytes.Equal(st.Rx[i].Hex, st.Rx[i-1].Hex) {
			c[m+"order"] = func(s *conform.Step) { s.Rx[i], s.Rx[i-1] = s.Rx[i-1], s.Rx[i] }
		}
		for _, at := range []int{0, 1, 2, 3, 7, 8, 15, len(st.Rx[i].Hex) / 2, len(st.Rx[i].Hex) - 1} {
			if at < len(st.Rx[i].Hex) && !slices.ContainsFunc(st.Rx[i].Vol, func(v conform.Span) bool {
				return at >= v.Offset && at < v.Offset+v.Len
			}) {
				c[fmt.Sprintf("%sbyte %d", m, at)] = func(s *conform.Step) { s.Rx[i].Hex[at] ^= 1 }
			}
		}
	}
	return c
}

func with(m map[string]uint64, name string, n uint64) map[string]uint64 {
	c := map[string]uint64{name: n}
	for k, v := range m {
		if k != name {
			c[k] = v
		}
	}
	return c
}

// brings is an operation that brings whatever a test wants.
type brings struct{ does func(*conform.Outcome) }

func (b *brings) Do(_ *conform.Player, _ *conform.Action, out *conform.Outcome) { b.does(out) }

// What an operation brings beside messages and the fates of packets is compared, too.
func TestResultsAreCompared(t *testing.T) {
	old, need := int64(7), 16
	all := func(out *conform.Outcome) {
		out.Pkt, out.Old, out.Need = conform.Hex{0x45}, &old, &need
		out.Wires, out.Stats = []conform.Wire{{Via: "ip", Len: 20}}, map[string]uint64{"espstat.input": 1}
	}
	for _, tt := range []struct {
		name, more string
		does       func(*conform.Outcome)
		want       string // "" passes
	}{
		{"all", "", all, ""},
		{"nothing", "", func(*conform.Outcome) {}, "pkt wires stats old need"},
		{"another packet", "", func(o *conform.Outcome) { all(o); o.Pkt = conform.Hex{0x46} }, "pkt"},
		{"another way", "", func(o *conform.Outcome) { all(o); o.Wires[0].Via = "ip6" }, "wires"},
		{"another counter", "", func(o *conform.Outcome) { all(o); o.Stats["espstat.input"]++ }, "stats"},
		{"zero before", "", func(o *conform.Outcome) { all(o); o.Old = new(int64) }, "old"},
		{"any order", `,"unordered":true`, all, ""},
	} {
		k := *of("illumos")
		k.Ops = map[string]*conform.Op{"do": {Args: func() any { return &brings{tt.does} },
			Results: slices.Concat(conform.OfWires, conform.OfKnob, conform.OfDump)}}
		p := write(t, t.TempDir(), "r.jsonl", []byte(lines("t/x", `{"op":"do","ret":0,"pkt":"45","old":7,"need":16,`+
			`"wires":[{"via":"ip","len":20,"proto":0}],"stats":{"espstat.input":1}`+tt.more+`}`)))
		rep, err := conform.Run(t.Context(), conform.Config{Kernel: &k, Paths: []string{p}, Target: lab{}})
		if err != nil || len(rep.Results) != 1 {
			t.Fatal(err, rep.Unreadable)
		}
		var fields []string
		for _, d := range rep.Results[0].Differences {
			fields = append(fields, d.Field)
		}
		if got := strings.Join(fields, " "); got != tt.want {
			t.Errorf("%s: differs in %q, want %q", tt.name, got, tt.want)
		}
	}
}
