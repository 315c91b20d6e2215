package bsd

import (
	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// usetime: the time of the last use. Of what was never used it is the time when the machine was booted, which is in
// front of the time beside it.
func usetime(j *conform.Judge, w conform.Whole) string {
	const beside = 8
	if w.Offset < beside {
		return "no time stands beside it"
	}
	u64 := j.Dialect.Order.Uint64
	at := w.Offset - beside
	if u64(w.Wanted()) >= u64(w.Want[at:]) {
		return conform.TimeRule.Judge(j, w)
	}
	if u64(w.Gotten()) >= u64(w.Got[at:]) {
		return "it was never used, and says when"
	}
	return j.Pair("time of boot", w)
}

// policyNumber: which policy it is. Only a running engine gives other numbers than the recorded ones, see [numbers].
func policyNumber(j *conform.Judge, w conform.Whole) string {
	if j.Dialect.Order.Uint32(w.Gotten()) == 0 {
		return "the policy has no number"
	}
	return j.Pair("policy", w)
}

// named says why a message that names a policy by its number cannot be sent to a running engine.
func named(d *wire.Dialect, msg []byte) string {
	if h, err := d.Header(msg); err == nil && (h.Type == wire.KAMEMsgXSPDGet || h.Type == wire.KAMEMsgXSPDDelete2) {
		return "a running engine goes on counting its policies, so their numbers in a request do not fit"
	}
	return ""
}

// chosenReqID: a request id that the kernel has chosen, which it does above those that people may give.
func chosenReqID(j *conform.Judge, w conform.Whole) string {
	if j.Dialect.Order.Uint16(w.Gotten()) <= maxManualReqID {
		return "the kernel chooses larger request ids"
	}
	return j.Pair("reqid", w)
}

const maxManualReqID = 0x3fff

// numbers finds what a running engine goes on counting: the numbers of policies, and the request ids that it chooses.
func numbers(d *wire.Dialect, msg []byte) (spans []conform.Span) {
	for x, err := range d.Walk(msg) {
		if err != nil {
			break
		}
		if x.Type == wire.KAMEExtXPolicy && len(x.Raw) >= 12 && d.Order.Uint32(x.Raw[8:]) != 0 {
			spans = append(spans, conform.Span{Offset: x.Offset + 8, Len: 4, Name: "policy"})
		}
		if x.Type != wire.KAMEExtXPolicy {
			continue
		}
		const fixed, request, reqID = 16, 8, 6 // of the extension, of a request, of the id in it
		for off := fixed; off+request <= len(x.Raw); {
			if d.Order.Uint16(x.Raw[off+reqID:]) > maxManualReqID {
				spans = append(spans, conform.Span{Offset: x.Offset + off + reqID, Len: 2, Name: "reqid"})
			}
			n := int(d.Order.Uint16(x.Raw[off:]))
			if n < request {
				break
			}
			off += n
		}
	}
	return spans
}
