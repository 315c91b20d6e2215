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

// Of a DUMP one SA is the last; of those of one type none need be. All messages else have the sequence number of a
// DUMP that was sent.
func TestDumpSeq(t *testing.T) {
	k := *OpenBSD
	k.Dialect = wire.OpenBSD()
	d := k.Dialect
	item := func(seq wire.Seq, of wire.SAType) []byte {
		return d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgDump, SAType: of, Seq: seq})
	}
	const all, esp = wire.SATypeUnspec, wire.SATypeESP
	for _, tt := range []struct {
		name      string
		of        wire.SAType
		want, got []wire.Seq
		fine      bool
	}{
		{"the same", all, []wire.Seq{7, 0}, []wire.Seq{7, 0}, true},
		{"another last", all, []wire.Seq{7, 0}, []wire.Seq{0, 7}, true},
		{"no last", all, []wire.Seq{7, 0}, []wire.Seq{7, 7}, false},
		{"two last", all, []wire.Seq{7, 0}, []wire.Seq{0, 0}, false},
		{"another number", all, []wire.Seq{7, 0}, []wire.Seq{8, 0}, false},
		{"the last is of another type", esp, []wire.Seq{7, 0}, []wire.Seq{7, 7}, true},
		{"the last is of this type", esp, []wire.Seq{7, 7}, []wire.Seq{0, 7}, true},
		{"two last of one type", esp, []wire.Seq{7, 0}, []wire.Seq{0, 0}, false},
	} {
		j := conform.NewJudge(&k, false)
		j.Memory.Step(j, nil, item(7, tt.of), nil)
		var together []conform.Whole
		what := ""
		for i := range tt.want {
			w := conform.Whole{Want: item(tt.want[i], tt.of), Got: item(tt.got[i], tt.of),
				Span: conform.Span{Offset: 8, Len: 4, Name: "dumpseq"}}
			together = append(together, w)
			what += dumpSeq(j, w)
		}
		if what += lastInDump(j, together); (what == "") != tt.fine {
			t.Errorf("%s: %q", tt.name, what)
		}
	}
}
