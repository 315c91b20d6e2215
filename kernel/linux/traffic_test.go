package linux_test

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestSend: what a program's system call returns.
func TestSend(t *testing.T) {
	const tcp, udp, icmp, icmp6, sctp = 6, 17, 1, 58, 132
	me6, peer6 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	h := newHost(t, engine.Options{})
	const file = `
spdadd 192.0.2.1[1000] 192.0.2.2[80] tcp -P out discard;
spdadd 192.0.2.1 192.0.2.2 icmp 8,0 -P out discard;
spdadd 2001:db8::1 2001:db8::2 icmp6 128,0 -P out discard;
`
	if err := kernels.LoadPolicy(h.e, strings.NewReader(file), "f"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		t    linux.Traffic
		want wire.Errno
	}{
		{"a datagram", linux.Traffic{Proto: udp, Src: me, Dst: peer, Payload: make([]byte, 65000)}, wire.OK},
		{"from the address that suits", linux.Traffic{Proto: udp, Dst: peer6}, wire.OK},
		{"from the unspecified address", linux.Traffic{Proto: udp, Src: netip.IPv4Unspecified(), Dst: peer}, wire.OK},
		{"to the host itself", linux.Traffic{Proto: udp, Dst: netip.MustParseAddr("127.0.0.5")}, wire.OK},
		{"to the host itself, IPv6", linux.Traffic{Proto: udp, Dst: netip.IPv6Loopback()}, wire.OK},
		{"to the unspecified address", linux.Traffic{Proto: udp, Dst: netip.IPv4Unspecified()}, wire.OK},
		{"to the unspecified address, IPv6", linux.Traffic{Proto: udp, Dst: netip.IPv6Unspecified()}, wire.OK},
		{"too long", linux.Traffic{Proto: udp, Src: me, Dst: peer, Payload: make([]byte, 65001)}, wire.EMSGSIZE},
		{"of two families", linux.Traffic{Proto: udp, Src: me, Dst: peer6}, wire.EAFNOSUPPORT},
		{"too long, and to nowhere", linux.Traffic{Proto: udp, Payload: make([]byte, 65001)}, wire.EMSGSIZE},
		{"to nowhere from anywhere", linux.Traffic{Proto: udp}, wire.EAFNOSUPPORT},
		{"to nowhere", linux.Traffic{Proto: udp, Src: me}, wire.EAFNOSUPPORT},
		{"of another protocol", linux.Traffic{Proto: sctp, Src: me, Dst: peer}, wire.EPROTONOSUPPORT},
		// The policies tell what is in the packets.
		{"TCP for the policy", linux.Traffic{Proto: tcp, Src: me, Dst: peer, SrcPort: 1000, DstPort: 80}, wire.EPERM},
		{"TCP from another port", linux.Traffic{Proto: tcp, Src: me, Dst: peer, SrcPort: 1001, DstPort: 80},
			wire.EINPROGRESS},
		{"TCP to another port", linux.Traffic{Proto: tcp, Src: me, Dst: peer, SrcPort: 1000, DstPort: 81},
			wire.EINPROGRESS},
		{"an echo request", linux.Traffic{Proto: icmp, Src: me, Dst: peer}, wire.EPERM},
		{"an echo request, IPv6", linux.Traffic{Proto: icmp6, Src: me6, Dst: peer6}, wire.EPERM},
	} {
		if got := h.k.Send(test.t); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// TestConnectLooks: a connection looks for its route again as long as keys are missing, and each look counts and holds
// the policy.
func TestConnectLooks(t *testing.T) {
	const udp, tcp = 17, 6
	me6, peer6 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	for _, test := range []struct {
		name     string
		t        linux.Traffic
		optional bool
		want     uint64
	}{
		{"UDP", linux.Traffic{Proto: udp, Dst: peer}, false, 1},
		{"TCP from a port", linux.Traffic{Proto: tcp, Dst: peer, SrcPort: 9}, false, 3},
		{"TCP from an address", linux.Traffic{Proto: tcp, Src: me, Dst: peer}, false, 3},
		{"TCP from any address and port", linux.Traffic{Proto: tcp, Dst: peer}, false, 4},
		{"TCP from the unspecified address", linux.Traffic{Proto: tcp, Src: netip.IPv4Unspecified(), Dst: peer}, false,
			4},
		{"TCP over IPv6", linux.Traffic{Proto: tcp, Dst: peer6}, false, 3},
		{"TCP without keys that are needed", linux.Traffic{Proto: tcp, Dst: peer}, true, 0},
		{"TCP without a policy", linux.Traffic{Proto: tcp, Dst: third}, false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t, engine.Options{})
			p := policy{out: true, src: me, dst: peer, req: transport(protoESP)}
			if test.t.Dst.Is6() {
				p.src, p.dst = me6, peer6
			}
			if test.optional {
				p.req[0].Level = wire.KAMELevelUse
			}
			h.must(h.policy(wire.KAMEMsgXSPDAdd, p))
			references := func() uint64 {
				hdr, err := h.d().Header(h.must(h.spdGet(1)))
				if err != nil {
					t.Fatal(err)
				}
				return uint64(hdr.Reserved)
			}
			before := references()
			h.k.Send(test.t)
			if got := h.k.Counters()["XfrmOutNoStates"]; got != test.want {
				t.Errorf("XfrmOutNoStates %d, want %d", got, test.want)
			}
			held := test.want
			if test.optional {
				held = 1 // by the one route that is good
			}
			if got := references() - before; got != held {
				t.Errorf("%d routes hold the policy, want %d", got, held)
			}
		})
	}
}

// TestSendToItself: between the host's own addresses IPv4 knows no policies, and IPv6 does both ways.
func TestSendToItself(t *testing.T) {
	const udp = 17
	lo4, lo6 := netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()
	for _, test := range []struct {
		name   string
		policy string
		dst    netip.Addr
		want   wire.Errno
		in     uint64 // packets that the policy for those that come in has stopped
	}{
		{"IPv4, out", "spdadd 0.0.0.0/0 0.0.0.0/0 any -P out discard;", lo4, wire.OK, 0},
		{"IPv4, in", "spdadd 0.0.0.0/0 0.0.0.0/0 any -P in discard;", lo4, wire.OK, 0},
		{"IPv6, out", "spdadd ::/0 ::/0 any -P out discard;", lo6, wire.EPERM, 0},
		{"IPv6, in", "spdadd ::/0 ::/0 any -P in discard;", lo6, wire.OK, 1},
		{"IPv6, another address, in", "spdadd ::/0 ::/0 any -P in discard;", netip.MustParseAddr("2001:db8::1"),
			wire.OK, 1},
	} {
		h := newHost(t, engine.Options{})
		if err := kernels.LoadPolicy(h.e, strings.NewReader(test.policy), "f"); err != nil {
			t.Fatal(err)
		}
		if got := h.k.Send(linux.Traffic{Proto: udp, Src: test.dst, Dst: test.dst, DstPort: 9}); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
		if got := h.k.Counters()["XfrmInPolBlock"]; got != test.in {
			t.Errorf("%s: %d stopped, want %d", test.name, got, test.in)
		}
		// What comes from the network is not trusted to be from the host: IP refuses such addresses, or else the policy
		// is asked.
		forged := udpPacket(netip.AddrPortFrom(test.dst, 1), netip.AddrPortFrom(test.dst, 9), nil)
		want := packet.BadAddress
		if test.dst.Is6() && !test.dst.IsLoopback() {
			want = packet.PolicyDiscard
		}
		if v := h.inbound(forged); v.Reason != want {
			t.Errorf("%s: forged: %v %v, want %v", test.name, v.Kind, v.Reason, want)
		}
	}
}

// TestFirstPacketOfTCP: its options are those that Linux sends, because an SA counts their bytes.
func TestFirstPacketOfTCP(t *testing.T) {
	for dst, want := range map[netip.Addr]string{
		peer: "123400500000000000000000a002faf0 0000 0000 020405b4 0402 080a0000000100000000 01030307",
		netip.MustParseAddr(
			"2001:db8::2"): "123400500000000000000000a002faf0 0000 0000 020405a0 0402 080a0000000100000000 01030307",
	} {
		h := newHost(t, engine.Options{})
		var sent []byte
		h.e.Ledger().Watch(func(_ *packet.Packet, v packet.Verdict) { sent = v.Inner })
		if got := h.k.Send(linux.Traffic{Proto: 6, Dst: dst, SrcPort: 0x1234, DstPort: 80}); got != wire.EINPROGRESS {
			t.Errorf("%v: %v", dst, got)
		}
		const headerLen, checksumAt = 40, 16
		tcp := sent[len(sent)-headerLen:]
		clear(tcp[checksumAt : checksumAt+2])
		if got := hex.EncodeToString(tcp); got != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%v: %s", dst, got)
		}
	}
}

// TestSendWithoutRoute: a host without an address of a family reaches nothing of it, neither by itself nor by a tunnel.
func TestSendWithoutRoute(t *testing.T) {
	me6, peer6 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	e, err := kernels.New("linux", engine.Options{Addrs: []netip.Addr{me6}})
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, e: e, k: e.Kernel().(*linux.Kernel)}
	h.s = h.open()
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me6, dst: peer6,
		req: tunnel(protoESP, netip.IPv4Unspecified(), peer)}))
	for name, pkt := range map[string]linux.Traffic{
		"by itself":       {Proto: 17, Dst: peer},
		"by a tunnel":     {Proto: 17, Dst: peer6},
		"TCP by a tunnel": {Proto: 6, Dst: peer6},
	} {
		if got := h.k.Send(pkt); got != wire.ENETUNREACH {
			t.Errorf("%s: %v, want ENETUNREACH", name, got)
		}
	}
}
