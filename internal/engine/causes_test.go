package engine_test

import (
	"maps"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/packet"
)

func TestCauses(t *testing.T) {
	const (
		noSA = iota
		checksum
		notIP
		dead
		never
	)
	c := engine.NewCauses([]engine.Cause{
		noSA:     {Counter: "InNoStates", Reason: packet.NoSA},
		checksum: {Counter: "InCsumErrors", Also: "InHdrErrors", Reason: packet.BadChecksum},
		notIP:    {Reason: packet.BadHeader},
		dead:     {Counter: "InNoStates", Reason: packet.BytesExpired},
		never:    {Counter: "InError", Reason: packet.BadICV},
	})
	var ledger packet.Ledger
	drop := func(i int) (end packet.Verdict) {
		p := &packet.Packet{Done: func(_ *packet.Packet, v packet.Verdict) { end = v }}
		ledger.Inject(p)
		c.Drop(p, i)
		return end
	}
	for i, want := range map[int]packet.Verdict{
		noSA:     {Kind: packet.Dropped, Reason: packet.NoSA, Counter: "InNoStates"},
		checksum: {Kind: packet.Dropped, Reason: packet.BadChecksum, Counter: "InCsumErrors"},
		notIP:    {Kind: packet.Dropped, Reason: packet.BadHeader},
		dead:     {Kind: packet.Dropped, Reason: packet.BytesExpired, Counter: "InNoStates"},
	} {
		if got := drop(i); got.Kind != want.Kind || got.Reason != want.Reason || got.Counter != want.Counter {
			t.Errorf("cause %d: %+v, want %+v", i, got, want)
		}
	}
	c.Count(noSA)
	counted := map[string]uint64{}
	for name, n := range c.Counters {
		counted[name] += n
	}
	if want := (map[string]uint64{"InNoStates": 3, "InCsumErrors": 1, "InHdrErrors": 1}); !maps.Equal(counted, want) {
		t.Errorf("counted %v, want %v", counted, want)
	}
}

// Packets of every lane are counted together.
func TestCounters(t *testing.T) {
	c := engine.NewCounters(2)
	var ledger packet.Ledger
	for range 100 {
		p := &packet.Packet{}
		ledger.Inject(p)
		c.Count(p, 1)
	}
	c.Add(1, 5)
	if c.Read(0) != 0 || c.Read(1) != 105 {
		t.Errorf("counted %d and %d, want 0 and 105", c.Read(0), c.Read(1))
	}
}
