package linux_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestPacketsDoNotTakeTheControlLock holds it while packets go their ways, also those that make control work.
func TestPacketsDoNotTakeTheControlLock(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.getSPI(0x1001))
	h.must(h.sa(association{spi: 0x2002}))
	h.must(h.sa(association{spi: 0x3003, hard: &wire.Lifetime{Allocations: 1}}))
	h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: transport(protoESP)}))
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: third, discard: true}))
	finished := make(chan struct{})
	h.e.Do(func() {
		go func() {
			defer close(finished)
			for _, each := range []struct {
				what string
				got  packet.Verdict
				want string // counter; empty: it goes on
			}{
				{"open", h.inbound(h.sealed(0x2002, 1)), ""},
				{"for a LARVAL SA", h.inbound(h.sealed(0x1001, 1)), "XfrmAcquireError"},
				{"for no SA", h.inbound(h.sealed(0x4004, 1)), "XfrmInNoStates"},
				{"within the limit", h.inbound(h.sealed(0x3003, 1)), ""},
				{"beyond the limit", h.inbound(h.sealed(0x3003, 2)), "XfrmInStateExpired"},
				{"no SA yet", h.outbound(datagram(me, peer)), "XfrmOutNoStates"},
				{"discarded", h.outbound(datagram(me, third)), "XfrmOutPolBlock"},
			} {
				if each.got.Counter != each.want {
					t.Errorf("%s: %v %q, want %q", each.what, each.got.Kind, each.got.Counter, each.want)
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
	// What the packets have asked for has been done by whoever held the lock.
	var types []wire.MsgType
	for _, m := range read(h.s) {
		types = append(types, wire.MsgType(m[1]))
	}
	if len(types) != 2 || types[0] != wire.MsgExpire || types[1] != wire.MsgAcquire {
		t.Errorf("messages %v, want EXPIRE and ACQUIRE", types)
	}
	atRest(t, h.e)
}

// atRest checks that no packet has gone astray: this kernel keeps none.
func atRest(t testing.TB, e *engine.Engine) {
	t.Helper()
	if b := e.Ledger().Balance(); b.InFlight != 0 || b.Held != 0 || b.Injected != b.Ended {
		t.Errorf("ledger at rest: %d injected, %d ended, %d held, %d in flight", b.Injected, b.Ended, b.Held,
			b.InFlight)
	}
}

// TestArrivalAgainstEveryEnding lets packets arrive on several threads while a LARVAL SA ends in one way or another.
// Those that come after a promotion are opened; before it they are dropped as packets for a LARVAL SA; never does one
// find nothing while the SA is there.
func TestArrivalAgainstEveryEnding(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	for _, end := range []struct {
		name string
		do   func(h *host, spi wire.SPI)
		may  map[string]bool // counters; "" for those that are delivered
	}{
		{"UPDATE", func(h *host, spi wire.SPI) { h.send(h.sa(association{typ: wire.MsgUpdate, spi: spi})) },
			map[string]bool{"": true, "XfrmAcquireError": true, "XfrmInStateInvalid": true}},
		{"ADD of its key", func(h *host, spi wire.SPI) { h.send(h.sa(association{spi: spi})) },
			map[string]bool{"XfrmAcquireError": true}},
		{"DELETE", func(h *host, spi wire.SPI) { h.send(h.sa(association{typ: wire.MsgDelete, spi: spi})) },
			map[string]bool{"XfrmAcquireError": true, "XfrmInStateInvalid": true, "XfrmInNoStates": true}},
		{"FLUSH", func(h *host, _ wire.SPI) { h.send(h.bare(wire.MsgFlush, 0)) },
			map[string]bool{"XfrmAcquireError": true, "XfrmInStateInvalid": true, "XfrmInNoStates": true}},
		{"expiry", func(h *host, _ wire.SPI) { h.e.Advance(h.e.Now().Add(40 * time.Second)) },
			map[string]bool{"XfrmAcquireError": true, "XfrmInStateInvalid": true, "XfrmInNoStates": true}},
	} {
		t.Run(end.name, func(t *testing.T) {
			h := newHost(t, engine.Options{})
			for i := range rounds {
				spi := wire.SPI(0x1000 + i)
				h.must(h.getSPI(spi))
				pkts := make([][]byte, 4)
				for j := range pkts {
					pkts[j] = h.sealed(spi, uint32(j+1))
				}
				start := make(chan struct{})
				var wg sync.WaitGroup
				for _, pkt := range pkts {
					wg.Go(func() {
						<-start
						if v := h.inbound(pkt); !end.may[v.Counter] {
							t.Errorf("round %d: %v %q", i, v.Kind, v.Counter)
						}
					})
				}
				wg.Go(func() {
					<-start
					end.do(h, spi)
				})
				close(start)
				wg.Wait()
				h.drain()
			}
			atRest(t, h.e)
		})
	}
}

// TestEverythingAtOnce has packets both ways, requests of several sockets and time, all at the same time.
func TestEverythingAtOnce(t *testing.T) {
	h := newHost(t, engine.Options{})
	rounds := 400
	if testing.Short() {
		rounds = 50
	}
	var wg sync.WaitGroup
	run := func(f func(i int)) {
		wg.Go(func() {
			for i := range rounds {
				f(i)
			}
		})
	}
	spi := func(i int) wire.SPI { return wire.SPI(0x1000 + i%8) }
	socket := func(msgs ...func(i int) []byte) {
		s := h.open()
		run(func(i int) {
			for _, m := range msgs {
				s.Send(m(i), privileged)
			}
			read(s)
		})
	}
	// A fuller SA and one that a packet uses up; both addresses, so that packets out and in use the same database.
	add := func(typ wire.MsgType) func(int) []byte {
		return func(i int) []byte {
			return h.sa(association{typ: typ, spi: spi(i), src: peer, dst: me, natt: uint8(i % 2 * 2), sport: 4500,
				dport: 4500,
				soft:  &wire.Lifetime{Allocations: 2, AddTime: 1}, hard: &wire.Lifetime{Allocations: 4, AddTime: 2}})
		}
	}
	socket(func(i int) []byte { return h.getSPI(spi(i)) }, add(wire.MsgUpdate))
	socket(add(wire.MsgAdd), add(wire.MsgDelete), func(int) []byte { return h.bare(wire.MsgDump, 0) })
	socket(func(i int) []byte { return h.bare(wire.MsgRegister, wire.SATypeESP) },
		func(i int) []byte {
			return h.sa(association{spi: spi(i) + 0x1000, src: me, dst: peer, hard: &wire.Lifetime{Allocations: 3}})
		},
		func(i int) []byte {
			typ := wire.KAMEMsgXSPDUpdate
			if i%5 == 4 {
				typ = wire.KAMEMsgXSPDDelete
			}
			return h.policy(typ, policy{out: true, src: me, dst: peer, req: transport(protoESP)})
		},
		func(int) []byte { return h.bare(wire.KAMEMsgXSPDDump, 0) })
	socket(func(i int) []byte {
		if i%20 == 19 {
			return h.bare(wire.MsgFlush, 0)
		}
		return h.bare(wire.MsgXPromisc, h.d().SAType(uint8(i%2)))
	})
	run(func(i int) { h.inbound(h.sealed(spi(i), uint32(i))) })
	run(func(i int) { h.outbound(datagram(me, peer)) })
	run(func(int) { h.e.Advance(h.e.Now().Add(100 * time.Millisecond)) })
	run(func(int) { h.e.Status(3) })
	wg.Wait()
	atRest(t, h.e)
	h.send(h.bare(wire.MsgFlush, 0))
	h.drain()
	if st := h.e.Status(0); st.SACount != 0 || len(st.Acquires) != 0 {
		t.Errorf("after FLUSH there are %d SAs and %d acquires", st.SACount, len(st.Acquires))
	}
}

// TestPortsChangeAtOnce: whatever happens meanwhile, an SA that UPDATE gives new ports uses the old ones or the new
// ones.
func TestPortsChangeAtOnce(t *testing.T) {
	h := newHost(t, engine.Options{})
	a := association{spi: 0x1000, src: me, dst: peer, natt: wire.KAMENATTESP, sport: 1111, dport: 2222}
	h.must(h.sa(a))
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: transport(protoESP)}))
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 100 {
			b := a
			b.typ = wire.MsgUpdate
			if i%2 == 0 {
				b.sport, b.dport = 3333, 4444
			}
			h.send(h.sa(b))
		}
	})
	seen := map[string]bool{}
	for range 200 {
		v := h.outbound(datagram(me, peer))
		if v.Kind != packet.Transmitted || len(v.Inner) < 28 || v.Inner[9] != 17 {
			t.Fatalf("%v %q", v.Kind, v.Counter)
		}
		seen[fmt.Sprintf("%x", v.Inner[20:24])] = true
	}
	wg.Wait()
	for ports := range seen {
		if ports != "045708ae" && ports != "0d05115c" {
			t.Errorf("ports %s", ports)
		}
	}
}
