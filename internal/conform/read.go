package conform

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// An InputError is a place in the input that cannot be played.
type InputError struct {
	File string
	Line int // from 1; 0: the file as a whole
	Err  error
}

func (e *InputError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

// Unwrap returns the cause.
func (e *InputError) Unwrap() error { return e.Err }

// maxLine bounds what one scenario may take, in bytes. The longest recorded one has under 100 000.
const maxLine = 16 << 20

// NewScanner reads lines as long as a recording may have them.
func NewScanner(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	return s
}

// Read yields the scenarios of a recording of a kernel, or an *[InputError] for each line that cannot be played; it
// goes on behind such a line. file is the name that errors and results show.
func Read(r io.Reader, file string, k *Kernel) iter.Seq2[*Scenario, error] {
	buffered := bufio.NewReader(r)
	if k.Read != nil {
		if scenarios := k.Read(buffered, file); scenarios != nil {
			return scenarios
		}
	}
	return func(yield func(*Scenario, error) bool) {
		lines, n := NewScanner(buffered), 0
		for lines.Scan() {
			n++
			if len(bytes.TrimSpace(lines.Bytes())) == 0 {
				continue
			}
			sc, err := parse(lines.Bytes(), k)
			if err != nil {
				if !yield(nil, &InputError{file, n, err}) {
					return
				}
				continue
			}
			sc.File, sc.Line = file, n
			if !yield(sc, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(nil, &InputError{file, n + 1, unreadable(err)})
		}
	}
}

// unreadable says in words what reading a file ran into.
func unreadable(err error) error {
	if errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("a line of more than %d bytes", maxLine)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("cut off: the compressed file ends early")
	}
	return err
}

// object is the fields of an object that are still to be decoded.
type object map[string]json.RawMessage

// field decodes one field, strictly, if the object has it.
func (o object) field(name string, to any) error {
	raw, ok := o[name]
	if !ok {
		return nil
	}
	delete(o, name)
	decode := json.Unmarshal
	if t := reflect.TypeOf(to).Elem(); t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct {
		decode = strictly // it has fields of its own
	}
	if err := decode(raw, to); err != nil {
		return fmt.Errorf("field %q: %s", name, strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

func strictly(raw []byte, to any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	return dec.Decode(to)
}

// fill decodes the object into structs, each field by its exact name. One that none of them has, or that is not wanted,
// is an error.
func (o object) fill(unwanted func(name string) bool, structs ...any) error {
	for _, to := range structs {
		v := reflect.ValueOf(to).Elem()
		fields := fieldsOf(v.Type())
		for _, name := range slices.Sorted(maps.Keys(o)) {
			if index, ok := fields[name]; ok && (unwanted == nil || !unwanted(name)) {
				if err := o.field(name, v.FieldByIndex(index).Addr().Interface()); err != nil {
					return err
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o)) {
		return fmt.Errorf("unknown field %q", Abridged(name))
	}
	return nil
}

var fieldsByType sync.Map // of structs: the index of each field that recordings have, by its name there

func fieldsOf(t reflect.Type) map[string][]int {
	if names, ok := fieldsByType.Load(t); ok {
		return names.(map[string][]int)
	}
	names := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			names[name] = f.Index
		}
	}
	fieldsByType.Store(t, names)
	return names
}

// one reads the only object of a line.
func one(line []byte) (o object, err error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	if err := dec.Decode(&o); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return nil, errors.New("cut off in the middle of a scenario")
		}
		return nil, fmt.Errorf("not a scenario: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("more than one value on the line")
	}
	return o, nil
}

// Decode reads a line of another format: an object with an op. Its fields go into the structs that choose gives for the
// op, which is unknown if it gives none. A field that none of them has is an error.
func Decode(line []byte, choose func(op string) []any) error {
	o, err := one(line)
	if err != nil {
		return err
	}
	var op string
	if err := json.Unmarshal(o["op"], &op); err != nil {
		return fmt.Errorf("no op: %w", err)
	}
	into := choose(op)
	if into == nil {
		return fmt.Errorf("unknown op %q", Abridged(op))
	}
	if err := o.fill(nil, into...); err != nil {
		return fmt.Errorf("op %s: %w", op, err)
	}
	return nil
}

func parse(line []byte, k *Kernel) (*Scenario, error) {
	o, err := one(line)
	if err != nil {
		return nil, err
	}
	sc := new(Scenario)
	var steps []object
	err = o.field("steps", &steps)
	if err == nil {
		err = o.fill(nil, sc)
	}
	if err != nil {
		return nil, fmt.Errorf("not a scenario: %w", err)
	}
	sc.Steps = make([]Step, len(steps))
	for i, o := range steps {
		if err := sc.Steps[i].parse(o, k); err != nil {
			return nil, fmt.Errorf("%s: step %d: %w", Abridged(sc.Name), i+1, err)
		}
	}
	if err := sc.check(k); err != nil {
		return nil, err
	}
	return sc, nil
}

// parse decodes a step: what all have, the parameters and the results of its operation, and nothing else.
func (st *Step) parse(o object, k *Kernel) error {
	if err := o.field("op", &st.Op); err != nil {
		return err
	}
	op := k.Ops[st.Op]
	if op == nil {
		return fmt.Errorf("unknown op %q", Abridged(st.Op))
	}
	st.Args = op.Args()
	unwanted := func(name string) bool { return ofSome[name] && !slices.Contains(op.Results, name) }
	if err := o.fill(unwanted, &st.Action, st.Args, &st.Outcome); err != nil {
		return fmt.Errorf("op %s: %w", st.Op, err)
	}
	return nil
}

// ValidName keeps names fit for reports and terminals.
func ValidName(s string) bool {
	if s == "" || len(s) > 200 {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// check refuses what could not be played or judged as it was meant.
func (sc *Scenario) check(k *Kernel) error {
	if !ValidName(sc.Name) {
		return fmt.Errorf("scenario without a usable name: %q", Abridged(sc.Name))
	}
	if len(sc.Steps) == 0 {
		return fmt.Errorf("%s: no steps", sc.Name)
	}
	sockets := map[string]bool{}
	for i := range sc.Steps {
		st := &sc.Steps[i]
		if err := st.check(k, sockets); err != nil {
			return fmt.Errorf("%s: step %d: op %s%w", sc.Name, i+1, st.Op, err)
		}
		if st.Panic != "" && (!sc.Panic || i != len(sc.Steps)-1) {
			return fmt.Errorf("%s: step %d: a panic that is not in the last step of a scenario that ends with one",
				sc.Name, i+1)
		}
	}
	if sc.Panic && sc.Steps[len(sc.Steps)-1].Panic == "" {
		return fmt.Errorf("%s: cut off: the scenario ends with a panic, its last step does not", sc.Name)
	}
	return nil
}

// check says what is wrong with a step, to be read behind its op.
func (st *Step) check(k *Kernel, sockets map[string]bool) error {
	op := k.Ops[st.Op]
	switch {
	case st.At != "" && !slices.Contains(k.Points, st.At):
		return fmt.Errorf(" at the unknown point %q", Abridged(st.At))
	case st.Until != "" && !slices.Contains(k.Points, st.Until):
		return fmt.Errorf(" until the unknown point %q", Abridged(st.Until))
	case st.Until != "" && !slices.Contains(op.Results, "verdict"):
		return errors.New(" cannot be held at a point")
	}
	if op.Socket {
		if st.Socket == "" {
			return errors.New(" without a socket")
		}
		if st.Op == "open" {
			sockets[st.Socket] = true
		} else if !sockets[st.Socket] {
			return fmt.Errorf(" on socket %q, which was not opened", Abridged(st.Socket))
		}
	}
	if m := st.Message(); m != nil {
		if m.Hex == nil {
			m.Hex = Hex{} // an empty message
		}
		if m.Len < 0 || m.Len > maxLine {
			return fmt.Errorf(" with len = %d", m.Len)
		}
		size := max(len(m.Hex), m.Len)
		for _, p := range m.Patch {
			if !sockets[p.Socket] || p.At < 0 || p.From < 0 || p.Len < 0 || p.Len > size || p.At > size-p.Len {
				return fmt.Errorf(" with a patch that does not fit: %+v", p)
			}
		}
	}
	if c, ok := st.Args.(interface{ Check() error }); ok {
		if err := c.Check(); err != nil {
			return fmt.Errorf(": %w", err)
		}
	}
	if err := st.Outcome.check(k); err != nil {
		return fmt.Errorf(": %w", err)
	}
	return nil
}

// check refuses results that no kernel can have given.
func (r *Outcome) check(k *Kernel) error {
	if r.Errno != "" {
		if e, ok := wire.ErrnoByName(r.Errno); !ok || e == wire.OK {
			return fmt.Errorf("unknown errno %q", Abridged(r.Errno))
		}
	}
	if r.Verdict != "" {
		if err := k.checkFate(Fate{r.ID, r.Verdict, r.Reason, r.Inner, r.InnerVol}); err != nil {
			return err
		}
	}
	for _, p := range r.Packets {
		if err := k.checkFate(p); err != nil {
			return fmt.Errorf("packet %d: %w", p.ID, err)
		}
	}
	for _, m := range r.Rx {
		if m.Hex == nil || m.Socket == "" {
			return errors.New("a received message without socket or bytes")
		}
		if err := k.checkSpans(m.Vol, len(m.Hex)); err != nil {
			return err
		}
	}
	return nil
}

const paused = "paused" // the verdict of a packet that is held at a named point

func (k *Kernel) checkFate(f Fate) error {
	if _, ok := packet.KindByName(f.Verdict); !ok && f.Verdict != paused && !slices.Contains(k.Verdicts, f.Verdict) {
		return fmt.Errorf("unknown verdict %q", Abridged(f.Verdict))
	}
	return k.checkSpans(f.Vol, len(f.Inner))
}

func (k *Kernel) checkSpans(spans []Span, n int) error {
	for _, s := range spans {
		r, ok := k.Rules[s.Name]
		switch {
		case !ok:
			return fmt.Errorf("unknown volatile span %q", Abridged(s.Name))
		case s.Offset < 0 || s.Len <= 0 || s.Len > n || s.Offset > n-s.Len:
			return fmt.Errorf("volatile span %q [%d, %d] lies outside of %d bytes", s.Name, s.Offset, s.Len, n)
		case r.Size != 0 && s.Len != r.Size:
			return fmt.Errorf("volatile span %q has %d bytes, want %d", s.Name, s.Len, r.Size)
		}
	}
	return nil
}

// Abridged keeps what hostile input brings out of errors short.
func Abridged(s string) string {
	const most = 60
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
