package linux_test

import (
	"net/netip"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestAcquireForRequestID: the LARVAL SA has the request id of the template, and no SA with another will do.
func TestAcquireForRequestID(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
	req := transport(protoESP)
	req[0].Level, req[0].ReqID = wire.KAMELevelUnique, 7
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: req}))
	h.must(h.sa(association{spi: 0x1000, src: me, dst: peer}))
	if v := h.outbound(datagram(me, peer)); v.Counter != "XfrmOutNoStates" {
		t.Errorf("with an SA of another request id: %v %q", v.Kind, v.Counter)
	}
	if got := h.seqs(read(h.s), wire.MsgAcquire); len(got) != 1 {
		t.Fatalf("%d ACQUIREs, want 1", len(got))
	}
	larval := h.must(h.bare(wire.MsgDump, 0))
	x, _ := h.d().Find(larval, wire.KAMEExtXSA2)
	if v, err := h.d().ParseSA2(x.Raw); err != nil || v.ReqID != 7 {
		t.Errorf("the LARVAL SA: %s", h.d().Line(larval))
	}
}

// TestRefusedAcquire: an ACQUIRE to which key management has no answer stops another one, but only for its own flow.
func TestRefusedAcquire(t *testing.T) {
	me6, peer6 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	udp := func(src, dst string) []byte {
		return udpPacket(netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst), nil)
	}
	first := udp("192.0.2.1:1", "192.0.2.3:2")
	first6 := udp("[2001:db8::1]:1", "[2001:db8::2]:2")
	for _, test := range []struct {
		name        string
		first, then []byte
		want        int // ACQUIREs
	}{
		{"the same once more", first, first, 0},
		{"the same once more, IPv6", first6, first6, 0},
		{"from another port", first, udp("192.0.2.1:3", "192.0.2.3:2"), 1},
		{"to another port", first, udp("192.0.2.1:1", "192.0.2.3:4"), 1},
		{"to another address", first, udp("192.0.2.1:1", "192.0.2.4:2"), 1},
		{"to another address, IPv6", first6, udp("[2001:db8::1]:1", "[2001:db8::3]:2"), 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t, engine.Options{})
			for _, dst := range []string{"192.0.2.3", "192.0.2.4"} {
				h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: netip.MustParseAddr(dst),
					req: tunnel(protoESP, me, peer)}))
			}
			for _, dst := range []string{"2001:db8::2", "2001:db8::3"} {
				h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me6, dst: netip.MustParseAddr(dst),
					req: tunnel(protoESP, me6, peer6)}))
			}
			h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
			h.outbound(test.first)
			seq := h.seqs(read(h.s), wire.MsgAcquire)
			h.send(h.d().Finish(h.d().AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAcquire,
				Seq: wire.Seq(seq[0]), Errno: 1})))
			if v := h.outbound(test.then); v.Counter != "XfrmOutNoStates" {
				t.Errorf("%v %q", v.Kind, v.Counter)
			}
			if got := h.seqs(read(h.s), wire.MsgAcquire); len(got) != test.want {
				t.Errorf("%d ACQUIREs, want %d", len(got), test.want)
			}
		})
	}
}

// TestChoiceOfSA: of the SAs for a flow the newest is taken; one whose soft lifetime is over only where there is no
// other.
func TestChoiceOfSA(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: transport(protoESP)}))
	spi := func() wire.SPI {
		t.Helper()
		v := h.outbound(datagram(me, peer))
		if v.Kind != packet.Transmitted {
			t.Fatalf("%v %q", v.Kind, v.Counter)
		}
		in, err := ipsec.ParseInbound(v.Inner)
		if err != nil {
			t.Fatal(err)
		}
		return wire.SPI(in.SPI)
	}
	h.must(h.sa(association{spi: 1, src: me, dst: peer}))
	h.must(h.sa(association{spi: 2, src: me, dst: peer}))
	h.must(h.sa(association{spi: 3, src: me, dst: peer, soft: &wire.Lifetime{Allocations: 1}}))
	for i, want := range []wire.SPI{3, 3, 2} { // the second packet crosses the limit, and goes
		if got := spi(); got != want {
			t.Errorf("packet %d: SPI %v, want %v", i, got, want)
		}
	}
	for _, test := range []struct{ gone, want wire.SPI }{{2, 1}, {1, 3}} {
		h.must(h.sa(association{typ: wire.MsgDelete, spi: test.gone, src: me, dst: peer}))
		if got := spi(); got != test.want {
			t.Errorf("without %v: SPI %v, want %v", test.gone, got, test.want)
		}
	}
}
