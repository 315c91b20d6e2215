package bsd

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// The time of a use agrees with the other times; that of what was never used is that of the boot, always the same.
func TestUseTime(t *testing.T) {
	d := NetBSD.Dialect
	current := func(add, use uint64) []byte {
		return d.AppendLifetime(nil, wire.ExtLifetimeCurrent, wire.Lifetime{AddTime: add, UseTime: use})
	}
	type times struct{ want, got [2]uint64 }
	for _, tt := range []struct {
		name string
		all  []times
		fine bool
	}{
		{"used", []times{{[2]uint64{100, 103}, [2]uint64{200, 203}}}, true},
		{"used at another time", []times{{[2]uint64{100, 103}, [2]uint64{200, 204}}}, false},
		{"never used", []times{{[2]uint64{100, 50}, [2]uint64{200, 199}}}, true},
		{"never used, and says when", []times{{[2]uint64{100, 50}, [2]uint64{200, 200}}}, false},
		{"used, and says never", []times{{[2]uint64{100, 103}, [2]uint64{200, 199}}}, false},
		{"booted twice", []times{{[2]uint64{100, 50}, [2]uint64{200, 199}},
			{[2]uint64{101, 50}, [2]uint64{201, 198}}}, false},
	} {
		j := conform.NewJudge(NetBSD, false)
		for _, x := range tt.all {
			vol := []conform.Span{{Offset: 16, Len: 8, Name: "addtime"}, {Offset: 24, Len: 8, Name: "usetime"}}
			j.Bytes("rx", 'm', current(x.want[0], x.want[1]), current(x.got[0], x.got[1]), vol)
		}
		if fine := len(j.Differences()) == 0; fine != tt.fine {
			t.Errorf("%s: %v", tt.name, j.Differences())
		}
	}
}

// What a running engine counts on with is found wherever it is in a message, and nothing else.
func TestNumbers(t *testing.T) {
	d := FreeBSD.Dialect
	msg := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.KAMEMsgXSPDAdd})
	msg = d.AppendSA2(msg, wire.SA2{ReqID: 0x4001})
	msg = d.Finish(d.AppendPolicy(msg, wire.Policy{ID: 7, Requests: []wire.IPsecRequest{
		{Proto: 50, ReqID: 0x3fff}, {Proto: 51, ReqID: 0x4001}}}))
	want := []conform.Span{{Offset: 40, Len: 4, Name: "policy"}, {Offset: 62, Len: 2, Name: "reqid"}}
	if diff := cmp.Diff(want, numbers(d, msg)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if why := named(d, msg); why != "" {
		t.Errorf("X_SPDADD names a policy: %s", why)
	}
	if named(d, d.AppendHeader(nil, wire.Header{Type: wire.KAMEMsgXSPDGet})) == "" {
		t.Error("X_SPDGET names no policy")
	}
}
