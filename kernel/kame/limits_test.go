package kame_test

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

func live() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestManySAs: an SA is found, listed and removed without looking at all others, whether they have one head or each its
// own; what they take is bounded, and given back.
func TestManySAs(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 2_000
	}
	const most = 3500 // bytes of an SA that is alone in its head
	onBoth(t, func(t *testing.T, h *machine) {
		before := live()
		add := h.sa(association{spi: 1})
		for i := range n {
			binary.BigEndian.PutUint32(add[20:], uint32(0x1000+i))
			if i%2 == 0 { // between other ends
				copy(add[36+8:], netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).AsSlice())
			} else {
				copy(add[36+8:], there.AsSlice())
			}
			h.must(add)
		}
		if got := h.e.Status(1).SACount; got != n {
			t.Fatalf("%d SAs, want %d", got, n)
		}
		if each := (live() - before) / int64(n); each > most {
			t.Errorf("an SA takes %d bytes", each)
		}
		h.must(h.bare(wire.MsgFlush, 0))
		h.e.Advance(h.e.Now().Add(2 * time.Second))
		if left := live() - before; left > int64(n)*400 { // maps keep their size
			t.Errorf("%d bytes are left after a FLUSH", left)
		}
	})
}

// TestManyPolicies: all policies end at once, by SPDFLUSH or by their age, without a copy of all for each of them.
func TestManyPolicies(t *testing.T) {
	const n, most = 3000, 2000 // bytes for each policy
	onBoth(t, func(t *testing.T, h *machine) {
		d := h.d()
		ways := map[string]func(){
			"SPDFLUSH": func() { h.must(h.bare(wire.KAMEMsgXSPDFlush, 0)) },
			"age":      func() { h.e.Advance(h.e.Now().Add(11 * time.Second)) },
		}
		for name, end := range ways {
			for i := range n {
				add := h.policy(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
				h.must(d.Finish(d.AppendLifetime(add, wire.ExtLifetimeHard, wire.Lifetime{AddTime: 10})))
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			end()
			runtime.ReadMemStats(&after)
			if left := h.e.Status(1).PolicyCount; left != 0 {
				t.Errorf("%s: %d policies are left", name, left)
			}
			if each := (after.TotalAlloc - before.TotalAlloc) / n; each > most {
				t.Errorf("%s: %d bytes are used for the end of a policy", name, each)
			}
		}
	})
}

// TestNoPass: SAs that come, are used and go leave nothing behind, though the clock stands still and there is no pass.
func TestNoPass(t *testing.T) {
	const n, most = 2000, 100 // bytes for each SA
	onBoth(t, func(t *testing.T, h *machine) {
		limits := wire.Lifetime{UseTime: 100, Bytes: 1}
		add := h.sa(association{spi: 0x1000, hard: &limits, soft: &limits})
		pkt := h.sealed(0x1000, 1)
		end := h.sa(association{typ: wire.MsgDelete, spi: 0x1000, noKeys: true})
		rounds := func(n int) {
			for range n {
				h.must(add)
				h.inbound(pkt)
				h.must(end)
			}
		}
		rounds(100)
		runtime.GC() // what has a cleanup goes with the second
		before := live()
		rounds(n)
		runtime.GC()
		if each := (live() - before) / n; each > most {
			t.Errorf("an SA leaves %d bytes", each)
		}
	})
}

// TestMemoryOfDumps: what waits of DUMPs takes about as much memory as it has bytes, and a socket that is not read does
// not take more and more of them.
func TestMemoryOfDumps(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		for i := range wire.SPI(200) {
			h.must(h.sa(association{spi: 0x1000 + i}))
		}
		before := live()
		for range 10 {
			deaf := h.open()
			for range 20 {
				deaf.Send(h.bare(wire.MsgDump, 0), superuser)
			}
		}
		taken, bytes := live()-before, int64(0)
		for _, s := range h.e.Status(1).Sockets {
			bytes += int64(s.Bytes)
		}
		if bytes == 0 || bytes > 10*200*300 || taken > 3*bytes+100_000 {
			t.Errorf("%d bytes of messages take %d bytes of memory", bytes, taken)
		}
	})
}

// TestLongTime: a century in which little happens takes no time.
func TestLongTime(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		far := &wire.Lifetime{AddTime: 3_000_000_000}
		for i := range wire.SPI(100) {
			h.must(h.sa(association{spi: 0x1000 + i, soft: far, hard: far}))
		}
		passes := 0
		for at, ok := h.e.Next(); ok && passes < 1000; at, ok = h.e.Next() {
			h.e.Advance(at)
			passes++
		}
		if n := h.e.Status(0).SACount; n != 0 || passes > 10 {
			t.Errorf("%d SAs are left after %d passes", n, passes)
		}
	})
}

// TestPacketsLeaveLittleToDo: however many packets lack an SA, or use one with a limit, while the control lock is held,
// what they leave to do is bounded.
func TestPacketsLeaveLittleToDo(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		third := netip.MustParseAddr("192.0.2.3")
		h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
		h.must(h.policy(there))
		h.must(h.policy(third))
		limit := &wire.Lifetime{Bytes: 1}
		h.must(h.sa(association{spi: 0x1000, src: here, dst: third, soft: limit, hard: limit}))
		lacking, limited := h.datagram(there), h.datagram(third)
		h.e.Do(func() {
			out := func(n int) {
				for range n {
					h.e.Outbound(&packet.Packet{Data: lacking}, "")
					h.e.Outbound(&packet.Packet{Data: limited}, "")
				}
			}
			out(70_000)
			before := live()
			out(20_000)
			if taken := live() - before; taken > 1_000_000 {
				t.Errorf("40000 more packets leave %d bytes", taken)
			}
		})
	})
}

// TestSockets: as many as there may be, and what else may be opened.
func TestSockets(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		for _, c := range []struct {
			cred       pfkey.Cred
			typ, proto int
			want       wire.Errno
		}{
			{superuser, 3, 0, wire.OK}, {superuser, 2, 0, wire.EPROTOTYPE}, {superuser, 2, 2, wire.EPROTONOSUPPORT},
			{superuser, 3, 1, wire.EPROTONOSUPPORT}, {pfkey.Cred{}, 3, 2, wire.EPERM},
		} {
			s, errno := h.e.Open(c.cred, c.typ, c.proto)
			if errno != c.want {
				t.Errorf("type %d, protocol %d: %v, want %v", c.typ, c.proto, errno, c.want)
			}
			if s != nil {
				s.Close()
			}
		}
		var errno wire.Errno
		n := 1
		for ; errno == wire.OK && n < 5000; n++ {
			_, errno = h.e.Open(superuser, 3, 2)
		}
		if errno != wire.ENOBUFS || n != 1025 {
			t.Errorf("socket %d: %v", n, errno)
		}
	})
}

// TestTunables: what is not there, and what is out of bounds.
func TestTunables(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		const larval = "net.key.larval_lifetime"
		if errno := h.k.SetSysctl(larval, 5); errno != wire.OK {
			t.Error(errno)
		}
		if v, errno := h.k.Sysctl(larval); v != 5 || errno != wire.OK {
			t.Errorf("%s = %d, %v", larval, v, errno)
		}
		if errno := h.k.SetSysctl("net.key.none", 1); errno != wire.ENOENT {
			t.Errorf("a tunable that is not there: %v", errno)
		}
		if errno := h.k.SetSysctl(larval, -1); errno != wire.EINVAL {
			t.Errorf("a value out of bounds: %v", errno)
		}
	})
}

// TestLarvalLifetime: a LARVAL SA that is there already follows the knob.
func TestLarvalLifetime(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		start := h.e.Now()
		h.must(h.getSPI(0x1000, 0x1fff))
		h.k.SetSysctl("net.key.larval_lifetime", 100)
		h.e.Advance(start.Add(99 * time.Second))
		if n := h.e.Status(0).SACount; n != 1 {
			t.Errorf("%d SAs after 99 s", n)
		}
		h.e.Advance(start.Add(101 * time.Second))
		if n := h.e.Status(0).SACount; n != 0 {
			t.Errorf("%d SAs after 101 s", n)
		}
	})
}
