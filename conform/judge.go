package conform

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
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
	return s + fmt.Sprintf("want %s, got %s", cmp.Or(abridged(d.Want), "none"), cmp.Or(abridged(d.Got), "none"))
}

// judge compares the outcomes of one scenario. What volatile bytes have to agree with is learned on the way.
type judge struct {
	d    *wire.Dialect
	f    *family
	keys bool // show key bytes
	// tolerance is how many milliseconds a message may come early or late.
	tolerance int64
	step      int
	op        string
	diff      []Difference

	clock    clockRule
	spis     pairing // volatile SPIs
	ranges   map[asker]wire.SPIRange
	counters pairing // and sequence numbers
	reqids   pairing
	policies pairing           // numbers, on an engine that was not fresh
	routes   int               // that the packets which programs have sent may have taken
	limits   map[string]limits // by SA, see said
	pairs    map[string]string // of SAs, both ways
	golden   keyring           // the SAs as the recording has them
	ours     keyring           // and with our own SPIs
}

// compare judges what was played against what was recorded, which has the same number of steps.
// Key bytes do not appear in the differences unless showKeys.
func compare(f *family, want []Step, got []Outcome, showKeys bool, tolerance int64) []Difference {
	j := &judge{d: f.dialect, f: f, keys: showKeys, tolerance: tolerance, spis: newPairing(),
		ranges: map[asker]wire.SPIRange{}, counters: newPairing(), reqids: newPairing(), policies: newPairing(),
		limits: map[string]limits{}, pairs: map[string]string{}, golden: keyring{}, ours: keyring{}}
	for i := range want {
		j.step, j.op = i+1, want[i].Op
		j.outcome(&want[i], &got[i])
	}
	return j.diff
}

func (j *judge) outcome(st *Step, got *Outcome) {
	j.routes += mostRoutes(&st.Action)
	if o, _ := j.f.op(st.Op); o.message {
		recorded, ours := st.Hex, st.Hex
		if st.Sent != nil {
			recorded = st.Sent
		}
		if got.Sent != nil {
			ours = got.Sent
		}
		j.ask(recorded)
		j.learn(recorded, ours)
	}
	for _, t := range got.trouble {
		j.add(Difference{Field: "play", What: t})
	}
	want := &st.Outcome
	if want.Panic != "" {
		return // whatever the emulator does instead is its own choice
	}
	j.text("ret", fmt.Sprint(want.Ret), fmt.Sprint(got.Ret))
	j.text("errno", want.Errno, got.Errno)
	j.text("id", number(want.ID), number(got.ID))
	j.fate("", Fate{want.ID, want.Verdict, want.Reason, want.Inner, want.InnerVol},
		Fate{got.ID, got.Verdict, got.Reason, got.Inner, nil})
	for i := range max(len(want.Packets), len(got.Packets)) {
		field := fmt.Sprintf("packets[%d]", i)
		switch {
		case i >= len(got.Packets):
			j.add(Difference{Field: field, What: "missing", Want: want.Packets[i].String()})
		case i >= len(want.Packets):
			j.add(Difference{Field: field, What: "not in the recording", Got: got.Packets[i].String()})
		default:
			w, g := want.Packets[i], got.Packets[i]
			if w.ID != g.ID {
				j.text(field, w.String(), g.String())
				continue
			}
			j.fate(field+".", w, g)
		}
	}
	j.messages(want.Rx, got.Rx)
	names := slices.Sorted(maps.Keys(want.Counters))
	for _, n := range slices.Sorted(maps.Keys(got.Counters)) {
		if _, ok := want.Counters[n]; !ok {
			names = append(names, n)
		}
	}
	for _, n := range names {
		j.text("counter "+n, number(want.Counters[n]), number(got.Counters[n]))
	}
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

func (j *judge) add(d Difference) {
	d.Step, d.Op = j.step, j.op
	j.diff = append(j.diff, d)
}

func (j *judge) text(field, want, got string) {
	if want != got {
		j.add(Difference{Field: field, Want: want, Got: got})
	}
}

func (j *judge) fate(prefix string, want, got Fate) {
	if want.Verdict != got.Verdict || want.Reason != got.Reason {
		full := func(f Fate) string { return strings.TrimSpace(f.Verdict + " " + f.Reason) }
		j.text(prefix+"verdict", full(want), full(got))
		return
	}
	j.bytes(prefix+"inner", 'p', want.Inner, got.Inner, want.Vol)
}

// messages compares what each socket received, one socket after the other.
func (j *judge) messages(want, got []Message) {
	var order []string
	w, g := map[string][]Message{}, map[string][]Message{}
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
	for _, s := range order {
		for i := range max(len(w[s]), len(g[s])) {
			field := fmt.Sprintf("rx %s[%d]", s, i)
			switch {
			case i >= len(g[s]):
				m := w[s][i]
				j.add(Difference{Field: field, What: "message missing", Want: j.hex('m', m.Hex), kind: 'm', want: m.Hex,
					vol: m.Vol})
			case i >= len(w[s]):
				m := g[s][i]
				j.add(Difference{Field: field, What: "message not in the recording", Got: j.hex('m', m.Hex), kind: 'm',
					got: m.Hex})
			default:
				j.message(field, w[s][i], g[s][i])
			}
		}
	}
}

// message compares one message and how it was read.
func (j *judge) message(field string, want, got Message) {
	n := len(j.diff)
	j.bytes(field, 'm', want.Hex, got.Hex, want.Vol)
	if len(j.diff) > n {
		return
	}
	j.text(field+".trunc", fmt.Sprint(want.Trunc), fmt.Sprint(got.Trunc))
	j.text(field+".ret", number(uint64(want.Ret)), number(uint64(got.Ret)))
	if off := got.T - want.T; off > j.tolerance || off < -j.tolerance {
		j.add(Difference{Field: field + ".t", What: fmt.Sprintf("%+d ms off", off), Want: fmt.Sprint(want.T),
			Got: fmt.Sprint(got.T)})
	}
}

// hex is bytes as a report has them: with what is or may be a key in messages zeroed.
func (j *judge) hex(kind byte, b []byte) string {
	if kind == 'm' && !j.keys {
		b = j.d.Redact(b)
	}
	return fmt.Sprintf("%x", b)
}

// bytes compares a message or a packet: everything outside the volatile spans exactly, the spans by their rules.
func (j *judge) bytes(field string, kind byte, want, got []byte, vol []Span) {
	differ := func(what string) {
		j.add(Difference{Field: field, What: what, Want: j.hex(kind, want), Got: j.hex(kind, got), kind: kind,
			want: want, got: got, vol: vol})
	}
	if len(want) != len(got) {
		differ(fmt.Sprintf("%d bytes instead of %d", len(got), len(want)))
		return
	}
	if at := firstDifference(want, got, vol); at >= 0 {
		what := fmt.Sprintf("byte %d is %02x instead of %02x", at, got[at], want[at])
		if kind == 'm' && !j.keys && (j.d.Redact(want)[at] != want[at] || j.d.Redact(got)[at] != got[at]) {
			what = fmt.Sprintf("byte %d, in what may be a key, differs", at)
		}
		differ(what)
		return
	}
	for _, s := range vol {
		r := rules[s.Name]
		if what := r.judge(j, whole{want, got, s}); what != "" {
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
