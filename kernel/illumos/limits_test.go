package illumos_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/illumos"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// weight is what a packet that waits counts for beyond its bytes.
const weight = 256

func spiRange(lo, hi wire.SPI) ext {
	return func(b []byte) []byte { return d.AppendSPIRange(b, wire.SPIRange{Min: lo, Max: hi}) }
}

func (k *talk) want(msg []byte, want string) {
	k.t.Helper()
	if got := k.ask(msg); len(got) == 0 || outcome(got[0]) != want {
		k.t.Errorf("%s: %d answers, %q, want %q", d.Line(msg), len(got), outcome(append(got, nil)[0]), want)
	}
}

// There are never more SAs than stated, in whatever way they are made; one that goes makes room.
func TestLimitOfSAs(t *testing.T) {
	k := newTalk(t, engine.Options{Tunables: map[string]string{"pfkeyd:max_sas": "3"}})
	one := func(spi wire.SPI) []byte {
		return message(wire.MsgGetSPI, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"), spiRange(spi, spi))
	}
	add := func(spi wire.SPI, source string) []byte {
		return message(wire.MsgAdd, wire.SATypeAH, src(source), dst("192.0.2.1"),
			change(ahSA, func(s *wire.SA) { s.SPI = spi }), authExt)
	}
	k.want(one(1), "ok")
	k.want(add(2, "192.0.2.5"), "ok") // between two own addresses: two SAs
	k.want(one(3), "ENOMEM")
	// although it is there
	k.want(message(wire.MsgGetSPI, wire.SATypeAH, src("192.0.2.5"), dst("192.0.2.1"), spiRange(2, 2)), "ENOMEM")
	k.want(add(4, "192.0.2.2"), "ENOMEM")
	// A LARVAL is there already, so it can be completed.
	k.want(message(wire.MsgUpdate, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"),
		change(espSA, func(s *wire.SA) { s.SPI = 1 }), authExt, encryptExt), "ok")
	k.want(message(wire.MsgDelete, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"),
		change(espSA, func(s *wire.SA) { s.SPI = 1 })), "ok")
	k.want(message(wire.MsgGetSPI, wire.SATypeAH, src("192.0.2.5"), dst("192.0.2.1"), spiRange(2, 2)), "EEXIST")
	k.want(add(5, "192.0.2.5"), "ENOMEM") // one place is not enough for two
	k.want(one(5), "ok")
	k.want(message(wire.MsgFlush, wire.SATypeUnspec), "ok")
	k.want(add(5, "192.0.2.5"), "ok")
	if n := k.e.Status(0).SACount; n != 2 {
		t.Errorf("%d SAs", n)
	}
}

// Names of identities may be as long as a message, so they count apart.
func TestLimitOfIdentities(t *testing.T) {
	k := newTalk(t, engine.Options{Tunables: map[string]string{"max_identities": "1000"}})
	add := func(spi wire.SPI, n int) []byte {
		return message(wire.MsgAdd, wire.SATypeAH, src("192.0.2.2"), dst("192.0.2.1"),
			change(ahSA, func(s *wire.SA) { s.SPI = spi }), authExt,
			identity(wire.ExtIdentitySrc, strings.Repeat("a", n)))
	}
	k.want(add(1, 500), "ok")
	k.want(add(2, 500), "ENOMEM")
	k.want(add(2, 400), "ok")
	k.want(add(3, 0), "ok")
	for range 3 { // what goes is given back, and once
		k.want(message(wire.MsgDelete, wire.SATypeAH, src("192.0.2.2"), dst("192.0.2.1"),
			change(ahSA, func(s *wire.SA) { s.SPI = 1 })), "ok")
		k.want(add(1, 500), "ok")
		k.want(add(4, 500), "ENOMEM")
	}
	// A LARVAL that gets its names by UPDATE.
	k.want(message(wire.MsgFlush, wire.SATypeUnspec), "ok")
	k.want(message(wire.MsgGetSPI, wire.SATypeAH, src("192.0.2.2"), dst("192.0.2.1"), spiRange(9, 9)), "ok")
	update := add(9, 700)
	update[1] = byte(wire.MsgUpdate)
	k.want(update, "ok")
	k.want(add(4, 500), "ENOMEM")
	k.want(message(wire.MsgFlush, wire.SATypeUnspec), "ok")
	k.want(add(4, 900), "ok")
}

func TestLimitOfSockets(t *testing.T) {
	k := newTalk(t, engine.Options{Tunables: map[string]string{"pfkeyd:max_sockets": "2"}})
	second := openSocket(t, k.e)
	if _, errno := k.e.Open(pfkey.Cred{Privileged: true}, 3, 2); errno != wire.ENOMEM {
		t.Errorf("the third: %v", errno)
	}
	if _, errno := k.e.Open(pfkey.Cred{}, 3, 2); errno != wire.EPERM {
		t.Errorf("the third, without privilege: %v", errno)
	}
	second.Close()
	openSocket(t, k.e)
}

// Packets wait on so many records, and no more; those that can join others still do.
func TestLimitOfAcquires(t *testing.T) {
	k := newPoliced(t, engine.Options{Tunables: map[string]string{"pfkeyd:max_acquires": "2"}},
		"{laddr 192.0.2.1} ipsec {auth_algs sha1}")
	for i, want := range []string{"held", "held", "dropped sadb_acquire_nomem"} {
		v := k.send(udp(t, "192.0.2.1", fmt.Sprintf("192.0.2.%d", 10+i), 7, 9), "")
		if got := fate(v); got != want {
			t.Errorf("packet %d: %s, want %s", i+1, got, want)
		}
	}
	if got := fate(k.send(udp(t, "192.0.2.1", "192.0.2.10", 7, 9), "")); got != "held" {
		t.Errorf("a packet that joins another: %s", got)
	}
	k.must(message(wire.MsgFlush, wire.SATypeUnspec))
	if got := fate(k.send(udp(t, "192.0.2.1", "192.0.2.12", 7, 9), "")); got != "held" {
		t.Errorf("after a FLUSH: %s", got)
	}
}

func fate(v []packet.Verdict) string {
	if len(v) == 0 {
		return "nothing"
	}
	last := v[len(v)-1]
	return strings.TrimSpace(fmt.Sprint(last.Kind) + " " + last.Counter)
}

// A client that asks for one DUMP after the other and never reads is refused before its queue has no end.
func TestLimitOfDumps(t *testing.T) {
	k := newTalk(t, engine.Options{Tunables: map[string]string{"pfkeyd:max_queued": "1000000"}})
	for i := range 500 {
		k.must(message(wire.MsgAdd, wire.SATypeAH, src("192.0.2.2"), dst("192.0.2.1"),
			change(ahSA, func(s *wire.SA) { s.SPI = wire.SPI(i + 1) }), authExt))
	}
	deaf := openSocket(t, k.e)
	for range 200 {
		if errno := deaf.Send(message(wire.MsgDump, wire.SATypeUnspec),
			pfkey.Cred{Privileged: true}); errno != wire.OK {
			t.Fatal(errno)
		}
	}
	if n := k.e.Status(0).Sockets[1].Bytes; n > 1_200_000 {
		t.Errorf("%d bytes wait", n)
	}
	k.want(message(wire.MsgDump, wire.SATypeUnspec), "ENOMEM")
	n := 0
	for all := messages(deaf); len(all) > 0; all = messages(deaf) {
		n += len(all)
	}
	if n < 500 {
		t.Errorf("%d messages", n)
	}
	if got := k.ask(message(wire.MsgDump, wire.SATypeUnspec)); len(got) != 501 {
		t.Errorf("%d messages once there is room", len(got))
	}
}

// held wants so many packets of the ledger to wait, with so many bytes beyond those that each counts for.
func (k *talk) held(what string, packets uint64, bytes int64) {
	k.t.Helper()
	if b := k.e.Status(1).Ledger; b.Held != packets || b.HeldBytes != bytes+int64(packets)*weight ||
		b.InFlight != 0 {
		k.t.Errorf("%s: %d packets and %d bytes are held, %d in flight; want %d and %d", what, b.Held, b.HeldBytes,
			b.InFlight, packets, bytes)
	}
}

// Packets wait on LARVAL SAs as long as all of them together are not too much; each of the ways in which they go makes
// room.
func TestLimitOfPacketsOnLarvals(t *testing.T) {
	const size = 72 // bytes, of the packets of this test
	h := newHost(t, engine.Options{Tunables: map[string]string{"pfkeyd:max_held": fmt.Sprint(2 * (weight +
		size))}})
	k := &talk{t, h.e, openSocket(t, h.e)}
	for spi := range wire.SPI(3) {
		h.must(h.reserve(0x1001 + spi))
	}
	a, b := h.inject(0x1001, 1), h.inject(0x1002, 1)
	k.held("two", 2, 2*size)
	if v := <-h.inject(0x1003, 1); v.Kind != packet.Dropped || v.Reason != packet.NoMemory ||
		v.Counter != "ipIfStatsInDiscards" {
		t.Errorf("a third: %v %v %q", v.Kind, v.Reason, v.Counter)
	}
	c := h.inject(0x1001, 2) // in the place of another
	k.held("one replaced", 2, 2*size)
	h.must(h.update(0x1001))
	k.held("UPDATE", 1, size)
	d := h.inject(0x1003, 2)
	k.held("another", 2, 2*size)
	h.must(h.delete(0x1003))
	k.held("DELETE", 1, size)
	h.must(h.reserve(0x1004))
	e := h.inject(0x1004, 1)
	k.must(message(wire.MsgFlush, wire.SATypeESP))
	k.held("FLUSH", 0, 0)
	h.must(h.reserve(0x1005))
	f := h.inject(0x1005, 1)
	k.e.Advance(k.e.Now().Add(200 * time.Second))
	k.held("the end of the LARVAL", 0, 0)
	h.must(h.reserve(0x1006))
	g := h.inject(0x1006, 1)
	h.e.Close()
	k.held("the end of the engine", 0, 0)
	for i, tt := range []struct {
		verdicts <-chan packet.Verdict
		reason   packet.Reason
	}{{a, packet.LarvalReplaced}, {b, packet.LarvalGone}, {c, packet.NoReason}, {d, packet.LarvalGone},
		{e, packet.LarvalGone}, {f, packet.LarvalGone}, {g, packet.Shutdown}} {
		if v := <-tt.verdicts; v.Kind != packet.Queued {
			t.Errorf("packet %c: %v %v first", 'a'+i, v.Kind, v.Reason)
		}
		if v := <-tt.verdicts; v.Reason != tt.reason {
			t.Errorf("packet %c: %v %v at last, want %v", 'a'+i, v.Kind, v.Reason, tt.reason)
		}
	}
}

// The same for packets that wait for an ACQUIRE, those that join others included. What ESP has made of one that then
// waits for AH counts, too.
func TestLimitOfPacketsOnAcquires(t *testing.T) {
	const size = 28 // bytes, of the packets of this test
	k := newPoliced(t,
		engine.Options{Tunables: map[string]string{"pfkeyd:max_held": fmt.Sprint(3 * (weight + size))}},
		"{laddr 192.0.2.1} ipsec {auth_algs sha1 encr_algs aes encr_auth_algs sha1}")
	out := func(host int) string {
		return fate(k.send(udp(t, "192.0.2.1", fmt.Sprintf("192.0.2.%d", host), 7, 9), ""))
	}
	for i, tt := range []struct {
		host int
		want string
	}{{10, "held"}, {10, "held"}, {11, "held"}, {11, "dropped sadb_acquire_nomem"},
		{12, "dropped sadb_acquire_nomem"}} {
		if got := out(tt.host); got != tt.want {
			t.Errorf("packet %d: %s, want %s", i+1, got, tt.want)
		}
	}
	k.held("three", 3, 3*size)
	if st := k.e.Status(0); st.AcquireCount != 2 || len(st.Acquires) != 2 {
		t.Errorf("%d ACQUIREs, %d of them listed", st.AcquireCount, len(st.Acquires))
	}
	if st := k.e.Status(1); st.AcquireCount != 2 || len(st.Acquires) != 1 {
		t.Errorf("%d ACQUIREs, %d of them listed, of which one was wanted", st.AcquireCount, len(st.Acquires))
	}
	k.e.Advance(k.e.Now().Add(24 * time.Second))
	k.held("nobody has answered", 0, 0)

	if got := out(13); got != "held" {
		t.Fatal(got)
	}
	messages(k.s)
	k.must(message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.1"), dst("192.0.2.13"), assoc(espSA), authExt, encryptExt))
	k.held("ADD of an SA that answers nothing", 1, size)
	seq := k.e.Status(0).Acquires[0].Seq
	answer := message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.1"), dst("192.0.2.13"),
		change(espSA, func(s *wire.SA) { s.SPI++ }), authExt, encryptExt)
	d.Order.PutUint32(answer[8:], seq)
	k.must(answer)
	if b := k.e.Status(0).Ledger; b.Held != 1 || b.HeldBytes <= weight+2*size {
		t.Errorf("of a packet of %d bytes that ESP has sealed and that waits for AH, %d bytes are held", size,
			b.HeldBytes)
	}
	k.must(message(wire.MsgFlush, wire.SATypeUnspec))
	k.held("FLUSH", 0, 0)
}

// And for those that an IDLE SA keeps.
func TestLimitOfPacketsOnIdle(t *testing.T) {
	h := newHost(t, engine.Options{Tunables: map[string]string{"max_held": "1000"}})
	h.e.Kernel().(*illumos.Kernel).SetCluster(true)
	k := &talk{t, h.e, openSocket(t, h.e)}
	elsewhere := change(espSA, func(s *wire.SA) { s.State = wire.IllumosStateXActiveElsewhere })
	k.must(message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"), elsewhere, authExt, encryptExt,
		lifetime(wire.ExtLifetimeHard, wire.Lifetime{AddTime: 1000}), lifetime(wire.IllumosExtXLifetimeIdle,
			wire.Lifetime{AddTime: 8})))
	k.e.Advance(k.e.Now().Add(16 * time.Second))
	kept := []<-chan packet.Verdict{h.inject(0x1001, 1), h.inject(0x1001, 2)}
	if v := <-h.inject(0x1001, 3); v.Kind != packet.Dropped || v.Reason != packet.NoMemory {
		t.Errorf("a third: %v %v", v.Kind, v.Reason)
	}
	k.must(message(wire.MsgUpdate, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"),
		change(espSA, func(s *wire.SA) { s.State = wire.IllumosStateXActive })))
	k.held("taken over", 0, 0)
	for i, verdicts := range kept {
		<-verdicts
		if v := <-verdicts; v.Kind != packet.Delivered || !slices.Equal(v.Inner[12:], plain[12:]) {
			t.Errorf("packet %d: %v %x", i+1, v.Kind, v.Inner)
		}
	}
}

// Promiscuous sockets get a DUMP however full they are, so there is no DUMP that all of them together could not keep.
func TestLimitOfDumpsForMany(t *testing.T) {
	k := newTalk(t, engine.Options{Tunables: map[string]string{"pfkeyd:max_queued": "2000000"}})
	for i := range 500 {
		k.must(message(wire.MsgAdd, wire.SATypeAH, src("192.0.2.2"), dst("192.0.2.1"),
			change(ahSA, func(s *wire.SA) { s.SPI = wire.SPI(i + 1) }), authExt))
	}
	if got := k.ask(message(wire.MsgDump, wire.SATypeUnspec)); len(got) != 501 {
		t.Errorf("%d messages", len(got))
	}
	var others []pfkey.Socket
	for range 100 {
		s := openSocket(t, k.e)
		s.Send(message(wire.MsgXPromisc, 1), pfkey.Cred{Privileged: true})
		others = append(others, s)
	}
	messages(k.s)
	k.want(message(wire.MsgDump, wire.SATypeUnspec), "ENOMEM")
	for _, s := range others {
		s.Close()
	}
	if got := k.ask(message(wire.MsgDump, wire.SATypeUnspec)); len(got) != 501 {
		t.Errorf("%d messages once they have gone", len(got))
	}
}

// The shortest message takes more memory than its bytes; and a DUMP that is refused is answered, too.
func TestLimitOfEmptyDumps(t *testing.T) {
	k := newTalk(t, engine.Options{Tunables: map[string]string{"pfkeyd:max_queued": "100000"}})
	deaf := openSocket(t, k.e)
	for range 4000 {
		deaf.Send(message(wire.MsgDump, wire.SATypeUnspec), pfkey.Cred{Privileged: true})
	}
	if st := k.e.Status(0).Sockets[1]; st.Queued > 100000/64 {
		t.Errorf("%d messages of %d bytes wait", st.Queued, st.Bytes)
	} else if st.Lost+uint64(st.Queued) != 4000 {
		t.Errorf("%d messages wait and %d are lost, of 4000", st.Queued, st.Lost)
	}
	deaf.Close()
	k.want(message(wire.MsgDump, wire.SATypeUnspec), "ok")
}

// What waits of a DUMP takes about as much memory as it has bytes.
func TestMemoryOfDumps(t *testing.T) {
	k := newTalk(t, engine.Options{})
	k.must(message(wire.MsgAdd, wire.SATypeAH, src("192.0.2.2"), dst("192.0.2.1"), assoc(ahSA), authExt))
	deaf := openSocket(t, k.e)
	before := heap()
	for range 1000 {
		deaf.Send(message(wire.MsgDump, wire.SATypeUnspec), pfkey.Cred{Privileged: true})
	}
	taken := heap() - before
	if n := int64(k.e.Status(0).Sockets[1].Bytes); n < 100_000 || taken > 10*n {
		t.Errorf("%d bytes of messages take %d bytes of memory", n, taken)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// However many packets come while the control lock is held, what they leave to do is bounded: a change of port is noted
// once, and a DUMP is made to its end once.
func TestPacketsLeaveLittleToDo(t *testing.T) {
	h := newHost(t, engine.Options{})
	k := &talk{t, h.e, openSocket(t, h.e)}
	rem := addressOf(wire.IllumosExtXAddressNattRem, "192.0.2.2", 4500, 17, 0)
	pair := func(spi wire.SPI) ext { return func(b []byte) []byte { return d.AppendPair(b, wire.Pair{SPI: spi}) } }
	k.must(message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"), change(espSA, func(s *wire.SA) {
		s.Flags = wire.IllumosFlagXInbound | wire.IllumosFlagXNattRem
	}), authExt, encryptExt, rem))
	k.must(message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.1"), dst("192.0.2.2"), change(espSA, func(s *wire.SA) {
		s.SPI, s.Flags = 0x2002, wire.IllumosFlagXOutbound|wire.IllumosFlagXNattRem|wire.IllumosFlagXPaired
	}), authExt, encryptExt, rem, pair(0x1001)))
	sealed := func(seq uint64) []byte {
		pkt, err := h.far.SealTransport(nil, plain, ipsec.Ports{Src: 7777, Dst: 4500},
			ipsec.Sealing{SPI: 0x1001, Seq: seq, IV: make([]byte, 16)})
		if err != nil {
			t.Fatal(err)
		}
		return pkt
	}
	h.e.Do(func() {
		for seq := range uint64(20) {
			if v := k.inject(sealed(seq + 1)); v.Kind != packet.Delivered {
				t.Fatal(v.Kind, v.Reason)
			}
		}
	})
	if n := h.e.Status(1).Counters["esp/sa_port_renumbers"]; n != 1 {
		t.Errorf("20 packets from another port: noted %d times", n)
	}
	pkt, err := h.far.SealTransport(nil, plain, ipsec.Ports{Src: 8888, Dst: 4500}, ipsec.Sealing{SPI: 0x1001, Seq: 21,
		IV: make([]byte, 16)})
	if err != nil {
		t.Fatal(err)
	}
	k.inject(pkt)
	if n := h.e.Status(1).Counters["esp/sa_port_renumbers"]; n != 2 {
		t.Errorf("and one from yet another: noted %d times", n)
	}

	for i := range 2000 {
		k.must(message(wire.MsgAdd, wire.SATypeAH, src("192.0.2.2"), dst("192.0.2.1"),
			change(ahSA, func(s *wire.SA) { s.SPI = wire.SPI(i + 1) }), authExt))
	}
	reader := openSocket(t, h.e)
	reader.Send(message(wire.MsgDump, wire.SATypeUnspec), pfkey.Cred{Privileged: true})
	stray := h.sealed(0x9999, 1)
	h.e.Do(func() {
		pkt := new(packet.Packet)
		drop := func() {
			*pkt = packet.Packet{Data: stray}
			h.e.Inbound(pkt)
		}
		drop() // this one asks for it
		if n := testing.AllocsPerRun(1000, drop); n > 0 && !raceEnabled {
			t.Errorf("each of many packets beside a DUMP leaves %v pieces of memory", n)
		}
	})
	if n := len(messages(reader)); n != 2003 {
		t.Errorf("%d messages of the DUMP", n)
	}
}

// A packet that finds the control lock taken still has the engine woken when the limit on use that it starts runs out.
func TestFirstUseAsksForPass(t *testing.T) {
	h := newHost(t, engine.Options{})
	k := &talk{t, h.e, openSocket(t, h.e)}
	k.must(message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"), assoc(espSA), authExt, encryptExt,
		lifetime(wire.ExtLifetimeHard, wire.Lifetime{UseTime: 100}),
		lifetime(wire.ExtLifetimeSoft, wire.Lifetime{UseTime: 40})))
	if next, ok := k.e.Next(); ok {
		t.Errorf("before any use something is due at %v", next)
	}
	pkt := h.sealed(0x1001, 1)
	h.e.Do(func() { k.inject(pkt) })
	if next, ok := k.e.Next(); !ok || next.Sub(k.e.Now()) != 40*time.Second {
		t.Errorf("%v, after %v", ok, next.Sub(k.e.Now()))
	}
	k.e.Advance(k.e.Now().Add(200 * time.Second))
	if got := messages(k.s); len(got) != 2 || got[0][1] != byte(wire.MsgExpire) || got[1][1] != byte(wire.MsgExpire) {
		t.Errorf("%d messages", len(got))
	}
}

// The longest X_EREG there is names one type half a million times.
func TestLongestRegister(t *testing.T) {
	k := newTalk(t, engine.Options{})
	const bytes = 65534 * 8
	msg := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgRegister, Seq: 7, PID: 1234})
	msg = d.AppendExtHeader(msg, wire.IllumosExtXEReg, bytes-wire.HeaderLen)
	for len(msg) < bytes {
		msg = append(msg, byte(wire.SATypeESP), 99)
	}
	got := k.ask(d.Finish(msg[:bytes]))
	if len(got) < 2 || outcome(got[0]) != "ok" || outcome(got[1]) != "EINVAL UNKNOWN_SATYPE" {
		t.Errorf("%d answers", len(got))
	}
}

func TestLimitNames(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"pfkeyd:max_sas", "0", "not a number from 1 to 16777216"},
		{"max_sockets", "many", "not a number from 1 to 65536"},
		{"keysock:max_sas", "1", "unknown tunable"},
	} {
		_, err := newEngine(engine.Options{Tunables: map[string]string{tt.name: tt.value}, Addrs: []netip.Addr{me}})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s=%s: %v", tt.name, tt.value, err)
		}
	}
}

// A DUMP of which nothing is made yet, because its reader has enough to read, counts for what it will take.
func TestPendingDumpCounts(t *testing.T) {
	const n = 300
	// Two DUMPs of all, one of which waits whole, leave no room for a third.
	k := newTalk(t, engine.Options{Tunables: map[string]string{"pfkeyd:max_queued": "360000"}})
	for i := range wire.SPI(n) {
		k.must(message(wire.MsgAdd, wire.SATypeESP, change(espSA, func(v *wire.SA) { v.SPI = 0x1000 + i }),
			src("192.0.2.2"), dst("192.0.2.1"), authExt, encryptExt))
	}
	slow, other := openSocket(t, k.e), openSocket(t, k.e)
	for _, s := range []pfkey.Socket{slow, slow, other} {
		if errno := s.Send(message(wire.MsgDump, 0), pfkey.Cred{Privileged: true}); errno != wire.OK {
			t.Fatal(errno)
		}
	}
	all := messages(other)
	if h, err := d.Header(all[0]); len(all) != 1 || err != nil || h.Errno != d.ErrnoNumber(wire.ENOMEM) {
		t.Errorf("%d messages, the first %+v", len(all), h)
	}
	if all := messages(slow); len(all) != 2*(n+1) {
		t.Errorf("%d messages of two DUMPs of %d SAs", len(all), n)
	}
}
