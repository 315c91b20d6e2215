package kernel_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Lifetimes end by the clock, whichever way somebody has set it meanwhile.
func TestExpiryFollowsTheClock(t *testing.T) {
	const life, late = 20 * time.Second, 30 * time.Second // illumos looks every 8 s
	for _, name := range []string{"illumos", "linux"} {
		t.Run(name, func(t *testing.T) {
			now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
			h := newClocked(t, name, func() time.Time { return now })
			run := func(d time.Duration) {
				for end := now.Add(d); now.Before(end); now = now.Add(time.Second) {
					h.e.Advance(now)
				}
			}
			for i, step := range []struct {
				what string
				by   time.Duration
			}{
				{"as it was", 0},
				{"a year ahead", 365 * 24 * time.Hour},
				{"set right", -365 * 24 * time.Hour},
				{"before the engine's start", -24 * time.Hour},
				{"a second back", -time.Second},
			} {
				now = now.Add(step.by)
				h.add(wire.SPI(0x1001+i), life)
				run(life - time.Second)
				if n := h.expires(); n != 0 {
					t.Errorf("%s: %d EXPIREs before the time", step.what, n)
				}
				run(late)
				if n := h.expires(); n != 1 {
					t.Errorf("%s: %d EXPIREs, want 1", step.what, n)
				}
			}
			// A step forward over the end of a lifetime ends it.
			h.add(0x2001, time.Hour)
			now = now.Add(24 * time.Hour)
			run(late)
			if n := h.expires(); n != 1 {
				t.Errorf("over the end: %d EXPIREs, want 1", n)
			}
			if n := h.e.Status(0).SACount; n != 0 {
				t.Errorf("%d SAs are left", n)
			}
		})
	}
}

// clocked is an engine on a clock, and a program that listens.
type clocked struct {
	t *testing.T
	e *kernel.Engine
	s pfkey.Socket
}

func newClocked(t *testing.T, name string, clock func() time.Time) *clocked {
	t.Helper()
	e, err := kernel.New(name, kernel.Options{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	s, errno := e.Open(privileged, 3, 2)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	d := e.Dialect()
	register := d.Finish(d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgRegister, SAType: wire.SATypeESP,
		Seq: 1, PID: 1}))
	if errno := s.Send(register, privileged); errno != wire.OK {
		t.Fatal(errno)
	}
	return &clocked{t, e, s}
}

// add adds an inbound SA that has nothing but a hard limit, and the soft one that Linux wants with it.
func (c *clocked) add(spi wire.SPI, life time.Duration) {
	c.t.Helper()
	d := c.e.Dialect()
	b := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAdd, SAType: wire.SATypeESP, Seq: 1, PID: 1})
	b = d.AppendSA(b, wire.SA{SPI: spi, State: wire.StateMature, Auth: 3, Encrypt: 12})
	limit := wire.Lifetime{AddTime: uint64(life / time.Second)}
	b = d.AppendLifetime(b, wire.ExtLifetimeHard, limit)
	if c.e.Status(1).Kernel == "linux" {
		b = d.AppendLifetime(b, wire.ExtLifetimeSoft, limit)
	}
	b = d.AppendAddress(b, wire.ExtAddressSrc, wire.Address{PrefixLen: 32, Addr: netip.MustParseAddr("192.0.2.2")})
	b = d.AppendAddress(b, wire.ExtAddressDst, wire.Address{PrefixLen: 32, Addr: netip.MustParseAddr("192.0.2.1")})
	b = d.AppendKey(b, wire.ExtKeyAuth, wire.Key{Bits: 160, Data: bytes.Repeat([]byte("k"), 20)})
	b = d.AppendKey(b, wire.ExtKeyEncrypt, wire.Key{Bits: 128, Data: []byte("0123456789abcdef")})
	if errno := c.s.Send(d.Finish(b), privileged); errno != wire.OK {
		c.t.Fatal(errno)
	}
	if added := c.read()[wire.MsgAdd]; added != 1 {
		c.t.Fatal("the SA was not added")
	}
}

// expires is how many EXPIREs of a hard limit there were since it was last asked.
func (c *clocked) expires() int { return c.read()[wire.MsgExpire] }

// read counts what the program has been told without an errno.
func (c *clocked) read() map[wire.MsgType]int {
	n := map[wire.MsgType]int{}
	buf := make([]byte, 4096)
	for {
		size, _, errno := c.s.Recv(buf, 0)
		if errno != wire.OK {
			return n
		}
		if h, err := c.e.Dialect().Header(buf[:size]); err == nil && h.Errno == 0 {
			n[h.Type]++
		}
	}
}
