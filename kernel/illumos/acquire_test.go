package illumos_test

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/illumos"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestArrivalAgainstAdd lets outbound packets look for an SA while key management answers the ACQUIRE of the first:
// none may be left waiting for an answer that has been given.
func TestArrivalAgainstAdd(t *testing.T) {
	h := newHost(t, engine.Options{})
	ctx := context.Background()
	k := h.e.Kernel().(*illumos.Kernel)
	h.must(k.AddPolicy(nil, []spd.Rule{{Actions: []spd.Action{{AH: spd.NotUsed, ESP: int(wire.EncAESCBC),
		ESPAuth: int(wire.AuthSHA1HMAC)}}}}))
	if _, err := h.client.Register(ctx, wire.SATypeESP); err != nil {
		t.Fatal(err)
	}
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	for i := range rounds {
		dst := netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)})
		pkt := append([]byte(nil), plain...)
		src := me.As4()
		copy(pkt[12:], src[:])
		copy(pkt[16:], dst.AsSlice())
		send := func(done func(*packet.Packet, packet.Verdict)) {
			h.e.Outbound(&packet.Packet{ID: packetIDs.Add(1), Data: pkt, Done: done}, "")
		}
		first := make(chan packet.Verdict, 4)
		send(func(_ *packet.Packet, v packet.Verdict) { first <- v })
		msg, err := h.client.Recv(ctx)
		h.must(err)
		hdr, err := h.client.Dialect().Header(msg)
		if err != nil || hdr.Type != wire.MsgAcquire {
			t.Fatalf("round %d: want an ACQUIRE, got %s (%v)", i, h.client.Dialect().Line(msg), err)
		}
		sa := h.sa(wire.SPI(0x5000 + i))
		sa.Src, sa.Dst = pfkey.Host(me), pfkey.Host(dst)
		var wg sync.WaitGroup
		start := make(chan struct{})
		for range 3 {
			wg.Go(func() {
				<-start
				send(nil)
			})
		}
		wg.Go(func() {
			<-start
			if err := h.client.Add(ctx, sa, hdr.Seq); err != nil {
				t.Error(err)
			}
		})
		close(start)
		wg.Wait()
		if v := <-first; v.Kind != packet.Held {
			t.Fatalf("round %d: first verdict %v, want held", i, v.Kind)
		}
		if v := <-first; v.Kind != packet.Transmitted {
			t.Fatalf("round %d: final verdict %v %v, want transmitted", i, v.Kind, v.Reason)
		}
		if b := h.e.Ledger().Balance(); b.Held != 0 || b.InFlight != 0 || b.Injected != b.Ended {
			t.Fatalf("round %d: ledger %+v", i, b)
		}
	}
}

// TestAcquireTimesOut: nobody answers, and the packets end at the first pass after the time for an answer.
func TestAcquireTimesOut(t *testing.T) {
	h := newHost(t, engine.Options{})
	k := h.e.Kernel().(*illumos.Kernel)
	h.must(k.AddPolicy(nil, []spd.Rule{{Actions: []spd.Action{{AH: spd.NotUsed, ESP: int(wire.EncAESCBC),
		ESPAuth: int(wire.AuthSHA1HMAC)}}}}))
	if _, err := h.client.Register(context.Background(), wire.SATypeESP); err != nil {
		t.Fatal(err)
	}
	verdicts := make(chan packet.Verdict, 16)
	for range 5 {
		pkt := append([]byte(nil), plain...)
		copy(pkt[12:], me.AsSlice())
		copy(pkt[16:], peer.AsSlice())
		h.e.Outbound(&packet.Packet{ID: packetIDs.Add(1), Data: pkt, Done: func(_ *packet.Packet, v packet.Verdict) {
			if v.Kind != packet.Held {
				verdicts <- v
			}
		}}, "")
	}
	if v := <-verdicts; v.Reason != packet.AcquireFull {
		t.Errorf("the fifth packet: oldest ended %v, want %v", v.Reason, packet.AcquireFull)
	}
	h.e.Advance(h.e.Now().Add(15 * time.Second))
	if len(verdicts) != 0 {
		t.Errorf("%d packets ended within 15 s", len(verdicts))
	}
	h.e.Advance(h.e.Now().Add(9 * time.Second))
	for range 4 {
		if v := <-verdicts; v.Reason != packet.AcquireGone || v.Counter != "sadb_acquire_timeout" {
			t.Errorf("ended %v (%s), want %v", v.Reason, v.Counter, packet.AcquireGone)
		}
	}
}

// When no program is registered a packet that needs keys does not wait, and its reason says why; the kernel counts it
// as the one that waited in vain.
func TestAcquireUnheard(t *testing.T) {
	h := newHost(t, engine.Options{})
	k := h.e.Kernel().(*illumos.Kernel)
	h.must(k.AddPolicy(nil, []spd.Rule{{Actions: []spd.Action{
		{AH: spd.NotUsed, ESP: int(wire.EncAESCBC), ESPAuth: int(wire.AuthSHA1HMAC)},
	}}}))
	pkt := append([]byte(nil), plain...)
	src := me.As4()
	copy(pkt[12:], src[:])
	copy(pkt[16:], peer.AsSlice())
	verdicts := make(chan packet.Verdict, 2)
	h.e.Outbound(&packet.Packet{ID: packetIDs.Add(1), Data: pkt, Done: func(_ *packet.Packet, v packet.Verdict) {
		if v.Kind != packet.Held {
			verdicts <- v
		}
	}}, "")
	if v := <-verdicts; v.Kind != packet.Dropped || v.Reason != packet.AcquireUnheard ||
		v.Counter != "sadb_acquire_timeout" {
		t.Errorf("ended %v %v (%s), want %v", v.Kind, v.Reason, v.Counter, packet.AcquireUnheard)
	}
}
