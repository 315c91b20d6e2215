package linux_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// dumped is the SPIs and states of all SAs, newest first.
func (h *host) dumped(typ wire.SAType, exts ...func([]byte) []byte) (all []wire.SA) {
	h.t.Helper()
	h.drain()
	msg := h.bare(wire.MsgDump, typ)
	for _, e := range exts {
		msg = e(msg)
	}
	h.send(h.d().Finish(msg))
	for _, m := range read(h.s) {
		if m[2] == h.d().ErrnoNumber(wire.ENOENT) {
			return nil
		}
		x, ok := h.d().Find(m, wire.ExtSA)
		if !ok {
			h.t.Fatalf("%s", h.d().Line(m))
		}
		v, _ := h.d().ParseSA(x.Raw)
		all = append(all, wire.SA{SPI: v.SPI, State: v.State})
	}
	return all
}

// TestUpdateMature: an UPDATE of an SA that has keys takes its lifetimes and its ports of NAT-T over, revives it, and
// leaves the rest. NAT-T itself can neither come nor go.
func TestUpdateMature(t *testing.T) {
	h := newHost(t, engine.Options{})
	plain := association{spi: 0x1000, soft: &wire.Lifetime{Allocations: 1}, hard: &wire.Lifetime{}}
	natt := association{spi: 0x2000, natt: wire.KAMENATTESP, sport: 4500, dport: 4501}
	h.must(h.sa(plain))
	h.must(h.sa(natt))
	for seq := range uint32(2) {
		h.inbound(h.sealed(0x1000, seq+1))
	}
	if diff := cmp.Diff([]wire.SA{{SPI: 0x2000, State: wire.StateMature}, {SPI: 0x1000, State: wire.StateDying}},
		h.dumped(0)); diff != "" {
		t.Errorf("before:\n%s", diff)
	}
	plain.typ, natt.typ, natt.sport, natt.dport = wire.MsgUpdate, wire.MsgUpdate, 5500, 5501
	plain.soft, plain.hard = &wire.Lifetime{AddTime: 7}, &wire.Lifetime{AddTime: 8}
	h.must(h.sa(plain))
	h.must(h.sa(natt))
	if diff := cmp.Diff([]wire.SA{{SPI: 0x2000, State: wire.StateMature}, {SPI: 0x1000, State: wire.StateMature}},
		h.dumped(0)); diff != "" {
		t.Errorf("after:\n%s", diff)
	}
	got := h.must(h.sa(association{typ: wire.MsgGet, spi: 0x2000}))
	for typ, want := range map[wire.ExtType]uint16{wire.KAMEExtXNATTSPort: 5500, wire.KAMEExtXNATTDPort: 5501} {
		x, _ := h.d().Find(got, typ)
		if v, err := h.d().ParseNATTPort(x.Raw); err != nil || v.Port != want {
			t.Errorf("port %d, want %d", v.Port, want)
		}
	}
	got = h.must(h.sa(association{typ: wire.MsgGet, spi: 0x1000}))
	for typ, want := range map[wire.ExtType]wire.Lifetime{wire.ExtLifetimeSoft: {AddTime: 7},
		wire.ExtLifetimeHard: {AddTime: 8}} {
		x, _ := h.d().Find(got, typ)
		if v, _ := h.d().ParseLifetime(x.Raw); v != want {
			t.Errorf("lifetime %v, want %v", v, want)
		}
	}
	for name, a := range map[string]association{
		"NAT-T comes": {spi: 0x1000, natt: wire.KAMENATTESP}, "NAT-T goes": {spi: 0x2000},
		"NAT-T of another type": {spi: 0x2000, natt: wire.KAMENATTNonIKE},
	} {
		a.typ = wire.MsgUpdate
		if got := h.errno(h.sa(a)); got != wire.EINVAL {
			t.Errorf("%s: %v, want EINVAL", name, got)
		}
	}
}

// TestNeedsKeys: the extensions for the keys have to be there, even for algorithms that have none.
func TestNeedsKeys(t *testing.T) {
	h := newHost(t, engine.Options{})
	if got := h.errno(h.keyed(0x1000, wire.EncNull, -1, 0, -1)); got != wire.EINVAL {
		t.Errorf("ESP: %v, want EINVAL", got)
	}
	ah := h.keyed(0x1000, 0, -1, wire.AuthNull, -1)
	ah[3] = byte(wire.SATypeAH)
	if got := h.errno(ah); got != wire.EINVAL {
		t.Errorf("AH: %v, want EINVAL", got)
	}
}

// TestAnswersToAcquire: an ADD takes the LARVAL SA away whose ACQUIRE it answers, by number, protocol and destination;
// an ACQUIRE of key management ends it, if it names an error and a number.
func TestAnswersToAcquire(t *testing.T) {
	larval := wire.SA{State: wire.StateLarval}
	acquire := func(h *host, seq wire.Seq, errno uint8) []byte {
		return h.d().Finish(h.d().AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAcquire, Seq: seq,
			Errno: errno}))
	}
	for _, test := range []struct {
		name string
		do   func(h *host, seq wire.Seq) []byte
		want []wire.SA
	}{
		{"ADD", func(h *host, seq wire.Seq) []byte {
			return h.sa(association{spi: 0x1000, src: third, dst: peer, mode: wire.ModeTunnel, seq: seq})
		}, []wire.SA{{SPI: 0x1000, State: wire.StateMature}}},
		{"ADD with another number", func(h *host, seq wire.Seq) []byte {
			return h.sa(association{spi: 0x1000, src: third, dst: peer, mode: wire.ModeTunnel, seq: seq + 1})
		}, []wire.SA{{SPI: 0x1000, State: wire.StateMature}, larval}},
		{"ADD for another destination", func(h *host, seq wire.Seq) []byte {
			return h.sa(association{spi: 0x1000, src: me, dst: third, seq: seq})
		}, []wire.SA{{SPI: 0x1000, State: wire.StateMature}, larval}},
		{"ADD of another protocol", func(h *host, seq wire.Seq) []byte {
			return h.sa(association{satype: wire.SATypeAH, spi: 0x1000, src: me, dst: peer, seq: seq})
		}, []wire.SA{{SPI: 0x1000, State: wire.StateMature}, larval}},
		{"ADD with what it asked for, but no number", func(h *host, _ wire.Seq) []byte {
			return h.sa(association{spi: 0x1000, src: me, dst: peer})
		}, []wire.SA{{SPI: 0x1000, State: wire.StateMature}}},
		{"an error", func(h *host, seq wire.Seq) []byte { return acquire(h, seq, 1) },
			[]wire.SA{{State: wire.StateDead}}},
		// Then there is no more to answer: an ADD with that number finds nothing to take away.
		{"an error, and an ADD", func(h *host, seq wire.Seq) []byte {
			h.send(acquire(h, seq, 1))
			return h.sa(association{spi: 0x1000, src: me, dst: peer, seq: seq})
		}, []wire.SA{{SPI: 0x1000, State: wire.StateMature}, {State: wire.StateDead}}},
		{"no error", func(h *host, seq wire.Seq) []byte { return acquire(h, seq, 0) }, []wire.SA{larval}},
		{"an error without a number", func(h *host, _ wire.Seq) []byte { return acquire(h, 0, 1) }, []wire.SA{larval}},
		{"an error with another number", func(h *host, seq wire.Seq) []byte { return acquire(h, seq+1, 1) },
			[]wire.SA{larval}},
	} {
		h := newHost(t, engine.Options{})
		h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
		h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: transport(protoESP)}))
		h.outbound(datagram(me, peer))
		seq := h.seqs(read(h.s), wire.MsgAcquire)
		h.send(test.do(h, wire.Seq(seq[0])))
		if diff := cmp.Diff(test.want, h.dumped(0)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// TestLarvalWithoutSPI: one that a GETSPI has left behind without an SPI is taken by the next one, but not once it is
// gone.
func TestLarvalWithoutSPI(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.sa(association{spi: 0x1000}))
	if got := h.errno(h.getSPI(0x1000)); got != wire.ENOENT {
		t.Fatal(got)
	}
	if got := h.errno(h.getSPI(0x1000)); got != wire.ENOENT {
		t.Fatal(got)
	}
	larval := wire.SA{State: wire.StateLarval}
	if diff := cmp.Diff([]wire.SA{larval, {SPI: 0x1000, State: wire.StateMature}}, h.dumped(0)); diff != "" {
		t.Errorf("after two GETSPIs in vain (-want +got):\n%s", diff)
	}
	h.must(h.bare(wire.MsgFlush, 0))
	h.drain()
	h.must(h.getSPI(0x2000))
	if diff := cmp.Diff([]wire.SA{{SPI: 0x2000, State: wire.StateLarval}}, h.dumped(0)); diff != "" {
		t.Errorf("after FLUSH and GETSPI (-want +got):\n%s", diff)
	}
}

// TestFilter: a DUMP shows the SAs of a family, and those whose addresses begin as the filter says.
func TestFilter(t *testing.T) {
	h := newHost(t, engine.Options{})
	for spi, ends := range map[wire.SPI][2]string{4: {"192.0.2.2", "192.0.2.1"}, 6: {"2001:db8::2", "2001:db8::1"},
		5: {"192.0.3.2", "198.51.100.1"}} {
		h.must(h.sa(association{spi: spi, src: netip.MustParseAddr(ends[0]), dst: netip.MustParseAddr(ends[1])}))
	}
	for _, test := range []struct {
		name string
		f    wire.Filter
		want []wire.SPI
	}{
		{"all", wire.Filter{}, []wire.SPI{4, 5, 6}},
		{"IPv4", wire.Filter{Family: 2}, []wire.SPI{4, 5}},
		{"IPv6", wire.Filter{Family: 10}, []wire.SPI{6}},
		{"another family", wire.Filter{Family: 99}, []wire.SPI{4, 5, 6}},
		{"source", wire.Filter{Src: [16]byte{192, 0, 2}, SrcPrefix: 24}, []wire.SPI{4}},
		{"source, a bit less", wire.Filter{Src: [16]byte{192, 0, 2}, SrcPrefix: 23}, []wire.SPI{4, 5}},
		{"destination", wire.Filter{Dst: [16]byte{198, 51, 100, 1}, DstPrefix: 32}, []wire.SPI{5}},
		{"nothing", wire.Filter{Dst: [16]byte{198, 51, 100, 2}, DstPrefix: 32}, nil},
	} {
		got := map[wire.SPI]bool{}
		for _, s := range h.dumped(0, func(b []byte) []byte { return h.d().AppendFilter(b, test.f) }) {
			got[s.SPI] = true
		}
		want := map[wire.SPI]bool{}
		for _, spi := range test.want {
			want[spi] = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	for _, f := range []wire.Filter{{SrcPrefix: 129}, {DstPrefix: 129}} {
		if got := h.errno(h.d().Finish(h.d().AppendFilter(h.bare(wire.MsgDump, 0), f))); got != wire.EINVAL {
			t.Errorf("prefixes of %d and %d bits: %v, want EINVAL", f.SrcPrefix, f.DstPrefix, got)
		}
	}
}

// TestSelector: an SA with a PROXY is for the flows from there, and one without a source for those from everywhere.
func TestSelector(t *testing.T) {
	h := newHost(t, engine.Options{})
	far := netip.MustParseAddr("198.51.100.9")
	for _, dst := range []netip.Addr{peer, third} {
		h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: dst, req: tunnel(protoESP, me, far)}))
	}
	add := func(spi wire.SPI, proxy string) {
		msg := h.sa(association{spi: spi, src: me, dst: far, mode: wire.ModeTunnel})
		msg = h.d().AppendAddress(msg, wire.ExtAddressProxy,
			wire.Address{PrefixLen: 29, Addr: netip.MustParseAddr(proxy)})
		h.must(h.d().Finish(msg))
	}
	add(0x1000, "203.0.113.0")
	if v := h.outbound(datagram(me, peer)); v.Counter != "XfrmOutNoStates" {
		t.Errorf("with an SA for others: %v %q", v.Kind, v.Counter)
	}
	add(0x2000, "192.0.2.7") // of which 29 bits count
	if v := h.outbound(datagram(me, peer)); v.Kind != packet.Transmitted {
		t.Errorf("with an SA for it: %v %q", v.Kind, v.Counter)
	}
	h = newHost(t, engine.Options{})
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: transport(protoESP)}))
	h.must(h.sa(association{spi: 0x1000, src: netip.IPv4Unspecified(), dst: peer}))
	if v := h.outbound(datagram(me, peer)); v.Kind != packet.Transmitted {
		t.Errorf("with an SA from everywhere: %v %q", v.Kind, v.Counter)
	}
	// What comes in through an SA has to be of its flows as well.
	in := newHost(t, engine.Options{})
	msg := in.sa(association{spi: 0x1000})
	in.must(in.d().Finish(in.d().AppendAddress(msg, wire.ExtAddressProxy, pfkey.Host(third))))
	if v := in.inbound(in.sealed(0x1000, 1)); v.Counter != "XfrmInStateMismatch" {
		t.Errorf("a packet of others: %v %q", v.Kind, v.Counter)
	}
}

// zeros is randomness that is none.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// TestLeastSPI: without a range in the request the least SPI is 256, those below being reserved.
func TestLeastSPI(t *testing.T) {
	h := newHost(t, engine.Options{Rand: zeros{}})
	d := h.d()
	b := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgGetSPI, SAType: wire.SATypeESP, PID: 1})
	b = d.AppendAddress(b, wire.ExtAddressSrc, pfkey.Host(peer))
	b = d.AppendAddress(b, wire.ExtAddressDst, pfkey.Host(me))
	x, ok := d.Find(h.must(d.Finish(b)), wire.ExtSA)
	if !ok {
		t.Fatal("no SA")
	}
	if sa, err := d.ParseSA(x.Raw); err != nil || sa.SPI != 256 {
		t.Errorf("SPI %d, want 256 (%v)", sa.SPI, err)
	}
}
