package conform

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode"

	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Scenario is one conversation with a kernel that was fresh when it began.
type Scenario struct {
	Name  string `json:"name"` // CLASS/NAME
	Panic bool   `json:"panic,omitempty"`
	Net   bool   `json:"net,omitempty"`   // the host has an interface to the world, not only to itself
	Timed bool   `json:"timed,omitempty"` // it waits for the kernel's timers
	Steps []Step `json:"steps"`

	File string `json:"-"` // where it was read
	Line int    `json:"-"` // from 1
}

// Step is one action and what came of it.
type Step struct {
	Action
	Outcome
}

// Action is what is done in a step. Which fields count depends on Op.
type Action struct {
	Op     string `json:"op"`
	Socket string `json:"s,omitempty"`
	At     string `json:"at,omitempty"`    // executed inside a later step, at this named point
	Until  string `json:"until,omitempty"` // hold the packet at this named point until a resume
	NoRx   bool   `json:"norx,omitempty"`  // leave what was received in the queues
	NoCap  bool   `json:"nocap,omitempty"` // without privilege

	Hex   Hex     `json:"hex,omitzero"` // the message or the packet
	Patch []Patch `json:"patch,omitempty"`
	In    bool    `json:"in,omitempty"`
	Flags string  `json:"flags,omitempty"` // of send or recv, such as "peek"

	N       *int   `json:"n,omitempty"`
	Buf     int    `json:"buf,omitempty"` // size of the buffer in bytes, 0: a large one
	Len     int    `json:"len,omitempty"` // of what is sent, in bytes; a reqid in xfrmpol
	Name    string `json:"name,omitempty"`
	Val     int    `json:"val,omitempty"`
	Advance int64  `json:"advance,omitempty"` // seconds
	Millis  int64  `json:"ms,omitempty"`

	Tunnel string `json:"tunnel,omitempty"`
	Dir    string `json:"dir,omitempty"`
	Src    string `json:"src,omitempty"`
	Dst    string `json:"dst,omitempty"`
	V6     bool   `json:"v6,omitempty"`
	Type   int    `json:"type,omitempty"`  // of the socket, 0: the usual one
	Proto  int    `json:"proto,omitempty"` // IP's; or the socket's, 0: the usual one, -1: none
	SPort  uint16 `json:"sport,omitempty"`
	DPort  uint16 `json:"dport,omitempty"`
	Acts   []Act  `json:"acts,omitempty"`
}

// Patch copies bytes of a message received earlier into the message that is sent.
type Patch struct {
	At     int    `json:"at"` // offset in the message sent
	Socket string `json:"s"`
	Msg    int    `json:"msg"`  // which message received on the socket, from 0; negative: from the end
	From   int    `json:"from"` // offset in it
	Len    int    `json:"len"`
}

// Act is one alternative of a policy rule.
type Act struct {
	Type    int    `json:"type,omitempty"`
	AH      int    `json:"ah"`
	ESP     int    `json:"esp"`
	ESPAuth int    `json:"espa"`
	Unique  bool   `json:"unique,omitempty"`
	Self    bool   `json:"se,omitempty"`
	KMP     uint32 `json:"kmp,omitempty"`
	KMC     uint64 `json:"kmc,omitempty"`
	Replay  uint8  `json:"replay,omitempty"`
	EMin    uint16 `json:"emin,omitempty"`
	EMax    uint16 `json:"emax,omitempty"`
}

// Outcome is what a kernel made of an action.
type Outcome struct {
	Ret   int    `json:"ret"`
	Errno string `json:"errno,omitempty"`
	Sent  Hex    `json:"sent,omitzero"` // the message as it was sent, when it was patched

	// The packet that the action made.
	ID       uint64 `json:"id,omitempty"` // from 1, in the order of execution
	Verdict  string `json:"verdict,omitempty"`
	Reason   string `json:"reason,omitempty"` // the kernel's own name of the counter
	Inner    Hex    `json:"inner,omitzero"`
	InnerVol []Span `json:"inner_vol,omitempty"`

	Packets  []Fate            `json:"packets,omitempty"` // other packets decided in this step, in order
	Counters map[string]uint64 `json:"counters,omitempty"`
	Rx       []Message         `json:"rx,omitempty"` // by socket in the order of opening, then in the order of arrival
	Panic    string            `json:"panic,omitempty"`

	trouble []string // what kept the player from doing the step as it was recorded
}

// Fate is what became of a packet.
type Fate struct {
	ID      uint64 `json:"id"`
	Verdict string `json:"verdict"`
	Reason  string `json:"reason,omitempty"`
	Inner   Hex    `json:"inner,omitzero"`
	Vol     []Span `json:"vol,omitempty"`
}

// Message is a message as a socket received it.
type Message struct {
	Socket string `json:"s"`
	Hex    Hex    `json:"hex"`
	Ret    int    `json:"ret,omitempty"`   // what the read returned, if it is not the number of bytes
	Trunc  bool   `json:"trunc,omitempty"` // the buffer was too short
	T      int64  `json:"t,omitempty"`     // milliseconds since the second that the clock was aligned to
	Vol    []Span `json:"vol,omitempty"`
}

// Span marks bytes that may differ, under the rule that its name stands for.
type Span struct {
	Offset, Len int
	Name        string
}

// Write appends the scenario to a recording, as one line.
func (sc *Scenario) Write(w io.Writer) error {
	b, err := json.Marshal(sc)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// Hex is bytes that a recording has as hexadecimal digits.
type Hex []byte

// UnmarshalJSON implements [json.Unmarshaler]. The result is never nil, so that an empty message differs from none.
func (h *Hex) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	v, err := hex.DecodeString(s)
	if err != nil {
		return fmt.Errorf("%q: %w", abridged(s), err)
	}
	*h = append(make(Hex, 0, len(v)), v...)
	return nil
}

// MarshalJSON implements [json.Marshaler].
func (h Hex) MarshalJSON() ([]byte, error) { return json.Marshal(hex.EncodeToString(h)) }

// UnmarshalJSON implements [json.Unmarshaler]: [offset, length, name].
func (s *Span) UnmarshalJSON(b []byte) error {
	var v []json.RawMessage
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	if len(v) != 3 {
		return fmt.Errorf("volatile span %s: want [offset, length, name]", abridged(string(b)))
	}
	for i, to := range []any{&s.Offset, &s.Len, &s.Name} {
		if err := json.Unmarshal(v[i], to); err != nil {
			return fmt.Errorf("volatile span %s: %w", abridged(string(b)), err)
		}
	}
	return nil
}

// MarshalJSON implements [json.Marshaler].
func (s Span) MarshalJSON() ([]byte, error) { return json.Marshal([]any{s.Offset, s.Len, s.Name}) }

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

// Read yields the scenarios of a recording of the named kernel, or an *[InputError] for each line that cannot be
// played; it goes on behind such a line. file is the name that errors and results show.
func Read(r io.Reader, file, kernel string) iter.Seq2[*Scenario, error] {
	return func(yield func(*Scenario, error) bool) {
		f, err := familyOf(kernel)
		if err != nil {
			yield(nil, &InputError{File: file, Err: err})
			return
		}
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 0, 64<<10), maxLine)
		n := 0
		for lines.Scan() {
			n++
			if len(bytes.TrimSpace(lines.Bytes())) == 0 {
				continue
			}
			sc, err := parse(lines.Bytes(), f)
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

func parse(line []byte, f *family) (*Scenario, error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	sc := new(Scenario)
	if err := dec.Decode(sc); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return nil, errors.New("cut off in the middle of a scenario")
		}
		return nil, fmt.Errorf("not a scenario: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("more than one value on the line")
	}
	if err := sc.check(f); err != nil {
		return nil, err
	}
	return sc, nil
}

// validName keeps names fit for reports and terminals.
func validName(s string) bool {
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
func (sc *Scenario) check(f *family) error {
	if !validName(sc.Name) {
		return fmt.Errorf("scenario without a usable name: %q", abridged(sc.Name))
	}
	if len(sc.Steps) == 0 {
		return fmt.Errorf("%s: no steps", sc.Name)
	}
	sockets := map[string]bool{}
	for i := range sc.Steps {
		st := &sc.Steps[i]
		if err := st.check(f, sockets); err != nil {
			return fmt.Errorf("%s: step %d: %w", sc.Name, i+1, err)
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

func (st *Step) check(f *family, sockets map[string]bool) error {
	o, ok := f.op(st.Op)
	switch {
	case !ok:
		return fmt.Errorf("unknown op %q", abridged(st.Op))
	case st.At != "" && !f.points[st.At]:
		return fmt.Errorf("op %s at the unknown point %q", st.Op, abridged(st.At))
	case st.Until != "" && !f.points[st.Until]:
		return fmt.Errorf("op %s until the unknown point %q", st.Op, abridged(st.Until))
	case st.Until != "" && !o.packet:
		return fmt.Errorf("op %s cannot be held at a point", st.Op)
	case st.N != nil && *st.N < 0:
		return fmt.Errorf("op %s with n = %d", st.Op, *st.N)
	case st.Advance < 0 || st.Advance > maxAdvance:
		return fmt.Errorf("op %s advances the clock by %d seconds", st.Op, st.Advance)
	case st.Millis < 0 || st.Millis > maxSleep:
		return fmt.Errorf("op %s waits for %d ms", st.Op, st.Millis)
	case st.Len < 0 || st.Len > maxLine && o.message || st.Buf < 0 || st.Buf > maxLine:
		return fmt.Errorf("op %s with len = %d, buf = %d", st.Op, st.Len, st.Buf)
	}
	if o.socket {
		if st.Socket == "" {
			return fmt.Errorf("op %s without a socket", st.Op)
		}
		if st.Op == "open" {
			sockets[st.Socket] = true
		} else if !sockets[st.Socket] {
			return fmt.Errorf("op %s on socket %q, which was not opened", st.Op, abridged(st.Socket))
		}
	}
	if o.message && st.Hex == nil {
		st.Hex = Hex{} // an empty message
	}
	if (o.packet || o.bytes) && st.Hex == nil {
		return fmt.Errorf("op %s without hex", st.Op)
	}
	for _, p := range st.Patch {
		if !o.message || !sockets[p.Socket] || p.At < 0 || p.From < 0 || p.Len < 0 ||
			p.Len > max(len(st.Hex), st.Len) || p.At > max(len(st.Hex), st.Len)-p.Len {
			return fmt.Errorf("op %s with a patch that does not fit: %+v", st.Op, p)
		}
	}
	if o.check != nil {
		if err := o.check(&st.Action); err != nil {
			return fmt.Errorf("op %s: %w", st.Op, err)
		}
	}
	return st.Outcome.check(o)
}

// maxAdvance is about three thousand years, in seconds; a wilder clock would overflow.
const maxAdvance = 100_000_000_000

// maxSleep is a day, in milliseconds. Nobody waits that long for a real kernel.
const maxSleep = 86_400_000

// check refuses results that no kernel can have given.
func (r *Outcome) check(o *op) error {
	if r.Errno != "" {
		if e, ok := wire.ErrnoByName(r.Errno); !ok || e == wire.OK {
			return fmt.Errorf("unknown errno %q", abridged(r.Errno))
		}
	}
	if r.Counters != nil && !o.counters {
		return errors.New("counters in a step that does not read them")
	}
	if r.Verdict != "" {
		if !o.packet {
			return errors.New("a verdict in a step without a packet")
		}
		if err := checkFate(Fate{r.ID, r.Verdict, r.Reason, r.Inner, r.InnerVol}); err != nil {
			return err
		}
	}
	for _, p := range r.Packets {
		if err := checkFate(p); err != nil {
			return fmt.Errorf("packet %d: %w", p.ID, err)
		}
	}
	for _, m := range r.Rx {
		if m.Hex == nil || m.Socket == "" {
			return errors.New("a received message without socket or bytes")
		}
		if err := checkSpans(m.Vol, len(m.Hex)); err != nil {
			return err
		}
	}
	return nil
}

const paused = "paused" // the verdict of a packet that is held at a named point

func checkFate(f Fate) error {
	if _, ok := packet.KindByName(f.Verdict); !ok && f.Verdict != paused {
		return fmt.Errorf("unknown verdict %q", abridged(f.Verdict))
	}
	return checkSpans(f.Vol, len(f.Inner))
}

func checkSpans(spans []Span, n int) error {
	for _, s := range spans {
		r, ok := rules[s.Name]
		switch {
		case !ok:
			return fmt.Errorf("unknown volatile span %q", abridged(s.Name))
		case s.Offset < 0 || s.Len <= 0 || s.Len > n || s.Offset > n-s.Len:
			return fmt.Errorf("volatile span %q [%d, %d] lies outside of %d bytes", s.Name, s.Offset, s.Len, n)
		case r.size != 0 && s.Len != r.size:
			return fmt.Errorf("volatile span %q has %d bytes, want %d", s.Name, s.Len, r.size)
		}
	}
	return nil
}

// abridged keeps what hostile input brings out of errors short.
func abridged(s string) string {
	const most = 60
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
