package linux_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestExpireByTimeAndByPacket ends an SA by time while a packet that has met its hard limit waits to say so: one
// EXPIRE, and nothing is left that would look at the SA again.
func TestExpireByTimeAndByPacket(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
	h.must(h.sa(association{spi: 0x1000, soft: &wire.Lifetime{AddTime: 90}, hard: &wire.Lifetime{Allocations: 1,
		AddTime: 100}}))
	first, second := h.sealed(0x1000, 1), h.sealed(0x1000, 2)
	h.e.Do(func() {
		h.inbound(first)
		if v := h.inbound(second); v.Counter != "XfrmInStateExpired" {
			t.Errorf("%v %q", v.Kind, v.Counter)
		}
		h.k.Age(h.e.Now().Add(100*time.Second), false)
	})
	if diff := cmp.Diff([]int{0}, h.seqs(read(h.s), wire.MsgExpire)); diff != "" {
		t.Errorf("EXPIREs (-want +got):\n%s", diff)
	}
	if at, ok := h.e.Next(); ok {
		t.Errorf("something is still to come at %v", at)
	}
}

// TestDueWithRequest: where a clock has gone on and nobody has said so yet, what is due happens with the next request,
// behind its answer, also if that is an error.
func TestDueWithRequest(t *testing.T) {
	for _, tt := range []struct {
		name string
		spi  wire.SPI
		want []uint8 // type and errno of what is heard
	}{
		{"one that goes well", 0x1000, []uint8{uint8(wire.MsgGet), 0, uint8(wire.MsgExpire), 0}},
		{"one that fails", 0x2000, []uint8{uint8(wire.MsgGet), 3, uint8(wire.MsgExpire), 0}},
	} {
		now := time.Unix(1_700_000_000, 0)
		h := newHost(t, engine.Options{Clock: func() time.Time { return now }})
		h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
		h.must(h.sa(association{spi: 0x1000, hard: &wire.Lifetime{AddTime: 100}}))
		h.drain()
		now = now.Add(101 * time.Second)
		h.send(h.sa(association{typ: wire.MsgGet, spi: tt.spi}))
		var got []uint8
		for _, m := range read(h.s) {
			got = append(got, m[1], m[2])
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
