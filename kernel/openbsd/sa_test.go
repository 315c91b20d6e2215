package openbsd_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// types are the types of messages, in their order.
func (h *machine) types(msgs [][]byte) (names []string) {
	for _, m := range msgs {
		names = append(names, h.d.MsgName(h.d.MsgType(m[1])))
	}
	return names
}

// TestProcessID: a message with another number than its sender's process has is refused, and nobody hears of it.
func TestProcessID(t *testing.T) {
	h := boot(t)
	other := h.open()
	flush := h.bare(wire.MsgFlush, wire.SATypeESP)
	if errno := h.s.Send(flush, superuser); errno != wire.OK || len(takeAll(other)) != 1 {
		t.Fatalf("its own: %v", errno)
	}
	stranger := superuser
	stranger.PID++
	if errno := h.s.Send(flush, stranger); errno != wire.EINVAL || len(takeAll(other)) != 0 {
		t.Errorf("that of another process: %v", errno)
	}
}

// TestSASharesAName: an UPDATE may move an SA onto the name of another. The one that was moved is found then, and the
// other again when it has gone, by whichever way.
func TestSASharesAName(t *testing.T) {
	third := netip.MustParseAddr("192.0.2.3")
	proxy := func(h *machine) []byte {
		return h.d.AppendAddress(nil, wire.ExtAddressProxy, wire.Address{Addr: here})
	}
	sources := func(h *machine, dst netip.Addr) string {
		msg := h.about(wire.MsgGet, association{spi: 0x1000, dst: dst})
		if got := h.says(msg); got != "OK" {
			return got
		}
		a, err := h.d.ParseAddress(h.find(h.must(msg), wire.ExtAddressSrc))
		if err != nil {
			t.Fatal(err)
		}
		return a.Addr.String()
	}
	setUp := func(t *testing.T) *machine {
		h := boot(t)
		h.must(h.add(association{spi: 0x1000, src: there}))
		h.must(h.add(association{spi: 0x1000, src: third, dst: third, hard: &wire.Lifetime{AddTime: 10}}))
		h.must(h.about(wire.MsgUpdate, association{spi: 0x1000, src: third, dst: third, noKeys: true, more: proxy(h)}))
		if old, now := sources(h, third), sources(h, here); old != "ESRCH" || now != third.String() {
			t.Fatalf("after the UPDATE: %s and %s", old, now)
		}
		return h
	}
	remove := func(h *machine) { h.must(h.about(wire.MsgDelete, association{spi: 0x1000})) }
	t.Run("deleted", func(t *testing.T) {
		h := setUp(t)
		remove(h)
		if got := sources(h, here); got != there.String() {
			t.Errorf("the other: %s", got)
		}
	})
	t.Run("expired", func(t *testing.T) {
		h := setUp(t)
		h.later(11 * time.Second)
		if got := sources(h, here); got != there.String() {
			t.Errorf("the other: %s", got)
		}
	})
	t.Run("the hidden one goes first", func(t *testing.T) {
		h := boot(t)
		h.must(h.add(association{spi: 0x1000, src: there, hard: &wire.Lifetime{AddTime: 10}}))
		h.must(h.add(association{spi: 0x1000, src: third, dst: third}))
		h.must(h.about(wire.MsgUpdate, association{spi: 0x1000, src: third, dst: third, noKeys: true, more: proxy(h)}))
		h.later(11 * time.Second)
		if got := sources(h, here); got != third.String() {
			t.Errorf("the other: %s", got)
		}
		remove(h)
		if got := sources(h, here); got != "ESRCH" {
			t.Errorf("both are gone: %s", got)
		}
		if n := h.e.Status(0).SACount; n != 0 {
			t.Errorf("%d SAs are left", n)
		}
	})
	t.Run("moved away again", func(t *testing.T) {
		h := setUp(t)
		h.must(h.about(wire.MsgUpdate, association{spi: 0x1000, src: third, noKeys: true,
			more: h.d.AppendAddress(nil, wire.ExtAddressProxy, wire.Address{Addr: third})}))
		if moved, left := sources(h, third), sources(h, here); moved != third.String() || left != there.String() {
			t.Errorf("%s and %s", moved, left)
		}
	})
	t.Run("flushed", func(t *testing.T) {
		h := setUp(t)
		h.must(h.bare(wire.MsgFlush, wire.SATypeESP))
		if got := sources(h, here); got != "ESRCH" || h.e.Status(0).SACount != 0 {
			t.Errorf("%s, %d SAs", got, h.e.Status(0).SACount)
		}
	})
}

// TestUpdateBesidePackets: a packet beside an UPDATE finds the SA as it was or as it is, never none, whether it comes
// in or goes out.
func TestUpdateBesidePackets(t *testing.T) {
	rounds := 2000
	if testing.Short() {
		rounds = 200
	}
	h := boot(t)
	h.must(h.add(association{spi: 0x1000}))
	h.must(h.add(association{spi: 0x1001, src: here, dst: there}))
	h.must(h.requireESP(here, there))
	in, out := h.sealed(0x1000, 1), datagram(t, here, there)
	update := h.about(wire.MsgUpdate, association{spi: 0x1000, noKeys: true})
	updateOut := h.about(wire.MsgUpdate, association{spi: 0x1001, src: here, dst: there, noKeys: true})
	var packets sync.WaitGroup
	stop := make(chan struct{})
	packets.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if v := h.in(in); v.Kind != packet.Delivered {
				t.Errorf("in: %s", fateOf(v))
				return
			}
			if v := h.out(out); v.Kind != packet.Transmitted {
				t.Errorf("out: %s", fateOf(v))
				return
			}
		}
	})
	for range rounds {
		h.must(update)
		h.must(updateOut)
	}
	close(stop)
	packets.Wait()
}

// requireESP is an X_ADDFLOW that has packets between two addresses protected.
func (h *machine) requireESP(src, dst netip.Addr) []byte {
	b := h.d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.OpenBSDMsgXAddFlow, SAType: wire.SATypeESP,
		PID: uint32(superuser.PID)})
	b = h.d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Addr: dst})
	return h.d.Finish(append(b, h.selector(wire.OpenBSDFlowRequire, src, dst)...))
}

// selector is the extensions of a flow out between two addresses.
func (h *machine) selector(kind wire.FlowType, src, dst netip.Addr) []byte {
	whole := netip.MustParseAddr("255.255.255.255")
	if src.Is6() {
		whole = netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
	}
	b := h.d.AppendFlowProtocol(nil, wire.OpenBSDExtXFlowType, wire.FlowProtocol{Value: kind, Direction: 2})
	b = h.d.AppendFlowProtocol(b, wire.OpenBSDExtXProtocol, wire.FlowProtocol{})
	b = h.d.AppendAddress(b, wire.OpenBSDExtXSrcFlow, wire.Address{Addr: src})
	b = h.d.AppendAddress(b, wire.OpenBSDExtXSrcMask, wire.Address{Addr: whole})
	b = h.d.AppendAddress(b, wire.OpenBSDExtXDstFlow, wire.Address{Addr: dst})
	return h.d.AppendAddress(b, wire.OpenBSDExtXDstMask, wire.Address{Addr: whole})
}

// TestKeysThatProtectNothing: SAs whose algorithms the original takes, and that nothing here opens, drop what meets
// them.
func TestKeysThatProtectNothing(t *testing.T) {
	for name, c := range map[string]struct {
		sa        wire.SA
		auth, enc int // bytes of the keys
	}{
		"GMAC beside AES-CBC": {wire.SA{Auth: wire.AuthAES128GMAC, Encrypt: wire.EncAESCBC}, 20, 16},
		"CAST-128, 40 bits":   {wire.SA{Encrypt: wire.EncCAST128CBC}, 0, 5},
	} {
		t.Run(name, func(t *testing.T) {
			h := boot(t)
			key := bytes.Repeat([]byte{7}, 20)
			more := h.d.AppendKey(nil, wire.ExtKeyEncrypt, wire.Key{Bits: uint16(8 * c.enc), Data: key[:c.enc]})
			if c.auth > 0 {
				more = h.d.AppendKey(more, wire.ExtKeyAuth, wire.Key{Bits: uint16(8 * c.auth), Data: key[:c.auth]})
			}
			h.must(h.add(association{spi: 0x1000, sa: &c.sa, noKeys: true, more: more}))
			h.must(h.add(association{spi: 0x1001, src: here, dst: there, sa: &c.sa, noKeys: true, more: more}))
			h.must(h.requireESP(here, there))
			if got := h.in(h.sealed(0x1000, 1)); got.Reason != packet.CryptoFailed {
				t.Errorf("in: %s", fateOf(got))
			}
			if got := h.out(datagram(t, here, there)); got.Reason != packet.CryptoFailed {
				t.Errorf("out: %s", fateOf(got))
			}
		})
	}
}

// TestFlowWithoutFamily: addresses of no family, which only messages about TCP signatures may have, make no flow,
// whatever length they say that they have.
func TestFlowWithoutFamily(t *testing.T) {
	h := boot(t)
	msg := h.requireESP(here, there)
	msg[3] = 8 // TCP signatures
	for _, x := range []wire.ExtType{wire.OpenBSDExtXSrcFlow, wire.OpenBSDExtXSrcMask, wire.OpenBSDExtXDstFlow,
		wire.OpenBSDExtXDstMask} {
		raw := h.find(msg, x)
		raw[8], raw[9] = 255, 0
	}
	if got := h.says(msg); got != "send: EINVAL" {
		t.Error(got)
	}
}

// TestSPIs: how an SPI is chosen. The largest of a range is given only if there is no other, the first 255 never, and
// what is in use never; tries end.
func TestSPIs(t *testing.T) {
	h := boot(t)
	for _, c := range []struct {
		least, most wire.SPI
		want        string
	}{
		{0x1000, 0x1000, "OK"},
		{0x1000, 0x1000, "EEXIST"},
		{0x2000, 0x2001, "OK"},
		{0x2000, 0x2001, "EEXIST"}, // the largest is free
		{0, 255, "send: EINVAL"},
		{0, 256, "OK"}, // 256 alone
		{1, 256, "EEXIST"},
		{0x3001, 0x3000, "send: EINVAL"},
	} {
		if got := h.says(h.getSPI(wire.SATypeESP, c.least, c.most)); got != c.want {
			t.Errorf("%#x to %#x: %s, want %s", c.least, c.most, got, c.want)
		}
	}
	given := map[wire.SPI]bool{}
	for range 60 {
		msg := h.must(h.getSPI(wire.SATypeAH, 0x10000, 0x100ff))
		if spi := h.spi(msg); spi < 0x10000 || spi >= 0x100ff || given[spi] {
			t.Errorf("given %#x", spi)
		} else {
			given[spi] = true
		}
	}
}

// TestLarvalLife: a LARVAL SA ends without a word, after as long as the knob says; 0 is for ever.
func TestLarvalLife(t *testing.T) {
	h := boot(t)
	count := func() int { return h.e.Status(0).SACount }
	h.must(h.getSPI(wire.SATypeESP, 0x1000, 0x1000))
	h.set("net.inet.ip.ipsec-invalid-life", 5)
	h.must(h.getSPI(wire.SATypeESP, 0x1001, 0x1001))
	h.set("net.inet.ip.ipsec-invalid-life", 0)
	h.must(h.getSPI(wire.SATypeESP, 0x1002, 0x1002))
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{5 * time.Second, 3}, {10 * time.Millisecond, 2}, {55 * time.Second, 1}, {1000 * time.Hour, 1}} {
		if h.later(c.after); count() != c.want {
			t.Errorf("%v later: %d SAs, want %d", c.after, count(), c.want)
		}
	}
	if got := takeAll(h.s); len(got) != 0 {
		t.Errorf("told of it: %v", h.types(got))
	}
	if _, ok := h.e.Next(); ok {
		t.Error("a timer is left")
	}
	h.must(h.about(wire.MsgUpdate, association{spi: 0x1002}))
	if _, ok := h.e.Next(); ok {
		t.Error("an SA without limits has a timer")
	}
}

// TestLimits: which limits end an SA, and which are told of.
func TestLimits(t *testing.T) {
	time10 := wire.Lifetime{AddTime: 10}
	for name, c := range map[string]struct {
		hard, soft *wire.Lifetime
		use        bool     // a packet comes at first
		want       []string // what is told at which second
	}{
		"none":         {},
		"hard by time": {hard: &time10, want: []string{"10 EXPIRE"}},
		"soft before hard": {hard: &time10, soft: &wire.Lifetime{AddTime: 4},
			want: []string{"4 EXPIRE", "10 EXPIRE"}},
		"soft with hard":        {hard: &time10, soft: &time10, want: []string{"10 EXPIRE"}},
		"soft alone":            {soft: &time10, want: []string{"10 EXPIRE"}},
		"first use, never used": {hard: &wire.Lifetime{UseTime: 3}, soft: &wire.Lifetime{UseTime: 2}},
		"first use, soft":       {soft: &wire.Lifetime{UseTime: 3}, use: true, want: []string{"3 EXPIRE"}},
		"first use, hard alone": {hard: &wire.Lifetime{UseTime: 3}, use: true},
		"first use, hard while soft": {hard: &wire.Lifetime{UseTime: 3}, soft: &wire.Lifetime{UseTime: 5}, use: true,
			want: []string{"3 EXPIRE"}},
		"first use, hard after soft": {hard: &wire.Lifetime{UseTime: 5}, soft: &wire.Lifetime{UseTime: 3}, use: true,
			want: []string{"3 EXPIRE"}},
		"allocations": {hard: &wire.Lifetime{Allocations: 1}, soft: &wire.Lifetime{Allocations: 1},
			use: true},
		"bytes, hard": {hard: &wire.Lifetime{Bytes: 1}, use: true, want: []string{"0 EXPIRE"}},
		"bytes, soft": {soft: &wire.Lifetime{Bytes: 1}, use: true, want: []string{"0 EXPIRE"}},
		"bytes, that are not reached": {hard: &wire.Lifetime{Bytes: 1000}, soft: &wire.Lifetime{Bytes: 500},
			use: true},
		"seconds of which 32 bits count": {hard: &wire.Lifetime{AddTime: 1<<32 | 10}, want: []string{"10 EXPIRE"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := boot(t)
			h.must(h.add(association{spi: 0x1000, hard: c.hard, soft: c.soft}))
			if c.use {
				h.in(h.sealed(0x1000, 1))
			}
			var got []string
			start := h.e.Now()
			for {
				for _, name := range h.types(takeAll(h.s)) {
					got = append(got, fmt.Sprintf("%d %s", int(h.e.Now().Sub(start).Seconds()), name))
				}
				at, ok := h.e.Next()
				if !ok {
					break
				}
				h.e.Advance(at)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestUpdateOfLimits: an UPDATE has the timers start anew, keeps the limits that it does not name, and removes those
// that it says are 0.
func TestUpdateOfLimits(t *testing.T) {
	h := boot(t)
	h.must(h.add(association{spi: 0x1000, hard: &wire.Lifetime{AddTime: 10}, soft: &wire.Lifetime{AddTime: 5}}))
	h.later(4 * time.Second)
	h.must(h.about(wire.MsgUpdate, association{spi: 0x1000, noKeys: true, soft: &wire.Lifetime{}}))
	h.later(9 * time.Second)
	if got := takeAll(h.s); len(got) != 0 {
		t.Errorf("9 s after the UPDATE: %v", h.types(got))
	}
	h.later(2 * time.Second)
	got := takeAll(h.s)
	if len(got) != 1 || h.find(got[0], wire.ExtLifetimeHard) == nil || h.e.Status(0).SACount != 0 {
		t.Errorf("11 s after the UPDATE: %v", h.types(got))
	}
}

// TestSignOfTime: limits by time that the original panics of are refused.
func TestSignOfTime(t *testing.T) {
	h := boot(t)
	bad := &wire.Lifetime{AddTime: 1 << 31}
	for name, a := range map[string]association{"hard": {spi: 0x1000, hard: bad}, "soft": {spi: 0x1000, soft: bad}} {
		if got := h.says(h.add(a)); got != "send: EINVAL" {
			t.Errorf("%s: %s", name, got)
		}
	}
	h.must(h.add(association{spi: 0x1000}))
	update := h.about(wire.MsgUpdate, association{spi: 0x1000, noKeys: true, hard: bad})
	if got := h.says(update); got != "send: EINVAL" {
		t.Errorf("UPDATE: %s", got)
	}
}

// TestIdentities: they are shown as they came in an ADD, and in an UPDATE that gives keys; without a type, or one of
// them alone, there are none.
func TestIdentities(t *testing.T) {
	h := boot(t)
	names := func(src, dst wire.Identity) []byte {
		b := h.d.AppendIdentity(nil, wire.ExtIdentitySrc, src)
		return h.d.AppendIdentity(b, wire.ExtIdentityDst, dst)
	}
	src := wire.Identity{Type: wire.IdentFQDN, Name: "src.example"}
	dst := wire.Identity{Type: wire.IdentUserFQDN, Name: "d@x"}
	both := names(src, dst)
	h.must(h.getSPI(wire.SATypeESP, 0x1001, 0x1001))
	h.must(h.add(association{spi: 0x1000, more: both}))
	h.must(h.about(wire.MsgUpdate, association{spi: 0x1001, more: both}))
	h.must(h.add(association{spi: 0x1002, more: names(src, wire.Identity{})}))
	h.must(h.add(association{spi: 0x1003, more: h.d.AppendIdentity(nil, wire.ExtIdentitySrc, src)}))
	for spi, want := range map[wire.SPI][]byte{0x1000: both, 0x1001: both, 0x1002: nil, 0x1003: nil} {
		got := h.must(h.about(wire.MsgGet, association{spi: spi}))
		have := slices.Concat(h.find(got, wire.ExtIdentitySrc), h.find(got, wire.ExtIdentityDst))
		if !bytes.Equal(have, want) {
			t.Errorf("SPI %#x: %x, want %x", spi, have, want)
		}
	}
	again := h.about(wire.MsgUpdate, association{spi: 0x1000, noKeys: true, more: both})
	if got := h.says(again); got != "send: EINVAL" {
		t.Errorf("an UPDATE of one that has keys: %s", got)
	}
}

// TestGroups: a link goes with either of its SAs, and an SA has one on each side.
func TestGroups(t *testing.T) {
	link := func(h *machine, first, second wire.SPI) []byte {
		b := h.d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.OpenBSDMsgXGrpSPIs,
			SAType: wire.SATypeESP, PID: uint32(superuser.PID)})
		b = h.d.AppendSA(b, wire.SA{SPI: first, State: wire.StateMature})
		b = h.d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Addr: here})
		b = h.d.AppendSecondSA(b, wire.SA{SPI: second, State: wire.StateMature})
		b = h.d.AppendAddress(b, wire.OpenBSDExtXDst2, wire.Address{Addr: here})
		return h.d.Finish(h.d.AppendFlowProtocol(b, wire.OpenBSDExtXSAType2, wire.FlowProtocol{Value: 2}))
	}
	// links are the SPIs that a DUMP shows behind each SA.
	links := func(h *machine) map[wire.SPI]wire.SPI {
		got := map[wire.SPI]wire.SPI{}
		h.s.Send(h.bare(wire.MsgDump, wire.SATypeESP), superuser)
		for _, msg := range takeAll(h.s) {
			if raw := h.find(msg, wire.OpenBSDExtXSA2); raw != nil {
				v, _ := h.d.ParseSA(raw)
				got[h.spi(msg)] = v.SPI
			}
		}
		return got
	}
	for name, c := range map[string]struct {
		pairs [][2]wire.SPI
		want  map[wire.SPI]wire.SPI
		gone  wire.SPI
	}{
		"a chain":           {pairs: [][2]wire.SPI{{1, 2}, {2, 3}}, want: map[wire.SPI]wire.SPI{1: 2, 2: 3}},
		"another second":    {pairs: [][2]wire.SPI{{1, 2}, {1, 3}}, want: map[wire.SPI]wire.SPI{1: 3}},
		"another first":     {pairs: [][2]wire.SPI{{1, 3}, {2, 3}}, want: map[wire.SPI]wire.SPI{2: 3}},
		"the middle goes":   {pairs: [][2]wire.SPI{{1, 2}, {2, 3}}, gone: 2, want: map[wire.SPI]wire.SPI{}},
		"the first goes":    {pairs: [][2]wire.SPI{{1, 2}, {2, 3}}, gone: 1, want: map[wire.SPI]wire.SPI{2: 3}},
		"replaced, and out": {pairs: [][2]wire.SPI{{1, 2}, {1, 3}}, gone: 2, want: map[wire.SPI]wire.SPI{1: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			h := boot(t)
			for spi := range wire.SPI(3) {
				h.must(h.add(association{spi: spi + 1}))
			}
			for _, p := range c.pairs {
				h.must(link(h, p[0], p[1]))
			}
			if c.gone != 0 {
				h.must(h.about(wire.MsgDelete, association{spi: c.gone}))
			}
			if diff := cmp.Diff(c.want, links(h)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if c.gone == 0 {
				if got := h.says(link(h, 3, 1)); name == "a chain" && got != "ESRCH" {
					t.Errorf("a circle: %s", got)
				}
			}
		})
	}
}
