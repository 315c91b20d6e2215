package linux_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// moving is the pair of requests of a MIGRATE that moves SAs of one kind from two ends to two others.
func moving(q wire.IPsecRequest, src, dst, newSrc, newDst netip.Addr) []wire.IPsecRequest {
	from, to := q, q
	from.Src, from.Dst = wire.Sockaddr{Addr: src}, wire.Sockaddr{Addr: dst}
	to.Src, to.Dst = wire.Sockaddr{Addr: newSrc}, wire.Sockaddr{Addr: newDst}
	return []wire.IPsecRequest{from, to}
}

// migrate is the MIGRATE of a policy.
func (h *host) migrate(p policy, pair []wire.IPsecRequest) []byte {
	p.req = pair
	return h.policy(wire.LinuxMsgXMigrate, p)
}

// errno sends a message and returns the error in its answer.
func (h *host) errno(msg []byte) wire.Errno {
	h.t.Helper()
	e, _ := h.d().Errno(h.do(msg)[2])
	return e
}

var esp = wire.IPsecRequest{Proto: protoESP, Mode: wire.ModeTunnel, Level: wire.KAMELevelRequire}

// TestMigrateKeeps: an SA that moves is what it was, but for its ends.
func TestMigrateKeeps(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: tunnel(protoESP, me, peer)}))
	sa := association{spi: 0x1000, src: me, dst: peer, mode: wire.ModeTunnel, replay: 8,
		flags: wire.LinuxFlagNoECN | wire.LinuxFlagDecapDSCP,
		soft:  &wire.Lifetime{Bytes: 1000, AddTime: 100, UseTime: 10}, hard: &wire.Lifetime{Allocations: 70,
			Bytes:   2000,
			AddTime: 200, UseTime: 20},
		natt: wire.KAMENATTESP, sport: 4500, dport: 4501}
	// With a PROXY, so that the SA's selector is not the one it has otherwise.
	h.must(h.d().Finish(h.d().AppendAddress(h.sa(sa), wire.ExtAddressProxy,
		wire.Address{PrefixLen: 24, Addr: netip.MustParseAddr("198.51.100.0")})))
	sa.typ = wire.MsgGet
	before := h.d().Line(h.must(h.sa(sa)))
	h.must(h.migrate(policy{out: true, src: me, dst: peer}, moving(esp, me, peer, me, third)))
	sa.dst = third
	after := h.d().Line(h.must(h.sa(sa)))
	if diff := cmp.Diff(strings.Replace(before, "dst="+peer.String(), "dst="+third.String(), 1), after); diff != "" {
		t.Errorf("the SA before and after (-before +after):\n%s", diff)
	}
	sa.dst = peer
	if got := h.errno(h.sa(sa)); got != wire.ESRCH {
		t.Errorf("GET of the SA where it was: %v", got)
	}
}

// TestMigrateSource moves only the far end of an SA for packets that come in, which keeps its place under SPI,
// destination and protocol, and the number of the message that made it, which a new mapping of NAT-T bears.
func TestMigrateSource(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{src: peer, dst: me, req: tunnel(protoESP, peer, me)}))
	h.must(h.sa(association{spi: 0x1000, mode: wire.ModeTunnel, natt: wire.KAMENATTESP, sport: 4500, dport: 4500,
		seq: 77}))
	h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
	h.must(h.migrate(policy{src: peer, dst: me}, moving(esp, peer, me, third, me)))
	pkt, err := h.far.SealTunnel(nil, plain, &ipsec.Outer{Src: peer, Dst: me}, ipsec.Ports{Src: 5000, Dst: 4500},
		ipsec.Sealing{SPI: 0x1000, Seq: 1, IV: make([]byte, 16)})
	if err != nil {
		t.Fatal(err)
	}
	if v := h.inbound(pkt); v.Counter != "XfrmInTmplMismatch" && v.Kind != packet.Delivered {
		t.Errorf("%v %q", v.Kind, v.Counter)
	}
	got := read(h.s)
	if diff := cmp.Diff([]int{77}, h.seqs(got, wire.KAMEMsgXNATTNewMapping)); diff != "" {
		t.Fatal(diff)
	}
	if line := h.d().Line(got[0]); !strings.Contains(line, "src="+third.String()) {
		t.Errorf("the source is not the new one: %s", line)
	}
}

// TestMigrateIPComp moves an SA without keys.
func TestMigrateIPComp(t *testing.T) {
	h := newHost(t, engine.Options{})
	comp := wire.IPsecRequest{Proto: protoComp, Mode: wire.ModeTunnel, Level: wire.KAMELevelRequire}
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: tunnel(protoComp, me, peer)}))
	h.must(h.sa(association{satype: wire.SATypeIPComp, spi: 0x100, src: me, dst: peer,
		mode: wire.ModeTunnel}))
	h.must(h.migrate(policy{out: true, src: me, dst: peer}, moving(comp, me, peer, me, third)))
	h.must(h.sa(association{typ: wire.MsgGet, satype: wire.SATypeIPComp, spi: 0x100, src: me, dst: third}))
}

// TestMigrateToAnotherFamily: the flows for which an SA is stay those of the family that it was made for.
func TestMigrateToAnotherFamily(t *testing.T) {
	h := newHost(t, engine.Options{})
	me6, peer6 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	p := policy{out: true, src: me6, dst: peer6, req: tunnel(protoESP, me6, peer6)}
	h.must(h.policy(wire.KAMEMsgXSPDAdd, p))
	h.must(h.sa(association{spi: 0x1000, src: me6, dst: peer6, mode: wire.ModeTunnel}))
	h.must(h.migrate(p, moving(esp, me6, peer6, me, peer)))
	v := h.outbound(datagram(me6, peer6))
	if v.Kind != packet.Transmitted || v.Inner[0]>>4 != 4 || v.Inner[9] != protoESP {
		t.Errorf("an IPv6 packet for the tunnel that is IPv4 now: %v %q", v.Kind, v.Counter)
	}
}

// TestMigrateSaysKMAddress: the addresses of key management come back as they came.
func TestMigrateSaysKMAddress(t *testing.T) {
	h := newHost(t, engine.Options{})
	p := policy{out: true, src: me, dst: peer, req: tunnel(protoESP, me, peer)}
	h.must(h.policy(wire.KAMEMsgXSPDAdd, p))
	want := wire.KMAddress{Reserved: 0x01020304, Local: wire.Sockaddr{Addr: me}, Remote: wire.Sockaddr{Addr: third}}
	got := h.must(h.d().Finish(h.d().AppendKMAddress(h.migrate(p, moving(esp, me, peer, me, third)), want)))
	x, ok := h.d().Find(got, wire.LinuxExtXKMAddress)
	if !ok {
		t.Fatalf("none in %s", h.d().Line(got))
	}
	v, err := h.d().ParseKMAddress(x.Raw)
	if err != nil || v.Reserved != want.Reserved || v.Local.Addr != me || v.Remote.Addr != third {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestMigrateRefuses lists what is wrong with the second request of a pair.
func TestMigrateRefuses(t *testing.T) {
	for name, spoil := range map[string]func(msg []byte, second int){
		"it is longer than the rest":   func(msg []byte, at int) { msg[at] = 200 },
		"it is shorter than it can be": func(msg []byte, at int) { msg[at] = 8 },
		"its ends are of two families": func(msg []byte, at int) { msg[at+16] = 10 },
		"its mode is another one":      func(msg []byte, at int) { msg[at+4] = uint8(wire.ModeTransport) },
		"the mode of both is none":     func(msg []byte, at int) { msg[at+4], msg[at-48+4] = 9, 9 },
	} {
		h := newHost(t, engine.Options{})
		p := policy{out: true, src: me, dst: peer, req: tunnel(protoESP, me, peer)}
		h.must(h.policy(wire.KAMEMsgXSPDAdd, p))
		msg := h.migrate(p, moving(esp, me, peer, me, third))
		x, _ := h.d().Find(msg, wire.KAMEExtXPolicy)
		spoil(msg, x.Offset+16+48)
		if got := h.errno(msg); got != wire.EINVAL {
			t.Errorf("%s: %v, want EINVAL", name, got)
		}
	}
}
