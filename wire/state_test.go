package wire_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/wire"
)

// State 0 is LARVAL where a kernel says it of an SA. In a request nobody has said it, and a trace does not either.
func TestStateZero(t *testing.T) {
	d := wire.Illumos()
	current := d.AppendLifetime(nil, wire.ExtLifetimeCurrent, wire.Lifetime{AddTime: 1})
	for _, tt := range []struct {
		typ   wire.MsgType
		state wire.State
		more  []byte
		line  string // " state=..." or nothing
		field string
	}{
		{wire.MsgAdd, 0, nil, "", "state = 0 (not said)"},
		{wire.MsgUpdate, 0, nil, "", "state = 0 (not said)"},
		{wire.MsgUpdate, 0, current, "", "state = 0 (not said)"},
		{wire.MsgDelete, 0, nil, "", "state = 0 (not said)"},
		{wire.MsgGet, 0, nil, "", "state = 0 (not said)"},
		{wire.IllumosMsgXUpdatePair, 0, nil, "", "state = 0 (not said)"},
		{wire.MsgGet, 0, current, " state=larval", "state = 0 (larval)"},
		{wire.MsgGetSPI, 0, nil, " state=larval", "state = 0 (larval)"},
		{wire.MsgDump, 0, current, " state=larval", "state = 0 (larval)"},
		{wire.MsgExpire, 0, current, " state=larval", "state = 0 (larval)"},
		{wire.MsgAdd, wire.StateMature, nil, " state=mature", "state = 1 (mature)"},
		{wire.MsgGet, wire.StateDying, nil, " state=dying", "state = 2 (dying)"},
	} {
		msg := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: tt.typ, SAType: wire.SATypeESP})
		msg = d.Finish(append(d.AppendSA(msg, wire.SA{SPI: 1, State: tt.state}), tt.more...))
		name := d.MsgName(tt.typ)
		line := d.Line(msg)
		want := name + " esp seq=0 pid=0 spi=0x1" + tt.line
		if line != want && !strings.HasPrefix(line, want+" current") {
			t.Errorf("%s: %s, want %s", name, line, want)
		}
		var b bytes.Buffer
		d.Format(&b, msg, wire.FormatOptions{})
		if !strings.Contains(b.String(), tt.field+"\n") {
			t.Errorf("%s: no %q in\n%s", name, tt.field, &b)
		}
	}
}
