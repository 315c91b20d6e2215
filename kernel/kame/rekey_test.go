package kame_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestPacketsDoNotTakeTheControlLock holds it while packets go their ways, also those that make control work.
func TestPacketsDoNotTakeTheControlLock(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
		limit := &wire.Lifetime{Bytes: 1, UseTime: 1}
		h.must(h.sa(association{spi: 0x1000, soft: limit, hard: limit}))
		h.must(h.policy(there))
		finished := make(chan struct{})
		h.e.Do(func() {
			go func() {
				defer close(finished)
				for what, v := range map[string]packet.Verdict{
					"delivered": h.inbound(h.sealed(0x1000, 1)),
					"no SA":     h.inbound(h.sealed(0x1001, 1)),
					"no SA yet": h.outbound(h.datagram(there)),
				} {
					if want := what == "delivered"; (v.Kind == packet.Delivered) != want {
						t.Errorf("%s: %+v", what, v)
					}
				}
			}()
			select {
			case <-finished:
			case <-time.After(10 * time.Second):
				t.Error("a packet waits for the control lock")
			}
		})
		<-finished
		acquires := 0
		for _, m := range received(h.s) { // what the packets have asked for was done by whoever held the lock
			if hdr, _ := h.d().Header(m); hdr.Type == wire.MsgAcquire {
				acquires++
			}
		}
		if acquires != 1 {
			t.Errorf("%d ACQUIREs", acquires)
		}
		balanced(t, h.e)
	})
}

// TestRekeying changes SAs in every way while packets use them. An SA that is there is always found, and what a packet
// is protected with is always of one piece.
func TestRekeying(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 40
	}
	onBoth(t, func(t *testing.T, h *machine) {
		updates := h.open()
		h.must(h.sa(association{spi: 0x1000}))
		out := association{spi: 0x2000, src: here, dst: there, ports: [2]uint16{1111, 2222}}
		h.must(h.sa(out))
		h.must(h.policy(there))
		withKeys := h.says(h.sa(association{typ: wire.MsgUpdate, spi: 0x1000})) == "OK"
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range rounds {
				a, b := association{typ: wire.MsgUpdate, spi: 0x1000, noKeys: !withKeys}, out
				b.typ, b.noKeys = wire.MsgUpdate, !withKeys
				if i%2 == 0 {
					b.ports = [2]uint16{3333, 4444}
				}
				updates.Send(h.sa(a), superuser)
				updates.Send(h.sa(b), superuser)
				spare := wire.SPI(0x5000 + i)
				updates.Send(h.sa(association{spi: spare}), superuser)
				updates.Send(h.sa(association{typ: wire.MsgDelete, spi: spare}), superuser)
				received(updates)
				h.e.Status(1)
				h.e.Advance(h.e.Now().Add(300 * time.Millisecond))
			}
		})
		seen := map[string]bool{}
		for i := range 2 * rounds {
			if v := h.inbound(h.sealed(0x1000, uint64(i+1))); v.Kind != packet.Delivered {
				t.Fatalf("packet %d in: %v %q", i, v.Reason, v.Counter)
			}
			v := h.outbound(h.datagram(there))
			if v.Kind != packet.Transmitted || len(v.Inner) < 28 || v.Inner[9] != 17 {
				t.Fatalf("packet %d out: %v %q", i, v.Reason, v.Counter)
			}
			seen[fmt.Sprintf("%x", v.Inner[20:24])] = true
		}
		wg.Wait()
		for ports := range seen {
			if ports != "045708ae" && ports != "0d05115c" {
				t.Errorf("ports %s", ports)
			}
		}
		received(h.s)
		balanced(t, h.e)
	})
}
