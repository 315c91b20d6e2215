package linux

import (
	"fmt"
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// What varies in the messages of Linux, and by which rules.

const namedReqID = 0x3fff // the highest that a program may name

const (
	reservedAt = 6 // in the header

	tcp, udp = 6, 17
)

// countsReferences says whether the reserved field of a message of this size is how many references a policy has.
func countsReferences(h wire.Header, size int) bool {
	return slices.Contains(counted, h.Type) && size > wire.HeaderLen
}

// counted are the messages that say how many references a policy has, in their reserved field.
var counted = []wire.MsgType{wire.KAMEMsgXSPDAdd, wire.KAMEMsgXSPDUpdate, wire.KAMEMsgXSPDDelete,
	wire.KAMEMsgXSPDDelete2, wire.KAMEMsgXSPDGet,
	wire.KAMEMsgXSPDDump}

// mostRoutes is how many routes the packet of an action may take: a connection for which keys are missing looks for one
// several times.
func mostRoutes(a *conform.Action) int {
	switch a := a.Args.(type) {
	case *Datagram:
		if a.Dst.Is6() { // IPv4 has no policies there
			return 1
		}
	case *Traffic:
		if a.Proto == tcp {
			return 4
		}
		return 1
	}
	return 0
}

// routes is how many routes the packets that programs have sent may have taken.
type routes int

// Step implements [conform.Memory].
func (r *routes) Step(_ *conform.Judge, st *conform.Step, _, _ []byte) {
	*r += routes(mostRoutes(&st.Action))
}

// counter: a number that the whole machine counts: not zero, and always the same for a recorded one.
func counter(j *conform.Judge, w conform.Whole) string {
	if j.Dialect.Order.Uint32(w.Gotten()) == 0 {
		return "the number is zero"
	}
	return j.Pair("number", w)
}

// reqid: one that the kernel picked, above those that programs may name.
func reqid(j *conform.Judge, w conform.Whole) string {
	if v := j.Dialect.Order.Uint32(w.Gotten()); v <= namedReqID {
		return fmt.Sprintf("reqid %#x, want one above %#x", v, namedReqID)
	}
	return j.Pair("reqid", w)
}

// policy: the number of a policy, whose lowest bits say its direction.
func policy(j *conform.Judge, w conform.Whole) string {
	want, got := j.Dialect.Order.Uint32(w.Wanted()), j.Dialect.Order.Uint32(w.Gotten())
	if got == 0 || want%8 != got%8 {
		return fmt.Sprintf("policy %d stands for another direction than %d", got, want)
	}
	return j.Pair("policy", w)
}

// references: how many hold a policy. A route that a packet took holds it until some time after the program's socket is
// closed, when nobody in the kernel can be looking at it any more; so each route taken until now counts or does not.
func references(j *conform.Judge, w conform.Whole) string {
	want, got := int(j.Dialect.Order.Uint16(w.Wanted())), int(j.Dialect.Order.Uint16(w.Gotten()))
	most := int(*j.Memory.(*routes))
	if off := got - want; got == 0 || off > most || -off > most {
		return fmt.Sprintf("%d references instead of %d, with %d routes taken", got, want, most)
	}
	return ""
}

// namesPolicy says why a message that names a policy by its number cannot be sent to a running engine.
func namesPolicy(d *wire.Dialect, msg []byte) string {
	if h, err := d.Header(msg); err == nil && (h.Type == wire.KAMEMsgXSPDGet || h.Type == wire.KAMEMsgXSPDDelete2) {
		return "a running engine goes on counting its policies, so their numbers in a request do not fit"
	}
	return ""
}

// policyNumbers finds the numbers of policies in a message.
func policyNumbers(d *wire.Dialect, msg []byte) (spans []conform.Span) {
	for x, err := range d.Walk(msg) {
		if err != nil {
			break
		}
		if x.Type == wire.KAMEExtXPolicy && len(x.Raw) >= 12 && d.Order.Uint32(x.Raw[8:]) != 0 {
			spans = append(spans, conform.Span{Offset: x.Offset + 8, Len: 4, Name: "policy"})
		}
	}
	return spans
}
