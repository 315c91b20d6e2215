package illumos_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/wire"
)

// expires lists the SPIs of the EXPIREs that wait on a socket, and fails on other messages.
func (k *talk) expires() (spis []wire.SPI) {
	k.t.Helper()
	for _, m := range messages(k.s) {
		if h, err := d.Header(m); err != nil || h.Type != wire.MsgExpire {
			k.t.Fatalf("%s", d.Line(m))
		}
		v, _ := d.ParseSA(find(k.t, m, wire.ExtSA))
		spis = append(spis, v.SPI)
	}
	return spis
}

func (k *talk) addWith(spi wire.SPI, hard wire.Lifetime) {
	k.t.Helper()
	sa := change(espSA, func(v *wire.SA) { v.SPI = spi })
	k.must(message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"), sa, authExt, encryptExt,
		lifetime(wire.ExtLifetimeHard, hard)))
}

// An SA ends by time while a packet that has met its hard limit waits to say so: one EXPIRE.
func TestExpireByTimeAndByPacket(t *testing.T) {
	h := newHost(t, engine.Options{})
	k := &talk{t, h.e, openSocket(t, h.e)}
	k.addWith(0x1001, wire.Lifetime{Bytes: 10, AddTime: 100})
	pkt := h.sealed(0x1001, 1)
	h.e.Do(func() {
		k.inject(pkt)
		h.e.Kernel().(engine.Timed).Age(h.e.Now().Add(100*time.Second), true)
	})
	if diff := cmp.Diff([]wire.SPI{0x1001}, k.expires()); diff != "" {
		t.Errorf("EXPIREs (-want +got):\n%s", diff)
	}
}

// Two SAs are used for the first time before it is noticed: the limit that comes first is seen in its time, whichever
// packet came first.
func TestFirstUseOfTwo(t *testing.T) {
	for _, order := range [][2]wire.SPI{{0x1010, 0x1100}, {0x1100, 0x1010}} {
		h := newHost(t, engine.Options{})
		k := &talk{t, h.e, openSocket(t, h.e)}
		k.addWith(0x1010, wire.Lifetime{UseTime: 10})
		k.addWith(0x1100, wire.Lifetime{UseTime: 100})
		first, second := h.sealed(order[0], 1), h.sealed(order[1], 1)
		h.e.Do(func() {
			k.inject(first)
			k.inject(second)
		})
		h.e.Advance(h.e.Now().Add(20 * time.Second))
		if diff := cmp.Diff([]wire.SPI{0x1010}, k.expires()); diff != "" {
			t.Errorf("first %v: EXPIREs after 20 s (-want +got):\n%s", order[0], diff)
		}
		h.e.Advance(h.e.Now().Add(100 * time.Second))
		if diff := cmp.Diff([]wire.SPI{0x1100}, k.expires()); diff != "" {
			t.Errorf("first %v: EXPIREs after 120 s (-want +got):\n%s", order[0], diff)
		}
	}
}
