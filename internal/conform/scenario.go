package conform

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
)

// Scenario is one conversation with a kernel that was fresh when it began.
type Scenario struct {
	Name      string `json:"name"` // CLASS/NAME
	Panic     bool   `json:"panic,omitempty"`
	Net       bool   `json:"net,omitempty"`       // the host has an interface to the world, not only to itself
	Timed     bool   `json:"timed,omitempty"`     // it waits for the kernel's timers
	FixedSeed bool   `json:"fixedseed,omitempty"` // what it shows hangs on the kernel's random numbers
	Why       string `json:"why,omitempty"`       // no answers were recorded, and why; a deviation may have some
	Steps     []Step `json:"steps"`

	File string `json:"-"` // where it was read
	Line int    `json:"-"` // from 1
}

// Step is one action and what came of it.
type Step struct {
	Action
	Outcome
}

// Action is what is done in a step.
type Action struct {
	Op     string `json:"op"`
	Socket string `json:"s,omitempty"`
	At     string `json:"at,omitempty"`    // executed inside a later step, at this named point
	Until  string `json:"until,omitempty"` // hold the packet at this named point until a resume
	NoRx   bool   `json:"norx,omitempty"`  // leave what was received in the queues

	// Args has the parameters, as a pointer to the type that the kernel's table has for Op. Nobody changes it once
	// it is read: copies of a step share it.
	Args any `json:"-"`
}

// Sending is a message as a recording has it. Parameters of operations that send one embed it.
type Sending struct {
	Hex   Hex     `json:"hex,omitzero"`
	Patch []Patch `json:"patch,omitempty"`
	Len   int     `json:"len,omitempty"` // of what is sent, in bytes, if it is longer: the rest is zero
}

// Sends returns s.
func (s *Sending) Sends() *Sending { return s }

// Message returns what the action sends; nil if it sends no message.
func (a *Action) Message() *Sending {
	if s, ok := a.Args.(interface{ Sends() *Sending }); ok {
		return s.Sends()
	}
	return nil
}

// Patch copies bytes of a message received earlier into the message that is sent.
type Patch struct {
	At     int    `json:"at"` // offset in the message sent
	Socket string `json:"s"`
	Msg    int    `json:"msg"`  // which message received on the socket, from 0; negative: from the end
	From   int    `json:"from"` // offset in it
	Len    int    `json:"len"`
}

// Outcome is what a kernel made of an action. Some of it is only there for operations that have it among their results.
type Outcome struct {
	Ret   int    `json:"ret"`
	Errno string `json:"errno,omitempty"`
	Sent  Hex    `json:"sent,omitzero"` // the message as it was sent, when it was patched

	// The packet that the action made, and what became of it.
	ID       uint64 `json:"id,omitempty"` // from 1, in the order of execution
	Verdict  string `json:"verdict,omitempty"`
	Reason   string `json:"reason,omitempty"` // the kernel's own name of the counter
	Inner    Hex    `json:"inner,omitzero"`
	InnerVol []Span `json:"inner_vol,omitempty"`

	Packets  []Fate            `json:"packets,omitempty"`  // other packets decided in this step, in order
	Counters map[string]uint64 `json:"counters,omitempty"` // by how much they have grown since they were read
	Rx       []Message         `json:"rx,omitempty"`       // by socket in the order of opening, then in that of arrival
	Panic    string            `json:"panic,omitempty"`

	Pkt   Hex               `json:"pkt,omitzero"`    // the packet that the action made of its parameters
	Wires []Wire            `json:"wires,omitempty"` // the packets that came out
	Stats map[string]uint64 `json:"stats,omitempty"` // by how much counters have grown in this step
	Old   *int64            `json:"old,omitempty"`   // the value before
	Need  *int              `json:"need,omitempty"`  // the bytes that were announced
	// Unordered: the messages were sorted by their bytes, as the kernel gives them in any order.
	Unordered bool `json:"unordered,omitempty"`

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

// Wire is a packet that came out, and where.
type Wire struct {
	Via   string     `json:"via"` // such as "ip": handed to IP's output
	Len   int        `json:"len"`
	Proto int        `json:"proto"`
	SPI   *uint32    `json:"spi,omitempty"`
	Seq   *uint32    `json:"pseq,omitempty"`
	UDP   *[2]uint16 `json:"udp,omitempty"` // the ports of UDP encapsulation
	T     *int64     `json:"t,omitempty"`   // as of a message
}

// Message is a message as a socket received it.
type Message struct {
	Socket string `json:"s"`
	Hex    Hex    `json:"hex"`
	Ret    int    `json:"ret,omitempty"`   // what the read returned, if it is not the number of bytes
	Trunc  bool   `json:"trunc,omitempty"` // the buffer was too short
	EOF    bool   `json:"eof,omitempty"`   // the read returned 0
	T      int64  `json:"t,omitempty"`     // milliseconds since the scenario, or the second it was aligned to, began
	Vol    []Span `json:"vol,omitempty"`
}

// Span marks bytes that may differ, under the rule that its name stands for.
type Span struct {
	Offset, Len int
	Name        string
}

// Folder is the name of the folder that the scenario was read in.
func (sc *Scenario) Folder() string { return filepath.Base(filepath.Dir(sc.File)) }

// Write appends the scenario to a recording, as one line.
func (sc *Scenario) Write(w io.Writer) error {
	b, err := json.Marshal(sc)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// Clone copies a scenario, to be changed at will but for the parameters of its actions.
func (sc *Scenario) Clone() *Scenario {
	c := *sc
	c.Steps = slices.Clone(sc.Steps)
	for i := range c.Steps {
		b, err := json.Marshal(sc.Steps[i].Outcome)
		c.Steps[i].Outcome = Outcome{}
		if err == nil {
			err = json.Unmarshal(b, &c.Steps[i].Outcome)
		}
		if err != nil {
			panic("conform: a scenario that was read cannot be copied: " + err.Error())
		}
	}
	return &c
}

// MarshalJSON implements [json.Marshaler]: an object with the fields of the action, of its parameters and of the
// outcome.
func (st Step) MarshalJSON() ([]byte, error) {
	object := []byte{'{'}
	for _, part := range []any{st.Action, st.Args, st.Outcome} {
		if part == nil {
			continue
		}
		b, err := json.Marshal(part)
		if err != nil {
			return nil, err
		}
		if fields := b[1 : len(b)-1]; len(fields) > 0 {
			if len(object) > 1 {
				object = append(object, ',')
			}
			object = append(object, fields...)
		}
	}
	return append(object, '}'), nil
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
		return fmt.Errorf("%q: %w", Abridged(s), err)
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
		return fmt.Errorf("volatile span %s: want [offset, length, name]", Abridged(string(b)))
	}
	for i, to := range []any{&s.Offset, &s.Len, &s.Name} {
		if err := json.Unmarshal(v[i], to); err != nil {
			return fmt.Errorf("volatile span %s: %w", Abridged(string(b)), err)
		}
	}
	return nil
}

// MarshalJSON implements [json.Marshaler].
func (s Span) MarshalJSON() ([]byte, error) { return json.Marshal([]any{s.Offset, s.Len, s.Name}) }
