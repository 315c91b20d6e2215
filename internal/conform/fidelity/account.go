package fidelity

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/testdata/derived"
	"github.com/pfkeyd/pfkeyd/testdata/golden"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Account is what conversations show of one kernel. Nobody changes it once it is made.
type Account struct {
	Kernel     string      `json:"kernel"`
	Sets       []Set       `json:"sets"`
	Messages   []Row       `json:"messages"`   // every message of the dialect, by number, and [Unknown]
	Extensions []Row       `json:"extensions"` // every extension, likewise
	Deviations []Deviation `json:"deviations,omitempty"`
	Rules      []Rule      `json:"rules,omitempty"`
	Failing    []string    `json:"failing,omitempty"` // the conversations that fail, by name
}

// Rule is conversations that were derived from a rule which is known of the kernel by reading.
type Rule struct {
	Name          string `json:"name"` // their class
	Conversations int    `json:"conversations"`
}

// Set is a folder of conversations, or a file of them.
type Set struct {
	Name      string `json:"name"`
	Answers   string `json:"answers,omitempty"` // who gave the answers; "" if nobody has said so
	Played    int    `json:"played"`
	Deviating int    `json:"deviating,omitempty"` // of these
	Failing   int    `json:"failing,omitempty"`   // of these
	Messages  int    `json:"messages"`            // that were sent in them
}

// Row is a message or an extension. A conversation counts once for each row, however often the message is in it.
type Row struct {
	Name    string `json:"name"`
	Sent    int    `json:"sent,omitempty"`    // recorded conversations in which it was sent to the kernel
	Heard   int    `json:"heard,omitempty"`   // in which it came from the kernel
	Mutated int    `json:"mutated,omitempty"` // messages to the kernel in recordings made at random
	Derived int    `json:"derived,omitempty"` // conversations that were derived from a rule, and not recorded
	// Recorded conversations in which a deviation, or a failure, begins with a message of this type or with this
	// extension.
	Deviating int `json:"deviating,omitempty"`
	Failing   int `json:"failing,omitempty"`
}

// Unknown is the name of the row for numbers that the dialect gives to nothing.
const Unknown = "(unknown)"

// Read says whether the row is written from reading only: no recorded conversation has it.
func (r Row) Read() bool { return r.Sent == 0 && r.Heard == 0 }

// Deviation is one by name.
type Deviation struct {
	Name          string   `json:"name"`
	Reason        string   `json:"reason"`
	Conversations int      `json:"conversations"`
	Messages      []string `json:"messages"` // with which it begins
}

// Of accounts for the conversations of c. Without paths they are those built in, and those derived from rules. An
// error says what could not be read or played. Running a whole set takes about a second.
func Of(ctx context.Context, c conform.Config) (*Account, error) {
	k := c.Kernel
	if k.Dialect == nil {
		return nil, conform.Try(conform.InProcess{Kernel: k}, k)
	}
	scenarios, _, bad := conform.Load(ctx, k, c.Paths)
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	rep, err := conform.Run(ctx, c)
	if err != nil {
		return nil, err
	}
	t := newTally(k)
	at := map[place]conform.Result{}
	for _, r := range rep.Results {
		at[place{r.File, r.Line}] = r
	}
	for _, sc := range scenarios {
		if r, ok := at[place{sc.File, sc.Line}]; ok { // it may not have been chosen
			t.conversation(sc, r)
		}
	}
	if len(t.Sets) == 0 {
		return nil, &conform.UsageError{Err: fmt.Errorf("no scenario of %s matches %q", k.Name, c.Run)}
	}
	if len(c.Paths) == 0 {
		if err := t.rules(k); err != nil {
			return nil, err
		}
	}
	return t.account(), nil
}

// place is where a conversation was read.
type place struct {
	file string
	line int
}

// tally is an account that is being made.
type tally struct {
	Account
	k *conform.Kernel
	d *wire.Dialect

	messages   map[wire.MsgType]*Row
	extensions map[wire.ExtType]*Row
	deviations map[string]map[wire.MsgType]bool
}

func newTally(k *conform.Kernel) *tally {
	t := &tally{Account: Account{Kernel: k.Name}, k: k, d: k.Dialect, messages: map[wire.MsgType]*Row{},
		extensions: map[wire.ExtType]*Row{}, deviations: map[string]map[wire.MsgType]bool{}}
	for n := range math.MaxUint8 + 1 {
		m := t.d.MsgType(uint8(n))
		if _, ok := t.d.MsgByName(t.d.MsgName(m)); ok && n > 0 {
			t.Messages = append(t.Messages, Row{Name: t.d.MsgName(m)})
			t.messages[m] = nil
		}
	}
	t.Messages = append(t.Messages, Row{Name: Unknown})
	for n := range math.MaxUint8 + 1 { // no dialect has larger ones
		x := t.d.ExtType(uint16(n))
		if t.d.Role(x) != wire.RoleUnknown {
			t.Extensions = append(t.Extensions, Row{Name: t.d.ExtName(x)})
			t.extensions[x] = nil
		}
	}
	t.Extensions = append(t.Extensions, Row{Name: Unknown})
	// The rows do not move any more.
	for m := range t.messages {
		t.messages[m] = rowOf(t.Messages, t.d.MsgName(m))
	}
	for x := range t.extensions {
		t.extensions[x] = rowOf(t.Extensions, t.d.ExtName(x))
	}
	return t
}

func rowOf(rows []Row, name string) *Row {
	return &rows[slices.IndexFunc(rows, func(r Row) bool { return r.Name == name })]
}

// each calls count once for each row that one of the messages has.
func (t *tally) each(msgs [][]byte, count func(*Row)) {
	seen := map[*Row]bool{}
	add := func(r *Row, rows []Row) {
		if r == nil {
			r = &rows[len(rows)-1]
		}
		if !seen[r] {
			seen[r] = true
			count(r)
		}
	}
	for _, msg := range msgs {
		if msg == nil {
			continue
		}
		add(t.messages[t.typeOf(msg)], t.Messages)
		for x, err := range t.d.Walk(msg) {
			if err != nil {
				break // what is behind it nobody reads
			}
			add(t.extensions[x.Type], t.Extensions)
		}
	}
}

// typeOf is the type of a message, also of one that is too short.
func (t *tally) typeOf(msg []byte) wire.MsgType {
	if len(msg) < 2 {
		return 0
	}
	return t.d.MsgType(msg[1])
}

// sent is what a step sent; nil if it sent nothing.
func sent(st *conform.Step) []byte {
	m := st.Message()
	switch {
	case m == nil:
		return nil
	case st.Sent != nil: // with what was copied from earlier messages
		return st.Sent
	}
	return m.Hex
}

// random says whether a conversation was made at random.
func random(sc *conform.Scenario) bool {
	class, _, _ := strings.Cut(sc.Name, "/")
	return class == "mut" || class == "random"
}

// conversation counts one that was recorded, and how it went.
func (t *tally) conversation(sc *conform.Scenario, r conform.Result) {
	if r.Status == conform.Skipped {
		return
	}
	s := t.set(sc)
	s.Played++
	var asked, told [][]byte
	for i := range sc.Steps {
		st := &sc.Steps[i]
		if m := sent(st); m != nil {
			asked = append(asked, m)
			s.Messages++
			if random(sc) {
				t.each([][]byte{m}, func(r *Row) { r.Mutated++ })
			}
		}
		for _, m := range st.Rx {
			told = append(told, m.Hex)
		}
	}
	t.each(asked, func(r *Row) { r.Sent++ })
	t.each(told, func(r *Row) { r.Heard++ })
	switch {
	case r.Status != conform.Passed:
		s.Failing++
		t.Failing = append(t.Failing, sc.Name)
		t.each([][]byte{t.begins(sc, r.Differences)}, func(r *Row) { r.Failing++ })
	case r.Deviations != nil:
		s.Deviating++
		first := t.begins(sc, r.Deviating)
		t.each([][]byte{first}, func(r *Row) { r.Deviating++ })
		for _, name := range r.Deviations {
			if t.deviations[name] == nil {
				t.deviations[name] = map[wire.MsgType]bool{}
			}
			t.deviations[name][t.typeOf(first)] = true
			t.deviation(name).Conversations++
		}
	}
}

// looks are the messages that change nothing.
var looks = []wire.MsgType{wire.MsgGet, wire.MsgDump, wire.KAMEMsgXSPDGet, wire.KAMEMsgXSPDDump}

// begins is the message with which a conversation is another one: that of the first step that differs, or the last one
// before it. Where nobody has recorded answers, it is the last that does not only look.
func (t *tally) begins(sc *conform.Scenario, diff []conform.Difference) (msg []byte) {
	last := len(sc.Steps)
	if sc.Why == "" && len(diff) > 0 {
		last = slices.MinFunc(diff, func(a, b conform.Difference) int { return cmp.Compare(a.Step, b.Step) }).Step
	}
	for i := range sc.Steps[:min(last, len(sc.Steps))] {
		m := sent(&sc.Steps[i])
		if m == nil || sc.Why != "" && msg != nil && slices.Contains(looks, t.typeOf(m)) {
			continue
		}
		msg = m
	}
	return msg
}

func (t *tally) deviation(name string) *Deviation {
	for i := range t.Deviations {
		if t.Deviations[i].Name == name {
			return &t.Deviations[i]
		}
	}
	d := Deviation{Name: name}
	for _, known := range t.k.Deviations {
		if known.Name == name {
			d.Reason = known.Reason
		}
	}
	t.Deviations = append(t.Deviations, d)
	return &t.Deviations[len(t.Deviations)-1]
}

// set is that of a conversation: they come one set after the other.
func (t *tally) set(sc *conform.Scenario) *Set {
	name, answers := filepath.Base(sc.File), ""
	if folder := sc.Folder(); slices.Contains(t.k.Builtin, folder) {
		name, answers = folder, Answers(folder)
	}
	if n := len(t.Sets); n == 0 || t.Sets[n-1].Name != name {
		t.Sets = append(t.Sets, Set{Name: name, Answers: answers})
	}
	return &t.Sets[len(t.Sets)-1]
}

// Answers says who gave the answers in a folder of recordings that is built in, as its MANIFEST has it; "" if it does
// not say so.
func Answers(folder string) string {
	b, err := fs.ReadFile(golden.Files, path.Join(folder, "MANIFEST"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if who, ok := strings.CutPrefix(line, "# answers: "); ok {
			return strings.TrimSpace(who)
		}
	}
	return ""
}

// rules counts the conversations that were derived from a kernel's rules.
func (t *tally) rules(k *conform.Kernel) error {
	names, err := fs.Glob(derived.Files, k.Name+"/*.jsonl")
	if err != nil {
		return err
	}
	for _, name := range names {
		f, err := derived.Files.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		for sc, err := range conform.Read(f, name, k) {
			if err != nil {
				return err
			}
			class, _, _ := strings.Cut(sc.Name, "/")
			if n := len(t.Rules); n == 0 || t.Rules[n-1].Name != class {
				t.Rules = append(t.Rules, Rule{Name: class})
			}
			t.Rules[len(t.Rules)-1].Conversations++
			var all [][]byte
			for i := range sc.Steps {
				all = append(all, sent(&sc.Steps[i]))
				for _, m := range sc.Steps[i].Rx {
					all = append(all, m.Hex)
				}
			}
			t.each(all, func(r *Row) { r.Derived++ })
		}
	}
	return nil
}

// account finishes it.
func (t *tally) account() *Account {
	for i := range t.Deviations {
		d := &t.Deviations[i]
		for m := range t.deviations[d.Name] {
			d.Messages = append(d.Messages, t.d.MsgName(m))
		}
		slices.Sort(d.Messages)
	}
	slices.SortFunc(t.Deviations, func(a, b Deviation) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(t.Failing)
	return &t.Account
}
