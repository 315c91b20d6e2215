package illumos_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

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
		return message(wire.MsgAdd, wire.SATypeAH, src(source), dst("192.0.2.1"), change(ahSA, func(s *wire.SA) { s.SPI = spi }), authExt)
	}
	k.want(one(1), "ok")
	k.want(add(2, "192.0.2.5"), "ok") // between two own addresses: two SAs
	k.want(one(3), "ENOMEM")
	k.want(message(wire.MsgGetSPI, wire.SATypeAH, src("192.0.2.5"), dst("192.0.2.1"), spiRange(2, 2)), "ENOMEM") // although it is there
	k.want(add(4, "192.0.2.2"), "ENOMEM")
	// A LARVAL is there already, so it can be completed.
	k.want(message(wire.MsgUpdate, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"), change(espSA, func(s *wire.SA) { s.SPI = 1 }), authExt, encryptExt), "ok")
	k.want(message(wire.MsgDelete, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"), change(espSA, func(s *wire.SA) { s.SPI = 1 })), "ok")
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
		return message(wire.MsgAdd, wire.SATypeAH, src("192.0.2.2"), dst("192.0.2.1"), change(ahSA, func(s *wire.SA) { s.SPI = spi }), authExt,
			identity(wire.ExtIdentitySrc, strings.Repeat("a", n)))
	}
	k.want(add(1, 500), "ok")
	k.want(add(2, 500), "ENOMEM")
	k.want(add(2, 400), "ok")
	k.want(add(3, 0), "ok")
	for range 3 { // what goes is given back, and once
		k.want(message(wire.MsgDelete, wire.SATypeAH, src("192.0.2.2"), dst("192.0.2.1"), change(ahSA, func(s *wire.SA) { s.SPI = 1 })), "ok")
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
	k := newPoliced(t, engine.Options{Tunables: map[string]string{"pfkeyd:max_acquires": "2"}}, "{laddr 192.0.2.1} ipsec {auth_algs sha1}")
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

func fate(v []ipsec.Verdict) string {
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
		k.must(message(wire.MsgAdd, wire.SATypeAH, src("192.0.2.2"), dst("192.0.2.1"), change(ahSA, func(s *wire.SA) { s.SPI = wire.SPI(i + 1) }), authExt))
	}
	deaf := openSocket(t, k.e)
	for range 200 {
		if errno := deaf.Send(message(wire.MsgDump, wire.SATypeUnspec), pfkey.Cred{Privileged: true}); errno != wire.OK {
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
