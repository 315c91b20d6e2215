package compare

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Answer is what one kernel made of a step.
type Answer struct {
	Kernel  *conform.Kernel
	Dialect *wire.Dialect // of the messages in Outcome
	Asked   []byte        // the message as this kernel got it; nil if it got none
	Outcome conform.Outcome
	// Skipped is why the step was not done; "" if it was. Notes are what was done otherwise than the scenario says.
	Skipped string
	Notes   []string
}

// Step is a step of the scenario, with the answers in the order of the kernels.
type Step struct {
	conform.Action
	Answers []Answer
}

// Run plays sc, which was written for one kernel, on an engine of each of several. All have the same addresses, those
// of the host that was recorded.
func Run(from *conform.Kernel, sc *conform.Scenario, on []*conform.Kernel) ([]Step, error) {
	steps := make([]Step, len(sc.Steps))
	for i := range steps {
		steps[i] = Step{Action: sc.Steps[i].Action, Answers: make([]Answer, len(on))}
	}
	for n, k := range on {
		s := &side{from: from, to: k, d: native(k.Dialect), sc: sc, answers: make([]Answer, len(sc.Steps))}
		if err := s.play(); err != nil {
			return nil, fmt.Errorf("%s: %w", k.Name, err)
		}
		for i, a := range s.answers {
			steps[i].Answers[n] = a
		}
	}
	return steps, nil
}

// side plays the scenario on one kernel.
type side struct {
	from, to *conform.Kernel
	d        *wire.Dialect
	sc       *conform.Scenario
	answers  []Answer
}

func (s *side) play() error {
	k := *s.to
	k.Dialect, k.Ops = s.d, map[string]*conform.Op{}
	sc := &conform.Scenario{Name: s.sc.Name, Steps: make([]conform.Step, len(s.sc.Steps))}
	for i := range sc.Steps {
		st := &s.sc.Steps[i]
		k.Ops[st.Op] = &conform.Op{Keeps: s.from.Ops[st.Op].Keeps}
		s.answers[i].Kernel, s.answers[i].Dialect = s.to, s.d
		sc.Steps[i].Action = st.Action
		sc.Steps[i].At, sc.Steps[i].Until = "", ""
		sc.Steps[i].Args = s.common(i)
	}
	addrs := s.from.Addrs
	if s.from.Isolates && !s.sc.Net || addrs == nil {
		addrs = []netip.Addr{}
	}
	target := conform.InProcess{Kernel: &k, Addrs: addrs, Broadcast: s.from.Broadcast}
	outs, err := conform.Outcomes(target, &k, sc)
	if err != nil {
		return err
	}
	for i := range s.answers {
		a := &s.answers[i]
		if i >= len(outs) {
			a.Skipped = "not reached"
			continue
		}
		a.Outcome = outs[i]
		if a.Skipped == "" {
			a.Notes = append(a.Notes, outs[i].Trouble()...)
		}
	}
	return nil
}

// common is what does a step on this kernel.
func (s *side) common(i int) any {
	st, a := &s.sc.Steps[i], &s.answers[i]
	args := st.Args
	if c, ok := args.(interface{ Common() any }); ok {
		args = c.Common()
	}
	if st.At != "" || st.Until != "" {
		a.Notes = append(a.Notes, "the packet is not held at a point inside of the kernel")
	}
	switch x := args.(type) {
	case nil:
		return nothing{}
	case error:
		a.Skipped = x.Error()
		return nothing{}
	case *conform.Send:
		return &send{Send: x, s: s, step: i}
	case *pfkey.Policy:
		return &policy{policy: x, s: s, step: i}
	case *conform.Incoming:
		return &incoming{Incoming: *x, s: s, step: i}
	case *conform.Open, *conform.Close, *conform.Recv, *conform.Buffer, *conform.Call, *conform.Outgoing,
		*conform.Lapse:
		return x
	}
	a.Skipped = fmt.Sprintf("%s is an operation of %s alone", st.Op, s.from.Name)
	return nothing{}
}

// nothing does nothing.
type nothing struct{}

func (nothing) Do(*conform.Player, *conform.Action, *conform.Outcome) {}

// send sends a message in the words of this kernel.
type send struct {
	*conform.Send
	s    *side
	step int
}

// Do sends the message. Bytes that come from an answer are those of the answer that came here.
func (m *send) Do(p *conform.Player, a *conform.Action, out *conform.Outcome) {
	said := &m.s.answers[m.step]
	whole := make([]byte, max(len(m.Hex), m.Len))
	copy(whole, m.Hex)
	for _, x := range m.Patch { // so that what depends on them is translated, too
		if b, ok := m.s.recorded(m.step, x); ok {
			copy(whole[x.At:x.At+x.Len], b)
		}
	}
	t, err := translate(m.s.from.Dialect, m.s.d, whole)
	if err != nil {
		if m.s.policy(p, m.step, m.s.from.Dialect, whole) {
			return
		}
		said.Skipped = err.Error()
		return
	}
	if h, err := m.s.d.Header(t.msg); err == nil && m.s.to.LooksAtPID && !m.s.from.LooksAtPID {
		h.PID = uint32(conform.Privileged.PID) // whoever wrote the scenario had no need to say who he is
		m.s.d.PutHeader(t.msg, h)
	}
	said.Notes = append(said.Notes, t.lost...)
	for _, x := range m.Patch {
		b, err := m.s.again(p, m.step, x)
		if err == nil {
			err = m.s.place(b, x.At, whole, t.msg)
		}
		if err != nil {
			said.Notes = append(said.Notes, err.Error())
		}
	}
	said.Asked = t.msg
	again := conform.Send{Sending: conform.Sending{Hex: t.msg}, Flags: m.Flags}
	again.Do(p, a, out)
}

// received is what a socket had received in the recording before a step.
func (s *side) received(step int, socket string) (all [][]byte) {
	for i := range step {
		for _, m := range s.sc.Steps[i].Rx {
			if m.Socket == socket {
				all = append(all, m.Hex)
			}
		}
	}
	return all
}

// source is the recorded message that a patch is of, and which one of its type it is on its socket.
func (s *side) source(step int, x conform.Patch) (msg []byte, t wire.MsgType, nth int, ok bool) {
	all := s.received(step, x.Socket)
	n := x.Msg
	if n < 0 {
		n += len(all)
	}
	if n < 0 || n >= len(all) || x.From+x.Len > len(all[n]) {
		return nil, 0, 0, false
	}
	typeOf := func(b []byte) wire.MsgType { h, _ := s.from.Dialect.Header(b); return h.Type }
	t = typeOf(all[n])
	for _, b := range all[:n] {
		if typeOf(b) == t {
			nth++
		}
	}
	return all[n], t, nth, true
}

// recorded is what a patch copied when the scenario was recorded.
func (s *side) recorded(step int, x conform.Patch) ([]byte, bool) {
	msg, _, _, ok := s.source(step, x)
	if !ok {
		return nil, false
	}
	return msg[x.From : x.From+x.Len], true
}

// again is what a patch copies here: the bytes in the same place of the same answer.
func (s *side) again(p *conform.Player, step int, x conform.Patch) ([]byte, error) {
	recorded, t, nth, ok := s.source(step, x)
	if !ok {
		return nil, fmt.Errorf("no answer was recorded of which something on socket %s is repeated", x.Socket)
	}
	var answer []byte
	for _, b := range p.Received(x.Socket) {
		if h, err := s.d.Header(b); err == nil && h.Type == t {
			if nth--; nth < 0 {
				answer = b
				break
			}
		}
	}
	if answer == nil {
		return nil, fmt.Errorf("there was no answer %s on socket %s, of which something is repeated", t, x.Socket)
	}
	if from, ok := find(s.from.Dialect, recorded, x.From); ok {
		if off, ok := from.offset(s.d, answer); ok && off+x.Len <= len(answer) {
			return answer[off : off+x.Len], nil
		}
	}
	return nil, fmt.Errorf("the answer %s on socket %s has not here what is repeated", t, x.Socket)
}

// place puts bytes where they belong in a message: at the place that has the offset at in the message as it was
// written.
func (s *side) place(b []byte, at int, written, msg []byte) error {
	if to, ok := find(s.from.Dialect, written, at); ok {
		if off, ok := to.offset(s.d, msg); ok && off+len(b) <= len(msg) {
			copy(msg[off:], b)
			return nil
		}
	}
	return errors.New("what is repeated of an answer has no place in the message here")
}

// incoming is a packet, in which bytes of answers may be repeated.
type incoming struct {
	conform.Incoming
	s    *side
	step int
}

// Do offers the packet.
func (x *incoming) Do(p *conform.Player, a *conform.Action, out *conform.Outcome) {
	in := x.Incoming
	in.Packet = slices.Clone(in.Packet)
	for _, patch := range in.Patch {
		b, err := x.s.again(p, x.step, patch)
		if err == nil && patch.At+len(b) <= len(in.Packet) {
			copy(in.Packet[patch.At:], b)
		} else if err != nil {
			said := &x.s.answers[x.step]
			said.Notes = append(said.Notes, err.Error())
		}
	}
	in.Do(p, a, out)
}

// policy adds the policy of a message by the means of a kernel that has no message for it. False: it is no such
// message, or there are no such means.
func (s *side) policy(p *conform.Player, step int, d *wire.Dialect, msg []byte) bool {
	h, err := d.Header(msg)
	adds := []wire.MsgType{wire.KAMEMsgXSPDAdd, wire.KAMEMsgXSPDUpdate, wire.KAMEMsgXSPDSetIdx}
	if err != nil || s.to.AddPolicy == nil || !slices.Contains(adds, h.Type) {
		return false
	}
	said := &s.answers[step]
	x, err := pfkey.ParsePolicy(d, msg)
	var how string
	if err == nil {
		how, err = s.to.AddPolicy(p, x)
	}
	if err != nil {
		said.Skipped = fmt.Sprintf("%s has no %s, and no policy like it: %v", s.to.Name, d.MsgName(h.Type), err)
		return true
	}
	said.Notes = append(said.Notes, fmt.Sprintf("%s has no %s: %s", s.to.Name, d.MsgName(h.Type), how))
	return true
}

// policy adds a policy that the scenario has no message for.
type policy struct {
	policy *pfkey.Policy
	s      *side
	step   int
}

// Do adds it by a message, on a socket of its own, or by other means where there is no message for it.
func (x *policy) Do(p *conform.Player, _ *conform.Action, out *conform.Outcome) {
	said := &x.s.answers[x.step]
	if x.s.to.AddPolicy != nil {
		how, err := x.s.to.AddPolicy(p, x.policy)
		if said.Notes = append(said.Notes, how); err != nil {
			said.Skipped = err.Error()
		}
		return
	}
	d := x.s.d
	msg := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.KAMEMsgXSPDAdd, Seq: 1,
		PID: uint32(conform.Privileged.PID)})
	said.Asked = d.Finish(x.policy.AppendExtensions(d, msg))
	socket, errno := p.Machine.Open(conform.Privileged, conform.RawSocket, wire.Version)
	if errno == wire.OK {
		errno = socket.Send(said.Asked, conform.Privileged)
		socket.Close()
	}
	out.Result(0, errno)
}
