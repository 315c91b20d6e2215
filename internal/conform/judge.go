package conform

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// Difference is one place where the emulator did not do what the recording has.
type Difference struct {
	Step  int    `json:"step"` // from 1
	Op    string `json:"op"`
	Field string `json:"field"` // such as "ret", "rx a[0]", "packets[1].verdict"
	What  string `json:"what"`  // in words, when wanted and got do not say it
	Want  string `json:"want"`  // as text; bytes are in hexadecimal
	Got   string `json:"got"`

	kind      byte // what want and got are: 'm' messages, 'p' packets, 0 no bytes
	want, got []byte
	vol       []Span
}

func (d Difference) String() string {
	s := fmt.Sprintf("step %d (%s): %s: ", d.Step, d.Op, d.Field)
	if d.What != "" {
		s += d.What
		if d.Want == "" && d.Got == "" {
			return s
		}
		s += "; "
	}
	return s + fmt.Sprintf("want %s, got %s", cmp.Or(Abridged(d.Want), "none"), cmp.Or(Abridged(d.Got), "none"))
}

// Judge compares the outcomes of one scenario. What volatile bytes have to agree with is learned on the way.
type Judge struct {
	Dialect *wire.Dialect
	Memory  Memory // of the kernel's own rules; nil if they need none

	k    *Kernel
	keys bool // show key bytes
	// tolerance is how many milliseconds a message may come early or late.
	tolerance int64
	seeded    bool              // what the recording shows hangs on the kernel's random numbers
	shown     map[wire.SPI]bool // then: SAs that it has shown
	step      int
	op        string
	diff      []Difference

	clock    clockRule
	ranges   map[asker]wire.SPIRange
	pairings map[string]pairing
}

// NewJudge makes a judge of what a kernel has recorded. Key bytes do not appear in the differences unless showKeys.
func NewJudge(k *Kernel, showKeys bool) *Judge {
	j := &Judge{Dialect: k.Dialect, k: k, keys: showKeys, ranges: map[asker]wire.SPIRange{}, shown: map[wire.SPI]bool{},
		pairings: map[string]pairing{}}
	if k.NewMemory != nil {
		j.Memory = k.NewMemory()
	}
	return j
}

// At says what the differences that come are found in.
func (j *Judge) At(step int, op string) { j.step, j.op = step, op }

// Differences are those found until now.
func (j *Judge) Differences() []Difference { return j.diff }

// compare judges the steps that were played against those that were recorded.
func compare(k *Kernel, sc *Scenario, got []Outcome, showKeys bool, tolerance int64) []Difference {
	j := NewJudge(k, showKeys)
	j.tolerance, j.seeded = tolerance, sc.FixedSeed
	want := sc.Steps[:min(len(sc.Steps), len(got))] // what a panic cut off is not there to be judged
	for i := range want {
		j.At(i+1, want[i].Op)
		j.outcome(&want[i], &got[i])
	}
	return j.diff
}

func (j *Judge) outcome(st *Step, got *Outcome) {
	var sent, ours []byte
	if m := st.Message(); m != nil {
		sent, ours = st.sent(), m.Hex
		if got.Sent != nil {
			ours = got.Sent
		}
		if a, r, ok := j.k.asked(sent); ok && r.Max != 0 {
			j.ranges[a] = r
		}
	}
	if j.Memory != nil {
		j.Memory.Step(j, st, sent, ours)
	}
	for _, t := range got.trouble {
		j.Add(Difference{Field: "play", What: t})
	}
	want := &st.Outcome
	if want.Panic != "" {
		return // whatever the emulator does instead is its own choice
	}
	j.Text("ret", fmt.Sprint(want.Ret), fmt.Sprint(got.Ret))
	j.Text("errno", want.Errno, got.Errno)
	j.Text("id", number(want.ID), number(got.ID))
	j.fate("", Fate{want.ID, want.Verdict, want.Reason, want.Inner, want.InnerVol},
		Fate{got.ID, got.Verdict, got.Reason, got.Inner, nil})
	for i := range max(len(want.Packets), len(got.Packets)) {
		field := fmt.Sprintf("packets[%d]", i)
		switch {
		case i >= len(got.Packets):
			j.Add(Difference{Field: field, What: "missing", Want: want.Packets[i].String()})
		case i >= len(want.Packets):
			j.Add(Difference{Field: field, What: "not in the recording", Got: got.Packets[i].String()})
		default:
			w, g := want.Packets[i], got.Packets[i]
			if w.ID != g.ID {
				j.Text(field, w.String(), g.String())
				continue
			}
			j.fate(field+".", w, g)
		}
	}
	j.messages(want.Rx, j.asRecorded(want, got.Rx))
	names := slices.Sorted(maps.Keys(want.Counters))
	for _, n := range slices.Sorted(maps.Keys(got.Counters)) {
		if _, ok := want.Counters[n]; !ok {
			names = append(names, n)
		}
	}
	for _, n := range names {
		j.Text("counter "+n, number(want.Counters[n]), number(got.Counters[n]))
	}
	for _, x := range []struct {
		field     string
		want, got any
	}{
		{"pkt", want.Pkt, samePatches(st, got.Pkt)}, {"wires", want.Wires, sameSeq(want.Wires, got.Wires)},
		{"stats", want.Stats, got.Stats},
		{"old", want.Old, got.Old}, {"need", want.Need, got.Need},
	} {
		if !reflect.DeepEqual(x.want, x.got) {
			j.Text(x.field, inJSON(x.want), inJSON(x.got))
		}
	}
}

// sameSeq leaves out the sequence numbers that a recording has not beside an SPI: what stood there was another each
// time.
func sameSeq(want, got []Wire) []Wire {
	got = slices.Clone(got)
	for i := range min(len(want), len(got)) {
		if want[i].SPI != nil && want[i].Seq == nil {
			got[i].Seq = nil
		}
	}
	return got
}

// samePatches has in our packet what stands in the recorded one where bytes of messages were put: those are judged
// where they came.
func samePatches(st *Step, got Hex) Hex {
	a, ok := st.Args.(interface{ Patches() []Patch })
	if !ok || len(got) != len(st.Pkt) {
		return got
	}
	got = slices.Clone(got)
	for _, x := range a.Patches() {
		if end := x.At + x.Len; end <= len(got) {
			copy(got[x.At:end], st.Pkt[x.At:end])
		}
	}
	return got
}

func inJSON(v any) string {
	b, _ := json.Marshal(v) // numbers and strings
	return strings.TrimPrefix(string(b), "null")
}

// number leaves zero empty.
func number(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// String is the fate without the bytes.
func (f Fate) String() string {
	s := fmt.Sprintf("%d %s", f.ID, f.Verdict)
	if f.Reason != "" {
		s += " " + f.Reason
	}
	return s
}

// Add notes a difference.
func (j *Judge) Add(d Difference) {
	d.Step, d.Op = j.step, j.op
	j.diff = append(j.diff, d)
}

// Text compares two texts.
func (j *Judge) Text(field, want, got string) {
	if want != got {
		j.Add(Difference{Field: field, Want: want, Got: got})
	}
}

func (j *Judge) fate(prefix string, want, got Fate) {
	if want.Verdict != got.Verdict || want.Reason != got.Reason {
		full := func(f Fate) string { return strings.TrimSpace(f.Verdict + " " + f.Reason) }
		j.Text(prefix+"verdict", full(want), full(got))
		return
	}
	j.Bytes(prefix+"inner", 'p', want.Inner, got.Inner, want.Vol)
}

// messages compares what each socket received, one socket after the other.
func (j *Judge) messages(want, got []Message) {
	order, w, g := bySocket(want, got)
	for _, s := range order {
		for i := range max(len(w[s]), len(g[s])) {
			field := fmt.Sprintf("rx %s[%d]", s, i)
			switch {
			case i >= len(g[s]):
				m := w[s][i]
				j.Add(Difference{Field: field, What: "message missing", Want: j.hex('m', m.Hex), kind: 'm', want: m.Hex,
					vol: m.Vol})
			case i >= len(w[s]):
				m := g[s][i]
				j.Add(Difference{Field: field, What: "message not in the recording", Got: j.hex('m', m.Hex), kind: 'm',
					got: m.Hex})
			default:
				j.message(field, w[s][i], g[s][i])
			}
		}
		j.together("rx "+s, w[s], g[s])
	}
}

// bySocket tells messages apart by the sockets that received them, and lists the sockets.
func bySocket(want, got []Message) (order []string, w, g map[string][]Message) {
	w, g = map[string][]Message{}, map[string][]Message{}
	for _, ms := range []struct {
		list []Message
		by   map[string][]Message
	}{{want, w}, {got, g}} {
		for _, m := range ms.list {
			if !slices.Contains(order, m.Socket) {
				order = append(order, m.Socket)
			}
			ms.by[m.Socket] = append(ms.by[m.Socket], m)
		}
	}
	return order, w, g
}

// together judges the spans that say something only beside the others of their step.
func (j *Judge) together(field string, want, got []Message) {
	all := map[string][]Whole{}
	for i := range min(len(want), len(got)) {
		for _, s := range want[i].Vol {
			if j.k.Rules[s.Name].Together != nil && len(want[i].Hex) == len(got[i].Hex) {
				all[s.Name] = append(all[s.Name], Whole{want[i].Hex, got[i].Hex, s})
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if what := j.k.Rules[name].Together(j, all[name]); what != "" {
			j.Add(Difference{Field: field, What: name + ": " + what})
		}
	}
}

// message compares one message and how it was read.
func (j *Judge) message(field string, want, got Message) {
	n := len(j.diff)
	j.Bytes(field, 'm', want.Hex, got.Hex, want.Vol)
	if len(j.diff) > n {
		return
	}
	j.Text(field+".trunc", fmt.Sprint(want.Trunc), fmt.Sprint(got.Trunc))
	j.Text(field+".eof", fmt.Sprint(want.EOF), fmt.Sprint(got.EOF))
	j.Text(field+".ret", number(uint64(want.Ret)), number(uint64(got.Ret)))
	if off := got.T - want.T; off > j.tolerance || off < -j.tolerance {
		j.Add(Difference{Field: field + ".t", What: fmt.Sprintf("%+d ms off", off), Want: fmt.Sprint(want.T),
			Got: fmt.Sprint(got.T)})
	}
}

// hex is bytes as a report has them: with what is or may be a key in messages zeroed.
func (j *Judge) hex(kind byte, b []byte) string {
	if kind == 'm' && !j.keys {
		b = j.Dialect.Redact(b)
	}
	return fmt.Sprintf("%x", b)
}

// Bytes compares a message (kind 'm') or a packet ('p'): everything outside the volatile spans exactly, the spans by
// their rules.
func (j *Judge) Bytes(field string, kind byte, want, got []byte, vol []Span) {
	differ := func(what string) {
		j.Add(Difference{Field: field, What: what, Want: j.hex(kind, want), Got: j.hex(kind, got), kind: kind,
			want: want, got: got, vol: vol})
	}
	if len(want) != len(got) {
		differ(fmt.Sprintf("%d bytes instead of %d", len(got), len(want)))
		return
	}
	if at := firstDifference(want, got, vol); at >= 0 {
		what := fmt.Sprintf("byte %d is %02x instead of %02x", at, got[at], want[at])
		if kind == 'm' && !j.keys && (j.Dialect.Redact(want)[at] != want[at] || j.Dialect.Redact(got)[at] != got[at]) {
			what = fmt.Sprintf("byte %d, in what may be a key, differs", at)
		}
		differ(what)
		return
	}
	for _, s := range vol {
		r := j.k.Rules[s.Name]
		if what := r.Judge(j, Whole{want, got, s}); what != "" {
			differ(fmt.Sprintf("bytes %d to %d (%s): %s", s.Offset, s.Offset+s.Len-1, s.Name, what))
			return
		}
	}
}

// firstDifference finds the first byte outside the spans that differs in two slices of the same length; -1: none.
func firstDifference(a, b []byte, spans []Span) int {
	if bytes.Equal(a, b) {
		return -1
	}
	free := make([]bool, len(a))
	for _, s := range spans {
		for i := s.Offset; i < s.Offset+s.Len; i++ {
			free[i] = true
		}
	}
	for i := range a {
		if a[i] != b[i] && !free[i] {
			return i
		}
	}
	return -1
}
