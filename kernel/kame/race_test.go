package kame_test

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestArrivalAgainstEveryEnding lets packets arrive on several threads while a LARVAL SA ends in one way or another.
// Those that come after a promotion are opened; before it they are dropped as packets for a LARVAL SA.
func TestArrivalAgainstEveryEnding(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	ctx := context.Background()
	for _, end := range []struct {
		name  string
		do    func(h *host, sa pfkey.SA) error
		opens bool // some may be
	}{
		{"UPDATE", func(h *host, sa pfkey.SA) error { return h.c.Update(ctx, sa, 0) }, true},
		{"DELETE", func(h *host, sa pfkey.SA) error { return h.c.Delete(ctx, sa.SAID) }, false},
		{"FLUSH", func(h *host, sa pfkey.SA) error { return h.c.Flush(ctx, wire.SATypeESP) }, false},
		{"expiry", func(h *host, sa pfkey.SA) error {
			h.e.Advance(h.e.Now().Add(40 * time.Second))
			return nil
		}, false},
	} {
		eachHeir(t, func(t *testing.T, h *host) {
			for i := range rounds {
				sa := esp(peer, me, wire.SPI(0x1000+i))
				spi, err := h.c.GetSPI(ctx, pfkey.GetSPIParams{Type: wire.SATypeESP, Src: sa.Src, Dst: sa.Dst,
					Min: 0x1000, Max: 0xffffff, Seq: pfkey.NoAcquire})
				if err != nil {
					t.Fatal(err)
				}
				sa.SPI = spi
				pkts := make([][]byte, 4)
				for j := range pkts {
					pkts[j] = h.sealed(sa, udp(t, peer, me, 10), uint64(j+1))
				}
				start := make(chan struct{})
				var wg sync.WaitGroup
				for _, pkt := range pkts {
					wg.Go(func() {
						<-start
						v := h.in(pkt)
						fine := v.Reason == packet.LarvalDropped || v.Reason == packet.NoSA ||
							end.opens && v.Kind == packet.Delivered
						if !fine {
							t.Errorf("%s, round %d: %s", end.name, i, fate(v))
						}
					})
				}
				wg.Go(func() {
					<-start
					if err := end.do(h, sa); err != nil {
						t.Errorf("%s: %v", end.name, err)
					}
				})
				close(start)
				wg.Wait()
				if end.opens {
					if v := h.in(h.sealed(sa, udp(t, peer, me, 10), 9)); v.Kind != packet.Delivered {
						t.Errorf("after %s: %s", end.name, fate(v))
					}
				}
			}
			h.atRest()
		})
	}
}

// TestEverythingAtOnce has packets both ways, requests of several sockets and time, all at the same time: ADD, UPDATE,
// DELETE, FLUSH, policies that come and go, limits that pass. The race detector looks on.
func TestEverythingAtOnce(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 40
	}
	for _, kernel := range heirs {
		t.Run(kernel, func(t *testing.T) {
			e, err := kernels.New(kernel, engine.Options{Addrs: []netip.Addr{me, me6}})
			if err != nil {
				t.Fatal(err)
			}
			h := &host{TB: t, kernel: kernel, e: e, c: client(t, e)}
			ctx := context.Background()
			h.policies("spdadd 192.0.2.1 192.0.2.2 udp -P out ipsec esp/transport//require;\n" +
				"spdadd 192.0.2.2 192.0.2.1 udp -P in ipsec esp/transport//use;")
			in, out := esp(peer, me, 0x1000), esp(me, peer, 0x1001)
			for _, sa := range []*pfkey.SA{&in, &out} {
				sa.Hard, sa.Soft = &wire.Lifetime{Bytes: 2000, AddTime: 30}, &wire.Lifetime{Bytes: 500, AddTime: 10}
			}
			arriving := make([][]byte, 64)
			for i := range arriving {
				arriving[i] = h.sealed(in, udp(t, peer, me, 40), uint64(i+1))
			}
			leaving := udp(t, me, peer, 40)
			var wg sync.WaitGroup
			run := func(f func(i int)) {
				wg.Go(func() {
					for i := range rounds {
						f(i)
					}
				})
			}
			for range 2 {
				run(func(i int) { h.in(arriving[i%len(arriving)]) })
				run(func(int) { h.out(leaving) })
			}
			requests := func(f func(c *pfkey.Client, i int)) {
				c := client(t, e)
				run(func(i int) { f(c, i) })
			}
			requests(func(c *pfkey.Client, i int) { // errors are as they come
				c.Add(ctx, in, 0)
				c.Add(ctx, out, 0)
				c.Update(ctx, out, 0)
				if i%3 == 0 {
					c.Delete(ctx, in.SAID)
				}
			})
			requests(func(c *pfkey.Client, i int) {
				if i%5 == 0 {
					c.Flush(ctx, wire.SATypeUnspec)
				}
				c.GetSPI(ctx, pfkey.GetSPIParams{Type: wire.SATypeESP, Src: in.Src, Dst: in.Dst, Min: 0x1000,
					Max: 0x1010})
			})
			requests(func(c *pfkey.Client, i int) {
				text := "spdupdate 192.0.2.1 192.0.2.2 udp -P out ipsec esp/transport//require;"
				if i%2 == 0 {
					text = "spdupdate 192.0.2.1 192.0.2.2 udp -P out ipsec esp/transport//use ah/transport//use;"
				}
				if err := kernels.LoadPolicy(e, strings.NewReader(text), "p"); err != nil {
					t.Error(err)
				}
			})
			run(func(int) { e.Advance(e.Now().Add(time.Second)) })
			wg.Wait()
			e.Close()
			h.atRest()
		})
	}
}
