package linux_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// newPeer is the host at the other end.
func newPeer(t testing.TB) *host {
	t.Helper()
	e, err := kernels.New("linux", engine.Options{Addrs: []netip.Addr{peer, netip.MustParseAddr("2001:db8::2")}})
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, e: e, k: e.Kernel().(*linux.Kernel)}
	h.s = h.open()
	return h
}

// TestTwoHosts sends packets from one host to the other in every way in which they can be protected.
func TestTwoHosts(t *testing.T) {
	me6, peer6 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	esp := association{spi: 0x1000, replay: 32}
	ah := association{satype: wire.SATypeAH, spi: 0x2000, replay: 32}
	comp := association{satype: wire.SATypeIPComp, spi: 0x300}
	with := func(a association, f func(*association)) association {
		f(&a)
		return a
	}
	tunnelled := func(a association) association {
		return with(a, func(a *association) { a.mode = wire.ModeTunnel })
	}
	natt := func(typ uint8) association {
		return with(esp, func(a *association) { a.natt, a.sport, a.dport = typ, 4500, 4500 })
	}
	for _, test := range []struct {
		name     string
		src, dst netip.Addr // of the packet
		outer    bool       // the SAs are between me and peer, whatever the packet's addresses
		sas      []association
		reqs     []wire.IPsecRequest
		proto    uint8 // of what is sent
		encap    int
	}{
		{name: "esp", src: me, dst: peer, sas: []association{esp}, reqs: transport(protoESP), proto: protoESP},
		{name: "ah", src: me, dst: peer, sas: []association{ah}, reqs: transport(protoAH), proto: protoAH},
		{name: "ipcomp", src: me, dst: peer, sas: []association{comp}, reqs: transport(protoComp), proto: protoComp},
		{name: "esp6", src: me6, dst: peer6, sas: []association{esp}, reqs: transport(protoESP), proto: protoESP},
		{name: "ah6", src: me6, dst: peer6, sas: []association{ah}, reqs: transport(protoAH), proto: protoAH},
		{name: "ipcomp6", src: me6, dst: peer6, sas: []association{comp}, reqs: transport(protoComp), proto: protoComp},
		{name: "ipcomp, esp, ah", src: me, dst: peer, sas: []association{comp, esp, ah},
			reqs: append(append(transport(protoComp), transport(protoESP)...), transport(protoAH)...), proto: protoAH},
		{name: "esp tunnel", src: me, dst: peer, sas: []association{tunnelled(esp)}, reqs: tunnel(protoESP, me, peer),
			proto: protoESP},
		{name: "ah tunnel", src: me, dst: peer, sas: []association{tunnelled(ah)}, reqs: tunnel(protoAH, me, peer),
			proto: protoAH},
		{name: "ipcomp tunnel", src: me, dst: peer, sas: []association{tunnelled(comp)},
			reqs: tunnel(protoComp, me, peer), proto: protoComp},
		{name: "esp tunnel, ah", src: me, dst: peer, sas: []association{tunnelled(esp), ah},
			reqs: append(tunnel(protoESP, me, peer), transport(protoAH)...), proto: protoAH},
		{name: "tunnel from the unspecified address", src: me, dst: peer, sas: []association{tunnelled(esp)},
			reqs: tunnel(protoESP, netip.IPv4Unspecified(), peer), proto: protoESP},
		{name: "esp in udp", src: me, dst: peer, sas: []association{natt(wire.KAMENATTESP)}, reqs: transport(protoESP),
			proto: 17, encap: 2},
		{name: "esp6 in udp", src: me6, dst: peer6, sas: []association{natt(wire.KAMENATTESP)},
			reqs: transport(protoESP), proto: 17, encap: 2},
		{name: "esp6 in udp, non-ike", src: me6, dst: peer6, sas: []association{natt(wire.KAMENATTNonIKE)},
			reqs: transport(protoESP), proto: 17, encap: 1},
		{name: "esp in udp, non-ike", src: me, dst: peer, sas: []association{natt(wire.KAMENATTNonIKE)},
			reqs: transport(protoESP), proto: 17, encap: 1},
		{name: "esp tunnel in udp", src: me, dst: peer, sas: []association{tunnelled(natt(wire.KAMENATTESP))},
			reqs: tunnel(protoESP, me, peer), proto: 17, encap: 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			near, far := newHost(t, engine.Options{}), newPeer(t)
			if test.encap != 0 {
				if errno := far.k.Encap(netip.AddrPortFrom(test.dst, 4500), test.encap); errno != wire.OK {
					t.Fatal(errno)
				}
			}
			for _, h := range []*host{near, far} {
				for _, a := range test.sas {
					a.src, a.dst = test.src, test.dst
					h.must(h.sa(a))
				}
				h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: h == near, src: test.src, dst: test.dst,
					req: test.reqs}))
			}
			pkt := datagram(test.src, test.dst)
			if test.encap != 0 {
				// The policy is asked about the outer datagram as well, which is why the sockets of daemons have one of
				// their own.
				if v := far.inbound(near.outbound(pkt).Inner); v.Counter != "XfrmInTmplMismatch" {
					t.Errorf("in UDP, which nothing protects: %v %q", v.Kind, v.Counter)
				}
				b := far.d().AppendHeader(nil, wire.Header{Version: 2, Type: wire.KAMEMsgXSPDAdd, PID: 1})
				b = far.d().AppendPolicy(b, wire.Policy{Type: wire.KAMEPolicyNone, Direction: wire.KAMEDirIn})
				// not between hosts, and the first of its kind: it is taken though it is younger
				bits := uint8(test.src.BitLen()) - 1
				b = far.d().AppendAddress(b, wire.ExtAddressSrc, wire.Address{Proto: 17, PrefixLen: bits,
					Addr: test.src})
				b = far.d().AppendAddress(b, wire.ExtAddressDst, wire.Address{Proto: 17, PrefixLen: bits,
					Addr: test.dst, Port: 4500})
				far.must(far.d().Finish(b))
			}
			for i := range 3 {
				v := near.outbound(pkt)
				if v.Kind != packet.Transmitted {
					t.Fatalf("%d: %v %q", i, v.Kind, v.Counter)
				}
				if next := v.Inner[9]; test.src.Is4() && next != test.proto {
					t.Errorf("%d: protocol %d on the wire, want %d", i, next, test.proto)
				}
				got := far.inbound(v.Inner)
				if got.Kind != packet.Delivered {
					t.Fatalf("%d: %v %q", i, got.Kind, got.Counter)
				}
				if diff := cmp.Diff(pkt, got.Inner); diff != "" {
					t.Errorf("%d: what comes out (-sent +delivered):\n%s", i, diff)
				}
				if test.sas[0].replay == 0 {
					continue
				}
				if again := far.inbound(v.Inner); again.Counter != "XfrmInStateSeqError" {
					t.Errorf("%d: replayed: %v %q", i, again.Kind, again.Counter)
				}
			}
			// The same without protection is not what the policy wants.
			if v := far.inbound(pkt); v.Counter != "XfrmInTmplMismatch" {
				t.Errorf("unprotected: %v %q", v.Kind, v.Counter)
			}
			atRest(t, near.e)
			atRest(t, far.e)
		})
	}
}

func TestInboundDrops(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.sa(association{spi: 0x1000, replay: 4}))
	h.must(h.sa(association{spi: 0x2000, mode: wire.ModeTunnel}))
	h.must(h.sa(association{spi: 0x3000, natt: wire.KAMENATTESP, sport: 4500, dport: 4500}))
	broken := h.sealed(0x1000, 9)
	broken[len(broken)-1] ^= 1
	inUDP := func(spi wire.SPI) []byte {
		return udpPacket(netip.AddrPortFrom(peer, 4500), netip.AddrPortFrom(me, 4500), h.sealed(spi, 1)[20:])
	}
	inner, err := h.far.SealTunnel(nil, plain, &ipsec.Outer{Src: peer, Dst: me}, ipsec.Ports{},
		ipsec.Sealing{SPI: 0x2000, Seq: 1, IV: make([]byte, 16)})
	if err != nil {
		t.Fatal(err)
	}
	fragment := append([]byte(nil), h.sealed(0x1000, 1)...)
	binary.BigEndian.PutUint16(fragment[6:], 0x2000)
	fragment[10], fragment[11] = 0, 0
	binary.BigEndian.PutUint16(fragment[10:], ^ip.Checksum(0, fragment[:20]))
	for _, test := range []struct {
		name    string
		pkt     []byte
		counter string
		reason  packet.Reason
	}{
		{"good", h.sealed(0x1000, 20), "", packet.NoReason},
		{"too old", h.sealed(0x1000, 16), "XfrmInStateSeqError", packet.Replayed},
		{"just not too old", h.sealed(0x1000, 17), "", packet.NoReason},
		{"seen", h.sealed(0x1000, 20), "XfrmInStateSeqError", packet.Replayed},
		{"number 0", h.sealed(0x1000, 0), "XfrmInStateSeqError", packet.Replayed},
		{"wrong ICV", h.sealedAs(0x1000, 30, broken), "XfrmInStateProtoError", packet.BadICV},
		{"unknown SPI", h.sealed(0x9999, 1), "XfrmInNoStates", packet.NoSA},
		{"not in UDP", h.sealed(0x3000, 1), "XfrmInStateMismatch", packet.EncapMismatch},
		{"in UDP", inUDP(0x3000), "", packet.NoReason},
		{"in UDP though it should not", inUDP(0x1000), "XfrmInStateMismatch", packet.EncapMismatch},
		{"tunnel without a policy", inner, "XfrmInNoPols", packet.PolicyMismatch},
		{"not a tunnel's packet", h.sealed(0x2000, 2), "XfrmInStateModeError", packet.BadMode},
		{"fragment", fragment, "", packet.Fragment},
		{"keepalive", udpPacket(netip.AddrPortFrom(peer, 4500), netip.AddrPortFrom(me, 4500), []byte{0xff}), "",
			packet.Keepalive},
		{"IKE", udpPacket(netip.AddrPortFrom(peer, 4500), netip.AddrPortFrom(me, 4500), make([]byte, 40)), "",
			packet.NoReason},
		{"plain", plain, "", packet.NoReason},
		{"nothing", nil, "", packet.BadHeader},
		{"cut", h.sealed(0x1000, 40)[:30], "IpExtInTruncatedPkts", packet.Truncated},
	} {
		if v := h.inbound(test.pkt); v.Counter != test.counter || v.Reason != test.reason {
			t.Errorf("%s: %v %v %q, want %v %q", test.name, v.Kind, v.Reason, v.Counter, test.reason, test.counter)
		}
	}
	if got := h.k.Counters()["XfrmInStateSeqError"]; got != 3 {
		t.Errorf("XfrmInStateSeqError is %d, want 3", got)
	}
	if got := h.e.Status(0).Counters["XfrmInNoStates"]; got != 1 {
		t.Errorf("status: XfrmInNoStates is %d, want 1", got)
	}
	atRest(t, h.e)
}

// sealedAs is a packet with another number, and the broken ICV of one.
func (h *host) sealedAs(spi wire.SPI, seq uint32, broken []byte) []byte {
	pkt := h.sealed(spi, seq)
	copy(pkt[len(pkt)-12:], broken[len(broken)-12:])
	return pkt
}

// TestAcquireOnce: key management is asked once for packets that need the same SA.
func TestAcquireOnce(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: transport(protoESP)}))
	for range 3 {
		if v := h.outbound(datagram(me, peer)); v.Counter != "XfrmOutNoStates" || v.Reason != packet.NoSA {
			t.Errorf("%v %v %q", v.Kind, v.Reason, v.Counter)
		}
	}
	got := read(h.s)
	if len(got) != 1 || wire.MsgType(got[0][1]) != wire.MsgAcquire {
		t.Fatalf("%d messages, want one ACQUIRE", len(got))
	}
	hdr, _ := h.d().Header(got[0])
	if st := h.e.Status(0); len(st.Acquires) != 1 || st.Acquires[0].Seq != uint32(hdr.Seq) || st.SACount != 1 {
		t.Errorf("status %+v", st.Acquires)
	}
	// The ADD that answers it takes the LARVAL SA's place.
	h.must(h.sa(association{spi: 0x77, src: me, dst: peer, seq: hdr.Seq, mode: wire.ModeTransport}))
	if st := h.e.Status(0); len(st.Acquires) != 0 || st.SACount != 1 {
		t.Errorf("after the answer: %d SAs, acquires %+v", st.SACount, st.Acquires)
	}
	if v := h.outbound(datagram(me, peer)); v.Kind != packet.Transmitted {
		t.Errorf("%v %q", v.Kind, v.Counter)
	}
}
