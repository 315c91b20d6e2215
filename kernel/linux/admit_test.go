package linux_test

import (
	"bytes"
	"crypto/sha256"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// sealedIn is a tunnel's packet of the peer with an inner packet.
func (h *host) sealedIn(spi wire.SPI, seq uint32, o ipsec.Outer, inner []byte) []byte {
	h.t.Helper()
	o.Src, o.Dst = peer, me
	pkt, err := h.far.SealTunnel(nil, inner, &o, ipsec.Ports{}, ipsec.Sealing{SPI: uint32(spi), Seq: uint64(seq),
		IV: make([]byte, 16)})
	if err != nil {
		h.t.Fatal(err)
	}
	return pkt
}

// TestAdmit: a packet has to have come through the SAs that its policy asks for.
func TestAdmit(t *testing.T) {
	use := func(req []wire.IPsecRequest) []wire.IPsecRequest {
		req[0].Level = wire.KAMELevelUse
		return req
	}
	unique := func(req []wire.IPsecRequest) []wire.IPsecRequest {
		req[0].Level, req[0].ReqID = wire.KAMELevelUnique, 7
		return req
	}
	const bare, inTransport, inTunnel = 0, 1, 2
	for _, test := range []struct {
		name string
		req  []wire.IPsecRequest
		took int // the way of the packet
		want string
	}{
		{"transport", transport(protoESP), inTransport, ""},
		{"transport, but it came bare", transport(protoESP), bare, "XfrmInTmplMismatch"},
		{"transport, but it came by a tunnel", transport(protoESP), inTunnel, "XfrmInTmplMismatch"},
		{"AH, but it came by ESP", transport(protoAH), inTransport, "XfrmInTmplMismatch"},
		{"ESP and AH, but it came by ESP", append(transport(protoAH), transport(protoESP)...), inTransport,
			"XfrmInTmplMismatch"},
		{"another request id", unique(transport(protoESP)), inTransport, "XfrmInTmplMismatch"},
		{"transport if possible", use(transport(protoESP)), inTransport, ""},
		{"transport if possible, and it came bare", use(transport(protoESP)), bare, ""},
		{"transport if possible, but it came by a tunnel", use(transport(protoESP)), inTunnel, "XfrmInTmplMismatch"},
		{"tunnel", tunnel(protoESP, peer, me), inTunnel, ""},
		{"tunnel, but it came bare", tunnel(protoESP, peer, me), bare, "XfrmInTmplMismatch"},
		{"tunnel, but it came in transport mode", tunnel(protoESP, peer, me), inTransport, "XfrmInTmplMismatch"},
		{"tunnel from elsewhere", tunnel(protoESP, third, me), inTunnel, "XfrmInTmplMismatch"},
		{"tunnel to elsewhere", tunnel(protoESP, peer, third), inTunnel, "XfrmInTmplMismatch"},
		{"tunnel if possible", use(tunnel(protoESP, peer, me)), inTunnel, ""},
		{"tunnel if possible, and it came bare", use(tunnel(protoESP, peer, me)), bare, ""},
		{"tunnel from elsewhere if possible", use(tunnel(protoESP, third, me)), inTunnel, "XfrmInTmplMismatch"},
		{"nothing", nil, bare, ""},
		{"nothing, and it came in transport mode", nil, inTransport, ""},
		{"nothing, but it came by a tunnel", nil, inTunnel, "XfrmInTmplMismatch"},
	} {
		h := newHost(t, engine.Options{})
		h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{src: peer, dst: me, req: test.req}))
		h.must(h.sa(association{spi: 0x1000}))
		h.must(h.sa(association{spi: 0x2000, mode: wire.ModeTunnel}))
		pkt := [][]byte{plain, h.sealed(0x1000, 1), h.sealedIn(0x2000, 1, ipsec.Outer{}, plain)}[test.took]
		if v := h.inbound(pkt); v.Counter != test.want || (v.Kind == packet.Delivered) != (test.want == "") {
			t.Errorf("%s: %v %q, want %q", test.name, v.Kind, v.Counter, test.want)
		}
	}
}

// TestTrafficClass: what of the outer header's traffic class comes into the inner one's: that there is congestion, if
// the inner one takes part in that, unless the SA says no; the rest only if it says so.
func TestTrafficClass(t *testing.T) {
	const noECN, decap = wire.LinuxFlagNoECN, wire.LinuxFlagDecapDSCP
	for _, test := range []struct {
		flags              uint32
		inner, outer, want uint8
	}{
		{0, 0x28, 0x43, 0x28}, {0, 0x29, 0x43, 0x2b}, {0, 0x2a, 0x43, 0x2b}, {0, 0x2b, 0x41, 0x2b},
		{0, 0x2a, 0x41, 0x2a},
		{noECN, 0x2a, 0x43, 0x2a}, {decap, 0x2a, 0x43, 0x43}, {decap, 0x28, 0x43, 0x40}, {decap, 0x29, 0x42, 0x41},
		{noECN | decap, 0x2a, 0x43, 0x42},
	} {
		h := newHost(t, engine.Options{})
		h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{src: peer, dst: me, req: tunnel(protoESP, peer, me)}))
		h.must(h.sa(association{spi: 0x1000, mode: wire.ModeTunnel, flags: test.flags}))
		inner := datagram(peer, me)
		ip.SetTOS(inner, test.inner)
		pkt := h.sealedIn(0x1000, 1, ipsec.Outer{}, inner)
		ip.SetTOS(pkt, test.outer)
		v := h.inbound(pkt)
		if v.Kind != packet.Delivered {
			t.Fatalf("%v %q", v.Kind, v.Counter)
		}
		ip.SetTOS(inner, test.want)
		if diff := cmp.Diff(inner, v.Inner); diff != "" {
			t.Errorf("flags %#x, %#x in %#x: traffic class %#x, want %#x; -want +got:\n%s", test.flags, test.inner,
				test.outer, v.Inner[1], test.want, diff)
		}
	}
}

// TestReplayWindow: a number is taken once, and not if it is older than the window is wide, however far that has moved
// at once.
func TestReplayWindow(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.sa(association{spi: 0x1000, replay: 32}))
	for _, step := range []struct {
		seq  uint32
		take bool
	}{{1, true}, {2, true}, {4, true}, {4, false}, {2, false}, {3, true}, {3, false}, {35, true}, {4, false},
		{3, false}, {5, true}, {36, true}, {5, false},
		{67, true}, {36, false}, {35, false}, {37, true}, {99, true}, {68, true}, {67, false}, {300, true}, {269, true},
		{268, false}, {269, false}} {
		if v := h.inbound(h.sealed(0x1000, step.seq)); (v.Counter == "") != step.take {
			t.Errorf("number %d: %v %q", step.seq, v.Kind, v.Counter)
		}
	}
}

// TestIPCompThreshold: what is short, or would not become shorter, goes out as it is.
func TestIPCompThreshold(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: transport(protoComp)}))
	h.must(h.sa(association{satype: wire.SATypeIPComp, spi: 0x100, src: me, dst: peer}))
	var noise []byte
	for i := range 10 {
		s := sha256.Sum256([]byte{byte(i)})
		noise = append(noise, s[:]...)
	}
	for _, test := range []struct {
		name    string
		payload []byte
		want    bool
	}{
		{"89 bytes", make([]byte, 89-8), false}, {"90 bytes", make([]byte, 90-8), true}, {"noise", noise, false},
	} {
		pkt := append(datagram(me, peer)[:20], make([]byte, 8+len(test.payload))...)
		copy(pkt[28:], test.payload)
		pkt[3] = byte(len(pkt))
		pkt[2] = byte(len(pkt) >> 8)
		v := h.outbound(pkt)
		if v.Kind != packet.Transmitted || (v.Inner[9] == protoComp) != test.want || !test.want &&
			!bytes.Equal(v.Inner, pkt) {
			t.Errorf("%s: %v %q, protocol %d", test.name, v.Kind, v.Counter, v.Inner[9])
		}
	}
}

// TestIPCompTunnel: outside of a packet that became shorter is a header of the host's own.
func TestIPCompTunnel(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: tunnel(protoComp, me, peer)}))
	h.must(h.sa(association{satype: wire.SATypeIPComp, spi: 0x100, src: me, dst: peer, mode: wire.ModeTunnel}))
	inner := (&ip.Fields{Src: me, Dst: peer, Proto: 17, TTL: 9}).Make(make([]byte, 200))
	v := h.outbound(inner)
	if v.Kind != packet.Transmitted {
		t.Fatalf("%s: %s", v.Kind, v.Counter)
	}
	want := (&ip.Fields{Src: me, Dst: peer, Proto: protoComp, TTL: 64}).Make(v.Inner[20:])
	if d := cmp.Diff(want, v.Inner); d != "" {
		t.Errorf("outside (-want +got):\n%s", d)
	}
}

// TestClosedSocket: a socket that is closed is registered no more, nor promiscuous.
func TestClosedSocket(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: transport(protoESP)}))
	s := h.open()
	for _, msg := range [][]byte{h.bare(wire.MsgRegister, wire.SATypeESP), h.bare(wire.MsgXPromisc, 1)} {
		s.Send(msg, privileged)
	}
	s.Close()
	h.outbound(datagram(me, peer))
	if n := h.e.Status(0).SACount; n != 0 {
		t.Errorf("%d SAs: a packet has made a LARVAL one, though nobody is registered", n)
	}
	h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
	h.outbound(datagram(me, peer))
	if got := h.seqs(read(h.s), wire.MsgAcquire); len(got) != 1 {
		t.Errorf("%d ACQUIREs", len(got))
	}
}

// TestOpenBEET: the header inside is the host's own work, with the addresses of the SA's selector, which are none here.
func TestOpenBEET(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.sa(association{spi: 0x1000, mode: wire.ModeBEET}))
	d := h.d()
	b := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.KAMEMsgXSPDAdd})
	for _, end := range []wire.ExtType{wire.ExtAddressSrc, wire.ExtAddressDst} {
		b = d.AppendAddress(b, end, wire.Address{Proto: 255, Addr: netip.IPv4Unspecified()})
	}
	h.must(d.Finish(d.AppendPolicy(b, wire.Policy{Type: wire.KAMEPolicyIPsec, Direction: wire.LinuxDirForward,
		Requests: []wire.IPsecRequest{{Proto: protoESP, Mode: wire.ModeBEET, Level: wire.KAMELevelRequire}}})))
	v := h.inbound(h.sealed(0x1000, 1))
	if v.Kind != packet.Delivered {
		t.Fatalf("%s: %s", v.Kind, v.Counter)
	}
	none := netip.IPv4Unspecified()
	want := (&ip.Fields{Src: none, Dst: none, Proto: 17, TTL: 64}).Make(plain[20:])
	if d := cmp.Diff(want, v.Inner); d != "" {
		t.Errorf("inside (-want +got):\n%s", d)
	}
}

// TestSealBEET: outside is a header of the host's own, between the ends of the SA; inside is what the packet carried.
func TestSealBEET(t *testing.T) {
	h := newHost(t, engine.Options{})
	if errno := h.k.AddOutputPolicy(linux.OutputPolicy{Src: me, Dst: peer, Proto: protoESP,
		Mode: 4}); errno != wire.OK {
		t.Fatal(errno)
	}
	h.must(h.sa(association{spi: 0x2000, src: me, dst: peer, mode: wire.ModeBEET}))
	inner := datagram(me, peer)
	v := h.outbound(inner)
	if v.Kind != packet.Transmitted {
		t.Fatalf("%s: %s", v.Kind, v.Counter)
	}
	want := (&ip.Fields{Src: me, Dst: peer, Proto: protoESP, TTL: 64}).Make(v.Inner[20:])
	if d := cmp.Diff(want, v.Inner); d != "" {
		t.Errorf("outside (-want +got):\n%s", d)
	}
	plain, err := h.far.OpenESP(nil, v.Inner[20:], 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, next, ok := ipsec.Trailer(plain); !ok || next != 17 || !bytes.HasPrefix(plain, inner[20:]) {
		t.Errorf("inside: protocol %d, %x, want %x", next, plain, inner[20:])
	}
}
