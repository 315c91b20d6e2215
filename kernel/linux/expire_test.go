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
