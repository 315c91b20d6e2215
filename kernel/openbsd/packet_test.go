package openbsd_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestInboundVerdicts has packets that are wrong in every way there is: why each is dropped, and in which counter.
func TestInboundVerdicts(t *testing.T) {
	h := newHost(t)
	sa := esp(peer, me, 0x1000)
	h.add(sa)
	larval, err := h.c.GetSPI(context.Background(), pfkey.GetSPIParams{Type: wire.SATypeESP, Src: pfkey.Host(peer),
		Dst: pfkey.Host(me), Min: 0x2000, Max: 0x2fff, Seq: pfkey.NoAcquire})
	if err != nil {
		t.Fatal(err)
	}
	bare := esp(peer, me, 0x4000) // without authentication, padding can be wrong
	bare.Auth, bare.AuthKey = 0, wire.Key{}
	bare.Encrypt, bare.EncryptKey = wire.EncNull, wire.Key{}
	h.add(bare)
	nat := esp(peer, me, 0x5000)
	nat.Flags = wire.OpenBSDFlagXUDPEncap
	h.add(nat)
	h.flows("flow in from 198.51.100.1 to 192.0.2.1 type deny\n" +
		"flow in from 198.51.100.2 to 192.0.2.1 type require\n" +
		"flow in from 198.51.100.3 to 192.0.2.1 type use\n" +
		"flow in proto tcp from 198.51.100.4 to 192.0.2.1 type require")
	inner := udp(t, peer, me, 10)
	good := func(seq uint64) []byte { return h.sealed(sa, inner, seq) }
	padded := udp(t, peer, me, 11) // by 3 bytes
	nullPad := changed(h.sealed(bare, padded, 2), func(b []byte) { b[len(b)-3] ^= 1 })
	nullLen := changed(h.sealed(bare, inner, 3), func(b []byte) { b[len(b)-2] = 200 })
	from := func(s string) []byte { return udp(t, netip.MustParseAddr(s), me, 1) }
	inUDP := h.sealed(nat, inner, 2)
	port := netip.AddrPortFrom
	for _, tt := range []struct {
		name string
		pkt  []byte
		want string
	}{
		{"good", good(5), "delivered"},
		{"again", good(5), "replay-early espstat.esps_replay"},
		{"far ahead", good(5000), "delivered"},
		{"below the window", good(2899), "replay-early espstat.esps_replay"},
		{"number 0", good(0), "replay-early espstat.esps_wrap"},
		{"another byte", changed(good(5001), func(b []byte) { b[40] ^= 1 }), "bad-icv espstat.esps_badauth"},
		{"no such SA", h.sealed(esp(peer, me, 0x6000), inner, 1), "no-sa espstat.esps_notdb"},
		{"for a LARVAL SA", h.sealed(esp(peer, me, larval), inner, 1), "larval-dropped espstat.esps_invalid"},
		{"other padding", nullPad, "bad-padding espstat.esps_badenc"},
		{"too much padding", nullLen, "bad-pad-length espstat.esps_badilen"},
		{"in UDP", inUDP, "delivered"},
		{"not in UDP", h.sealed(esp(peer, me, 0x5000), inner, 3), "encap-mismatch espstat.esps_udpneeded"},
		{"in UDP for an SA without", changed(h.sealed(nat, inner, 4), func(b []byte) { b[28+2] = 0x10 }),
			"encap-mismatch espstat.esps_udpinval"},
		{"a flow denies", from("198.51.100.1"), "policy-discard"},
		{"a flow wants ESP", from("198.51.100.2"), "acquire-unheard"},
		{"a flow may have ESP", from("198.51.100.3"), "delivered"},
		{"another protocol than a flow's", from("198.51.100.4"), "delivered"},
		{"nobody asks for protection", udp(t, peer, me, 1), "delivered"},
		{"keepalive", wrap(t, port(peer, 4500), port(me, 4500), []byte{0xff}), "keepalive"},
		{"IKE", wrap(t, port(peer, 4500), port(me, 4500), make([]byte, 32)), "delivered"},
		{"wrong IP checksum", changed(good(5002), func(b []byte) { b[10] ^= 1 }), "bad-checksum"},
		{"fragment with a wrong checksum", changed(good(5002), func(b []byte) { b[6] = 0x20 }), "bad-checksum"},
		{"in UDP for a LARVAL SA", changed(h.sealed(nat, inner, 5), func(b []byte) {
			binary.BigEndian.PutUint32(b[28:], uint32(larval))
		}), "larval-dropped espstat.esps_invalid"},
		{"fragment", changed(good(5002), func(b []byte) {
			b[6] = 0x20
			ip.SetHeaderChecksum(b)
		}), "fragment"},
		{"cut", good(5002)[:30], "bad-header"},
		{"no packet", []byte{1}, "bad-header"},
	} {
		if got := fate(h.in(tt.pkt)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	h.atRest()
}

// TestOutboundVerdicts has packets that a flow stops, and knobs.
func TestOutboundVerdicts(t *testing.T) {
	h := newHost(t)
	h.flows("flow out from 192.0.2.1 to 192.0.2.2\n" +
		"flow out from 192.0.2.1 to 198.51.100.1 type deny\n" +
		"flow out from 192.0.2.1 to 198.51.100.2 type use\n" +
		"flow out from 192.0.2.1 to 198.51.100.3 type bypass\n" +
		"flow out from 192.0.2.1 to 198.51.100.4 type dontacq\n" +
		"flow out from 192.0.2.1 to 198.51.100.0/24 peer 192.0.2.2")
	check := func(name, to, want string) {
		t.Helper()
		if got := fate(h.out(udp(t, me, netip.MustParseAddr(to), 1))); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	check("no SA, and nobody to ask", "192.0.2.2", "acquire-unheard")
	check("denied", "198.51.100.1", "policy-discard")
	check("none needed", "198.51.100.2", "transmitted")
	check("let through", "198.51.100.3", "transmitted")
	check("no SA, and nobody may be asked", "198.51.100.4", "no-sa")
	h.add(esp(me, peer, 0x1000))
	check("sealed", "192.0.2.2", "transmitted")
	check("sealed for a gateway", "198.51.100.5", "transmitted")
	if errno := h.k.SetSysctl("net.inet.esp.enable", 0); errno != wire.OK {
		t.Fatal(errno)
	}
	check("forbidden", "192.0.2.2", "policy-discard ipsecstat.ipsec_odrops")
	h.k.SetSysctl("net.inet.esp.enable", 1)
	for _, odd := range []struct {
		sa   pfkey.SA
		want string
	}{
		{func() pfkey.SA {
			sa := esp(me, peer, 0x1001)
			sa.Encrypt, sa.EncryptKey = wire.EncCAST128CBC, pfkey.NewKey([]byte("short"))
			return sa
		}(), "crypto-failed ipsecstat.ipsec_noxform"},
		{func() pfkey.SA {
			sa := esp(me, peer, 0x1002)
			sa.Auth, sa.AuthKey = wire.AuthAES128GMAC, pfkey.NewKey(make([]byte, 20))
			return sa
		}(), "crypto-failed ipsecstat.ipsec_noxform"},
	} {
		h.add(odd.sa) // the newest one is taken
		check("nobody can seal so", "192.0.2.2", odd.want)
	}
	h.atRest()
}

// TestTunnelHeader looks at the outer header, and at what comes out at the other end.
func TestTunnelHeader(t *testing.T) {
	h := newHost(t)
	h.flows("flow out from 10.0.0.0/8 to 10.0.0.0/8 peer 192.0.2.2")
	h.add(tunnel(me, peer, 0x1000))
	inner := udp(t, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), 3)
	for _, tt := range []struct{ tos, outer, df byte }{
		{0xb8, 0xb8, 0}, {0xb9, 0xb9, 0x40}, {0xba, 0xba, 0x40}, {0xbb, 0xba, 0}, // what has met congestion says ECT(0)
	} {
		ip.SetTOS(inner, tt.tos)
		inner[6] = tt.df
		ip.SetHeaderChecksum(inner)
		pkt := h.out(inner).Inner
		if len(pkt) < 20 || pkt[1] != tt.outer || pkt[6] != tt.df || pkt[8] != ip.TTL ||
			ip.Checksum(0, pkt[:20]) != 0xffff {
			t.Errorf("%#x: header %x", tt.tos, pkt[:min(20, len(pkt))])
		}
	}
	back := tunnel(peer, me, 0x1001)
	h.add(back)
	for i, tt := range []struct {
		inner, outer byte
		want         string // the inner TOS, or why it is dropped
	}{
		{0xb9, 0, "\xb9"}, {0xb9, 3, "\xbb"}, {0xb8, 3, "\xb8"}, {0xbb, 0, "\xbb"},
	} {
		ip.SetTOS(inner, tt.inner)
		pkt := h.sealed(back, inner, uint64(i)+2)
		ip.SetTOS(pkt, tt.outer)
		want := bytes.Clone(inner)
		ip.SetTOS(want, tt.want[0])
		v := h.in(pkt)
		if diff := cmp.Diff(want, v.Inner); diff != "" {
			t.Errorf("%#x in %#x: %s (-want +got)\n%s", tt.inner, tt.outer, fate(v), diff)
		}
	}
	h.atRest()
}

// TestHardLimit: once an SA has spent its bytes, no packet passes it, even if the end cannot be told yet.
func TestHardLimit(t *testing.T) {
	h := newHost(t)
	h.flows("flow out from 192.0.2.1 to 192.0.2.2 type dontacq\nflow in from 192.0.2.2 to 192.0.2.1 type use")
	listener := open(t, h.e)
	out, in := esp(me, peer, 0x1000), esp(peer, me, 0x1001)
	limit := &wire.Lifetime{Bytes: 50}
	out.Hard, out.Soft, in.Hard, in.Soft = limit, &wire.Lifetime{}, limit, &wire.Lifetime{}
	h.add(out)
	h.add(in)
	received(listener)
	var got []string
	h.e.Do(func() { // whoever holds the control lock keeps the ends from being told
		for range 4 {
			p := h.k.Output(0, udp(t, me, peer, 12))
			got = append(got, p.Via+fmt.Sprint(p.Errno))
		}
		for seq := range uint64(3) {
			got = append(got, h.k.Input(0, h.sealed(in, udp(t, peer, me, 12), seq+2)).Via)
		}
	})
	want := []string{engine.ViaIP + "OK", engine.ViaIP + "OK", "EINVAL", "EINVAL", engine.ViaUpper, "", ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	msgs := received(listener)
	if len(msgs) != 2 {
		t.Fatalf("%d messages", len(msgs))
	}
	for _, msg := range msgs {
		if _, hard := h.e.Dialect().Find(msg, wire.ExtLifetimeHard); !hard || msg[1] != 8 {
			t.Errorf("%x", msg)
		}
	}
	if got := fate(h.out(udp(t, me, peer, 12))); got != "no-sa" {
		t.Error(got)
	}
}
