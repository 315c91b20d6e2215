package openbsd_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// message is one without extensions.
func (h *host) message(typ wire.MsgType, satype wire.SAType, seq wire.Seq) []byte {
	return h.e.Dialect().AppendHeader(nil, wire.Header{Version: wire.Version, Type: typ, SAType: satype, Seq: seq})
}

// send sends a message, and returns what comes for it: all that the socket has received.
func (h *host) send(s pfkey.Socket, msg []byte) [][]byte {
	h.Helper()
	received(s)
	if errno := s.Send(h.e.Dialect().Finish(msg), root); errno != wire.OK {
		h.Fatalf("%s: %v", h.e.Dialect().Line(msg), errno)
	}
	return received(s)
}

// askPolicy asks for the flow that led to the ACQUIRE of a number.
func (h *host) askPolicy(s pfkey.Socket, seq wire.Seq) []byte {
	h.Helper()
	d := h.e.Dialect()
	got := h.send(s, d.AppendWord(h.message(wire.OpenBSDMsgXAskPolicy, 0, 77), wire.OpenBSDExtXPolicy,
		wire.Word{Value: uint32(seq)}))
	if len(got) != 1 {
		h.Fatalf("%d answers", len(got))
	}
	return got[0]
}

// TestNegotiation goes the way of iked(8): a packet for which a flow wants an SA has the kernel ask for one; key
// management asks for the flow by the number of that, and adds SAs with the flow's identities.
func TestNegotiation(t *testing.T) {
	h := newHost(t)
	h.flows("flow esp from 10.0.0.0/8 to 10.1.0.0/16 local 192.0.2.1 peer 192.0.2.2 " +
		"srcid here.example dstid there.example")
	d := h.e.Dialect()
	s := open(t, h.e)
	h.send(s, h.message(wire.MsgRegister, wire.SATypeESP, 1))
	pkt := udp(t, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.1.0.1"), 10)
	if got := fate(h.out(pkt)); got != "no-sa" {
		t.Fatal(got)
	}
	asked := received(s)
	if len(asked) != 1 {
		t.Fatalf("%d messages", len(asked))
	}
	header, _ := d.Header(asked[0])
	var ends [2]netip.Addr
	var names [2]string
	for i := range 2 {
		x, _ := d.Find(asked[0], []wire.ExtType{wire.ExtAddressSrc, wire.ExtAddressDst}[i])
		a, err := d.ParseAddress(x.Raw)
		if err != nil {
			t.Fatal(err)
		}
		x, _ = d.Find(asked[0], []wire.ExtType{wire.ExtIdentitySrc, wire.ExtIdentityDst}[i])
		id, err := d.ParseIdentity(x.Raw)
		if err != nil {
			t.Fatal(err)
		}
		ends[i], names[i] = a.Addr, id.Name
	}
	if header.Type != wire.MsgAcquire || ends != [2]netip.Addr{me, peer} ||
		names != [2]string{"here.example", "there.example"} {
		t.Errorf("%s", d.Line(asked[0]))
	}
	want := "X_ASKPOLICY unspec seq=77 pid=0 srcmask=255.0.0.0 dstmask=255.255.0.0 flowtype=0,out srcflow=10.0.0.0 " +
		"dstflow=10.1.0.0"
	answer := h.askPolicy(s, header.Seq)
	x, _ := d.Find(answer, wire.OpenBSDExtXPolicy)
	if w, _ := d.ParseWord(x.Raw); w.Value != uint32(header.Seq) {
		t.Errorf("%s", d.Line(answer))
	}
	var nets []string
	for _, typ := range []wire.ExtType{wire.OpenBSDExtXSrcFlow, wire.OpenBSDExtXSrcMask, wire.OpenBSDExtXDstFlow,
		wire.OpenBSDExtXDstMask} {
		x, _ := d.Find(answer, typ)
		a, _ := d.ParseAddress(x.Raw)
		nets = append(nets, a.Addr.String())
	}
	if diff := cmp.Diff([]string{"10.0.0.0", "255.0.0.0", "10.1.0.0", "255.255.0.0"}, nets); diff != "" {
		t.Errorf("%s, want %s", d.Line(answer), want)
	}

	plain := tunnel(me, peer, 0x1000)
	h.add(plain) // without identities it is not for this flow
	if got := fate(h.out(pkt)); got != "no-sa" {
		t.Errorf("with an SA of nobody: %s", got)
	}
	named := func(sa pfkey.SA, src, dst string) pfkey.SA {
		sa.Extra = d.AppendIdentity(nil, wire.ExtIdentitySrc, wire.Identity{Type: wire.IdentFQDN, Name: src})
		sa.Extra = d.AppendIdentity(sa.Extra, wire.ExtIdentityDst, wire.Identity{Type: wire.IdentFQDN, Name: dst})
		return sa
	}
	h.add(named(tunnel(me, peer, 0x1001), "here.example", "other.example"))
	if got := fate(h.out(pkt)); got != "no-sa" {
		t.Errorf("with an SA of another peer: %s", got)
	}
	h.add(named(tunnel(me, peer, 0x1002), "here.example", "there.example"))
	v := h.out(pkt)
	if got := fate(v); got != "transmitted" || len(v.Inner) < 24 || v.Inner[23] != 2 {
		t.Errorf("with the SA asked for: %s", got)
	}
	// What comes back must come through the SA of that peer.
	in := named(tunnel(peer, me, 0x2002), "here.example", "there.example")
	h.add(in)
	other := tunnel(peer, me, 0x2001)
	h.add(other)
	back := udp(t, netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.0.0.1"), 10)
	if got := fate(h.in(h.sealed(in, back, 2))); got != "delivered" {
		t.Error(got)
	}
	if got := fate(h.in(h.sealed(other, back, 2))); got != "policy-mismatch" {
		t.Errorf("through the SA of nobody: %s", got)
	}
	h.atRest()
}

// TestAskedOnce: as long as key management has not answered, the kernel asks once for a flow, 30 seconds long; what it
// has asked for goes with the flow.
func TestAskedOnce(t *testing.T) {
	h := newHost(t)
	h.flows("flow out from 192.0.2.1 to 192.0.2.2")
	s := open(t, h.e)
	h.send(s, h.message(wire.MsgRegister, wire.SATypeESP, 1))
	pkt := udp(t, me, peer, 10)
	asked := func() (seqs []wire.Seq) {
		h.out(pkt)
		for _, msg := range received(s) {
			x, _ := h.e.Dialect().Header(msg)
			seqs = append(seqs, x.Seq)
		}
		return seqs
	}
	first := asked()
	if len(first) != 1 || len(asked()) != 0 {
		t.Fatalf("asked %d times", len(first))
	}
	h.e.Advance(h.e.Now().Add(29 * time.Second))
	if again := asked(); len(again) != 0 {
		t.Errorf("asked again after 29 seconds: %v", again)
	}
	h.e.Advance(h.e.Now().Add(2 * time.Second))
	if got := h.askPolicy(s, first[0]); got[2] == 0 {
		t.Error("what was asked for is still there after 31 seconds")
	}
	second := asked()
	if len(second) != 1 || second[0] == first[0] {
		t.Fatalf("after 31 seconds: %v", second)
	}
	gone := h.addFlow(wire.OpenBSDFlowRequire, netip.PrefixFrom(me, 32), netip.PrefixFrom(peer, 32))
	gone[1] = 13
	h.send(s, gone)
	if got := h.askPolicy(s, second[0]); got[2] == 0 {
		t.Error("what was asked for is still there without the flow")
	}
	if got := fate(h.out(pkt)); got != "transmitted" {
		t.Error(got)
	}
}

// TestAcquireBounds: packets cannot have the kernel keep any number of requests for SAs.
func TestAcquireBounds(t *testing.T) {
	h := newHost(t)
	h.flows("flow out from any to 10.0.0.0/8 peer 0.0.0.0 type acquire")
	s := open(t, h.e)
	h.send(s, h.message(wire.MsgRegister, wire.SATypeESP, 1))
	const bound = 1 << 16
	asked := 0
	for i := range bound + 100 {
		dst := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if got := h.k.Output(0, udp(t, me, dst, 1)); got.Errno != wire.OK {
			t.Fatalf("%d: %v", i, got.Errno)
		}
		if i%16 == 0 || i > bound {
			asked += len(received(s))
		}
	}
	if asked != bound {
		t.Errorf("asked %d times, want %d", asked, bound)
	}
}
