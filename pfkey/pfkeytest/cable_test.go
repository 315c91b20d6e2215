package pfkeytest_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/packetport"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// twoHosts are own and peer on a cable, with a policy that protects what they send to each other.
func twoHosts(t *testing.T, name string, options ...pfkeytest.HostOption) (a, b *pfkeytest.Host) {
	t.Helper()
	policy := "spdadd 0.0.0.0/0 %[1]s any -P out ipsec esp/transport//require;" +
		"spdadd %[1]s 0.0.0.0/0 any -P in ipsec esp/transport//require;"
	if name == "illumos" {
		policy = "{raddr %s} ipsec {encr_algs aes encr_auth_algs sha1}"
	} else if name == "openbsd" {
		policy = "flow esp from 0.0.0.0/0 to %s"
	}
	host := func(own, peer string) *pfkeytest.Host {
		return pfkeytest.New(t, append(options, pfkeytest.Kernel(name), pfkeytest.Addr(own), pfkeytest.Seed(own),
			pfkeytest.Policy(fmt.Sprintf(policy, peer)))...)
	}
	a, b = host("192.0.2.1", "192.0.2.2"), host("192.0.2.2", "192.0.2.1")
	pfkeytest.Cable(a, b)
	return a, b
}

// towards is an SA from a to b, whose SPI is b's choice; a has it already. seq is that of the ACQUIRE that asks a for
// it.
func towards(t *testing.T, a, b *pfkey.Client, seq wire.Seq) pfkey.SA {
	t.Helper()
	sa := inbound(a.Dialect(), 0)
	sa.Src, sa.Dst = sa.Dst, sa.Src
	spi, err := b.GetSPI(t.Context(), pfkey.GetSPIParams{Type: wire.SATypeESP, Src: sa.Src, Dst: sa.Dst})
	if err != nil {
		t.Fatal(err)
	}
	sa.SPI = spi
	if err := a.Add(t.Context(), sa, seq); err != nil {
		t.Fatal(err)
	}
	return sa
}

// The race between two hosts: one has its keys earlier than the other.
func TestCable(t *testing.T) {
	for _, name := range kernel.Names() {
		t.Run(name, func(t *testing.T) {
			a, b := twoHosts(t, name)
			ca, cb := a.Client(), b.Client()
			sa := towards(t, ca, cb, 0)
			plain := pfkeytest.UDP("192.0.2.1:1000", "192.0.2.2:2000", "hello")

			early := a.InjectOutbound(plain).Expect(packet.Transmitted).Arrival()
			if err := cb.Update(t.Context(), sa, 0); err != nil {
				t.Fatal(err)
			}
			if name == "illumos" {
				early.Expect(packet.Queued, packet.Delivered)
			} else {
				early.ExpectDropped(packet.LarvalDropped)
			}
			late := a.InjectOutbound(plain).Expect(packet.Transmitted).Arrival().Expect(packet.Delivered)
			if v, _ := late.Final(); !bytes.Equal(v.Inner, plain) {
				t.Errorf("delivered %x, want %x", v.Inner, plain)
			}
			if late.Arrival() != nil {
				t.Error("what was delivered arrives somewhere else")
			}
		})
	}
}

// A packet that waits for keys arrives when there are some; one that is dropped never does; what a program injects
// through the packet port arrives as well.
func TestCableLater(t *testing.T) {
	a, b := twoHosts(t, "illumos")
	ca, cb := a.Client(), b.Client()
	if _, err := ca.Register(t.Context(), wire.SATypeESP); err != nil {
		t.Fatal(err)
	}
	plain := pfkeytest.Ping("192.0.2.1", "192.0.2.2", 1)
	waiting := a.InjectOutbound(plain).Expect(packet.Held)
	if waiting.Arrival() != nil {
		t.Error("a packet arrives that has not been sent")
	}
	acquire, err := ca.Recv(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h, err := ca.Dialect().Header(acquire)
	if err != nil {
		t.Fatal(err)
	}
	sa := towards(t, ca, cb, h.Seq)
	if err := cb.Update(t.Context(), sa, 0); err != nil {
		t.Fatal(err)
	}
	if waiting.Arrival() == nil {
		t.Fatalf("%v, and it has not arrived", waiting)
	}
	waiting.Arrival().Expect(packet.Queued, packet.Delivered)

	address, err := pfkey.ParseAddress(a.Serve())
	if err != nil {
		t.Fatal(err)
	}
	port, err := packetport.Dial(t.Context(), packetport.Path(address.Path))
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	before := b.Engine().Ledger().Balance().Injected
	if _, err := port.Inject(t.Context(), plain, packetport.Outbound, ""); err != nil {
		t.Fatal(err)
	}
	if v, err := port.Recv(t.Context()); err != nil || v.Kind != packet.Transmitted {
		t.Fatalf("%v %v", v, err)
	}
	if n := b.Engine().Ledger().Balance().Injected - before; n != 1 {
		t.Errorf("%d packets arrived", n)
	}
}

// The clocks of both move, and what is due on one happens before what is due later on the other.
func TestCableClock(t *testing.T) {
	start := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, name := range kernel.Names() {
		t.Run(name, func(t *testing.T) {
			a, b := twoHosts(t, name, pfkeytest.Start(start))
			var order []string
			watch := func(label string, h *pfkeytest.Host, soft, hard uint64) {
				c := h.Client()
				sa := inbound(c.Dialect(), 0x1000)
				if label == "b" {
					sa.Src, sa.Dst = sa.Dst, sa.Src
				}
				sa.Soft, sa.Hard = &wire.Lifetime{AddTime: soft}, &wire.Lifetime{AddTime: hard}
				if err := c.Add(t.Context(), sa, 0); err != nil {
					t.Fatal(err)
				}
				cred := pfkey.Cred{PID: 1, Privileged: true}
				sock, errno := h.Open(cred)
				if errno != wire.OK {
					t.Fatal(errno)
				}
				t.Cleanup(sock.Close)
				d := c.Dialect()
				register := wire.Header{Version: wire.Version, Type: wire.MsgRegister, SAType: wire.SATypeESP, Seq: 1,
					PID: 1}
				if errno := sock.Send(d.Finish(d.AppendHeader(nil, register)), cred); errno != wire.OK {
					t.Fatal(errno)
				}
				for errno == wire.OK {
					_, _, errno = sock.Recv(make([]byte, 4096), 0)
				}
				if name == "netbsd" { // it tells of SAs that were used, and not of hard limits
					h.Inject(h.Seal(sa, pfkeytest.UDP(sa.Src.Addr.String()+":9", sa.Dst.Addr.String()+":9", "")))
				}
				sock.Notify(func() {
					buf := make([]byte, 4096)
					n, _, errno := sock.Recv(buf, 0)
					if errno == wire.OK && n > 1 && wire.MsgType(buf[1]) == wire.MsgExpire {
						order = append(order, fmt.Sprintf("%s at %v", label, h.Now().Sub(start).Round(time.Minute)))
					}
				})
			}
			watch("a", a, 600, 2400)
			watch("b", b, 1200, 1800)
			a.Advance(time.Hour)
			want := []string{"a at 10m0s", "b at 20m0s", "b at 30m0s", "a at 40m0s"}
			if name == "netbsd" {
				want = want[:2]
			}
			if diff := cmp.Diff(want, order); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			b.Advance(time.Hour)
			for _, h := range []*pfkeytest.Host{a, b} {
				if got := h.Now().Sub(start); got != 2*time.Hour {
					t.Errorf("a clock has moved by %v", got)
				}
			}
			b.Close() // unplugs
			a.Advance(time.Hour)
			if got := a.Now().Sub(b.Now()); got != time.Hour {
				t.Errorf("the closed host is %v behind", got)
			}
		})
	}
}

// What a host sends because its time has come arrives at a host whose clock shows the same.
func TestCableClocksAgree(t *testing.T) {
	a, b := twoHosts(t, "illumos")
	keepalives := func(from, to *pfkeytest.Host) *int {
		c := from.Client()
		d, sa := c.Dialect(), inbound(c.Dialect(), 0x1000)
		if from == a {
			sa.Src, sa.Dst = sa.Dst, sa.Src
		}
		outside := pfkey.Host(netip.MustParseAddr("198.51.100.1")) // what the NAT makes of us
		outside.Port, outside.Proto = 4500, 17
		sa.Flags, sa.Extra = wire.IllumosFlagXNattLoc, d.AppendAddress(nil, wire.IllumosExtXAddressNattLoc, outside)
		if err := c.Add(t.Context(), sa, 0); err != nil {
			t.Fatal(err)
		}
		arrived := new(int)
		t.Cleanup(to.Engine().Ledger().Watch(func(*packet.Packet, packet.Verdict) {
			*arrived++
			if !from.Now().Equal(to.Now()) {
				t.Errorf("a packet sent at %v arrives at %v", from.Now(), to.Now())
			}
		}))
		return arrived
	}
	first, second := keepalives(a, b), keepalives(b, a)
	a.Advance(5 * time.Minute)
	if *first < 5 || *second < 5 {
		t.Errorf("%d packets have arrived at one host, and %d at the other", *first, *second)
	}
}

// A host that is closed gets nothing more, and a host has one cable.
func TestCableUnplugged(t *testing.T) {
	r := &recorder{TB: t}
	a, b := pfkeytest.New(r, pfkeytest.Addr("192.0.2.1")), pfkeytest.New(t, pfkeytest.Addr("192.0.2.2"))
	c := pfkeytest.New(t)
	pfkeytest.Cable(a, a)
	pfkeytest.Cable(a, b)
	pfkeytest.Cable(a, c)
	const one = "a host can have one cable, to another host"
	if diff := cmp.Diff([]string{one, one}, r.failures); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	plain := pfkeytest.UDP("192.0.2.1:1", "192.0.2.2:2", "")
	a.InjectOutbound(plain).Expect(packet.Transmitted).Arrival().Expect(packet.Delivered)
	b.Close()
	if p := a.InjectOutbound(plain).Expect(packet.Transmitted); p.Arrival() != nil {
		t.Error("a packet arrives at a host that is closed")
	}
	pfkeytest.Cable(a, c)
	a.InjectOutbound(plain).Arrival().Expect(packet.Delivered)
}

// Hosts are closed once a packet that is on its way through their cable has arrived, both of them.
func TestCableCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *pfkeytest.Host
		closed := make(chan struct{}, 2)
		a := pfkeytest.New(t, pfkeytest.Addr("192.0.2.2"))
		b = pfkeytest.New(t, pfkeytest.Step(func(point string, _ *packet.Packet) {
			if point != "store" {
				return
			}
			for _, h := range []*pfkeytest.Host{a, b} {
				go func() {
					h.Close()
					closed <- struct{}{}
				}()
			}
			synctest.Wait() // until Close can do no more
			if n := len(closed); n > 0 {
				t.Errorf("%d hosts are closed, and a packet is on its way", n)
			}
		}))
		pfkeytest.Cable(a, b)
		client := b.Client()
		sa := inbound(client.Dialect(), larval(t, client))
		sent := a.InjectOutbound(b.Seal(sa, pfkeytest.Ping("192.0.2.2", "192.0.2.1", 1)))
		<-closed
		<-closed
		sent.Arrival().Expect(packet.Queued, packet.Dropped)
	})
}
