package openbsd_test

import (
	"encoding/binary"
	"runtime"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

func live() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestManySAs: SAs are found and removed without looking at all others; what they take is bounded, and given back.
func TestManySAs(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 2_000
	}
	const most = 3500 // bytes
	h := boot(t)
	before := live()
	add := h.add(association{spi: 1, hard: &wire.Lifetime{AddTime: 1000}})
	for i := range n {
		binary.BigEndian.PutUint32(add[20:], uint32(0x1000+i))
		h.must(add)
	}
	if got := h.e.Status(1).SACount; got != n {
		t.Fatalf("%d SAs, want %d", got, n)
	}
	if each := (live() - before) / int64(n); each > most {
		t.Errorf("an SA takes %d bytes", each)
	}
	h.must(h.bare(wire.MsgFlush, wire.SATypeESP))
	if _, ok := h.e.Next(); ok {
		t.Error("a timer is left")
	}
	runtime.GC()
	if left := live() - before; left > int64(n)*400 { // maps keep their size
		t.Errorf("%d bytes are left after a FLUSH", left)
	}
}

// TestComeAndGo: SAs that come, are used and go leave nothing behind.
func TestComeAndGo(t *testing.T) {
	const n, most = 2000, 100 // bytes for each SA
	h := boot(t)
	limits := &wire.Lifetime{UseTime: 100, AddTime: 200}
	add := h.add(association{spi: 0x1000, hard: limits, soft: limits})
	pkt := h.sealed(0x1000, 1)
	end := h.about(wire.MsgDelete, association{spi: 0x1000})
	rounds := func(n int) {
		for range n {
			h.must(add)
			h.in(pkt)
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
	if _, ok := h.e.Next(); ok {
		t.Error("a timer is left")
	}
}

// TestMemoryOfDumps: a socket that is not read does not take more and more of DUMPs, and a DUMP that nobody has room
// for is not made.
func TestMemoryOfDumps(t *testing.T) {
	h := boot(t)
	const sas = 500
	for i := range wire.SPI(sas) {
		h.must(h.add(association{spi: 0x1000 + i}))
	}
	dump := h.bare(wire.MsgDump, wire.SATypeUnspec)
	deaf := h.open()
	before := live()
	for range 20 {
		deaf.Send(dump, superuser)
	}
	if taken := live() - before; taken > 64<<10 {
		t.Errorf("a socket takes %d bytes", taken)
	}
	var m [2]runtime.MemStats
	runtime.ReadMemStats(&m[0])
	deaf.Send(dump, superuser)
	runtime.ReadMemStats(&m[1])
	if made := m[1].TotalAlloc - m[0].TotalAlloc; made > sas*100 {
		t.Errorf("%d bytes are made for a socket without room", made)
	}
	promisc := h.bare(wire.MsgXPromisc, wire.SATypeAH)
	h.must(promisc) // it hears a copy, whether the one who asks has room or not
	takeAll(h.s)
	deaf.Send(dump, superuser)
	if n := len(takeAll(h.s)); n < 20 {
		t.Errorf("a promiscuous socket has heard %d messages", n)
	}
}

// TestDumpsOfAll: what waits in all sockets has a bound for DUMPs. Beyond it a DUMP is answered as if it were another
// message.
func TestDumpsOfAll(t *testing.T) {
	h := boot(t)
	h.must(h.add(association{spi: 0x1000}))
	dump := h.bare(wire.MsgDump, wire.SATypeUnspec)
	for range 1000 {
		h.open().SetOption(pfkey.OptionRecvBuffer, 2<<20)
	}
	long := h.bare(wire.MsgAcquire, wire.SATypeESP)
	for _, x := range []wire.ExtType{wire.ExtIdentitySrc, wire.ExtIdentityDst} {
		long = h.d.AppendIdentity(long, x, wire.Identity{Type: wire.IdentFQDN, Name: strings.Repeat("n", 2000)})
	}
	long = h.d.Finish(long)
	for queued := 0; queued <= 1<<30; _, queued = h.queued() {
		if msg := h.must(dump); len(msg) == wire.HeaderLen {
			t.Fatalf("refused, though only %d bytes wait", queued)
		}
		h.must(long)
	}
	if msg := h.must(dump); len(msg) != wire.HeaderLen {
		t.Errorf("an answer of %d bytes", len(msg))
	}
}

func (h *machine) queued() (messages, cost int) {
	h.e.Do(func() { messages, cost = h.e.Queued() })
	return messages, cost
}

// TestLongTime: a century in which little happens takes no time.
func TestLongTime(t *testing.T) {
	h := boot(t)
	far := &wire.Lifetime{AddTime: 2_000_000_000}
	for i := range wire.SPI(100) {
		h.must(h.add(association{spi: 0x1000 + i, soft: far, hard: far}))
	}
	steps := 0
	for at, ok := h.e.Next(); ok && steps < 1000; at, ok = h.e.Next() {
		h.e.Advance(at)
		steps++
	}
	if n := h.e.Status(0).SACount; n != 0 || steps > 10 {
		t.Errorf("%d SAs are left after %d steps", n, steps)
	}
}
