package linux_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/kernel/linux"
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
	if err := h.k.LoadPolicy(strings.NewReader(file), "f"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		t    linux.Traffic
		want wire.Errno
	}{
		{"a datagram", linux.Traffic{Proto: udp, Src: me, Dst: peer, Len: 65000}, wire.OK},
		{"from the address that suits", linux.Traffic{Proto: udp, Dst: peer6}, wire.OK},
		{"from the unspecified address", linux.Traffic{Proto: udp, Src: netip.IPv4Unspecified(), Dst: peer}, wire.OK},
		{"to the host itself", linux.Traffic{Proto: udp, Dst: netip.MustParseAddr("127.0.0.5")}, wire.OK},
		{"to the host itself, IPv6", linux.Traffic{Proto: udp, Dst: netip.IPv6Loopback()}, wire.OK},
		{"to the unspecified address", linux.Traffic{Proto: udp, Dst: netip.IPv4Unspecified()}, wire.OK},
		{"to the unspecified address, IPv6", linux.Traffic{Proto: udp, Dst: netip.IPv6Unspecified()}, wire.OK},
		{"too long", linux.Traffic{Proto: udp, Src: me, Dst: peer, Len: 65001}, wire.EMSGSIZE},
		{"of less than nothing", linux.Traffic{Proto: udp, Src: me, Dst: peer, Len: -1}, wire.EMSGSIZE},
		{"of two families", linux.Traffic{Proto: udp, Src: me, Dst: peer6}, wire.EAFNOSUPPORT},
		{"to nowhere", linux.Traffic{Proto: udp, Src: me}, wire.EAFNOSUPPORT},
		{"of another protocol", linux.Traffic{Proto: sctp, Src: me, Dst: peer}, wire.EPROTONOSUPPORT},
		// The policies tell what is in the packets.
		{"TCP for the policy", linux.Traffic{Proto: tcp, Src: me, Dst: peer, SrcPort: 1000, DstPort: 80}, wire.EPERM},
		{"TCP from another port", linux.Traffic{Proto: tcp, Src: me, Dst: peer, SrcPort: 1001, DstPort: 80}, wire.EINPROGRESS},
		{"TCP to another port", linux.Traffic{Proto: tcp, Src: me, Dst: peer, SrcPort: 1000, DstPort: 81}, wire.EINPROGRESS},
		{"an echo request", linux.Traffic{Proto: icmp, Src: me, Dst: peer}, wire.EPERM},
		{"an echo request, IPv6", linux.Traffic{Proto: icmp6, Src: me6, Dst: peer6}, wire.EPERM},
	} {
		if got := h.k.Send(test.t); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// TestSendWithoutRoute: a host without an address of a family reaches nothing of it, neither by itself nor by a tunnel.
func TestSendWithoutRoute(t *testing.T) {
	me6, peer6 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	e, err := kernel.New("linux", engine.Options{Addrs: []netip.Addr{me6}})
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, e: e, k: e.Kernel().(*linux.Kernel)}
	h.s = h.open()
	h.must(h.policy(wire.LinuxMsgXSPDAdd, policy{out: true, src: me6, dst: peer6, req: tunnel(protoESP, netip.IPv4Unspecified(), peer)}))
	for name, packet := range map[string]linux.Traffic{
		"by itself":       {Proto: 17, Dst: peer},
		"by a tunnel":     {Proto: 17, Dst: peer6},
		"TCP by a tunnel": {Proto: 6, Dst: peer6},
	} {
		if got := h.k.Send(packet); got != wire.ENETUNREACH {
			t.Errorf("%s: %v, want ENETUNREACH", name, got)
		}
	}
}
