package openbsd_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/openbsd"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// twoHosts are me and the peer.
func twoHosts(t *testing.T) (near, far *host) {
	t.Helper()
	e, err := kernels.New("openbsd", engine.Options{Addrs: []netip.Addr{peer, peer6}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	far = newHost(t)
	far.e, far.k, far.c = e, e.Kernel().(*openbsd.Kernel), client(t, e)
	return newHost(t), far
}

// link has the second SA protect what the first one has protected (X_GRPSPIS).
func (h *host) link(first, second pfkey.SAID) {
	h.Helper()
	d := h.e.Dialect()
	b := h.message(wire.OpenBSDMsgXGrpSPIs, first.Type, 1)
	b = d.AppendSA(b, wire.SA{SPI: first.SPI, State: wire.StateMature})
	b = d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Addr: first.Dst.Addr})
	b = d.AppendSecondSA(b, wire.SA{SPI: second.SPI, State: wire.StateMature})
	b = d.AppendAddress(b, wire.OpenBSDExtXDst2, wire.Address{Addr: second.Dst.Addr})
	n, _ := d.SATypeNumber(second.Type)
	b = d.AppendFlowProtocol(b, wire.OpenBSDExtXSAType2, wire.FlowProtocol{Value: n})
	got := h.send(open(h.TB, h.e), b)
	if len(got) != 1 || got[0][2] != 0 {
		h.Fatalf("%x", got)
	}
}

// TestLinkedSAs has a packet compressed, then sealed, then signed by AH, and opened again by the other host: one flow
// and three SAs that are linked.
func TestLinkedSAs(t *testing.T) {
	near, far := twoHosts(t)
	comp := esp(me, peer, 0x100)
	comp.Type, comp.Auth, comp.AuthKey = wire.SATypeIPComp, 0, wire.Key{}
	comp.Encrypt, comp.EncryptKey = wire.CompDeflate, wire.Key{}
	seal := esp(me, peer, 0x1000)
	ah := esp(me, peer, 0x1001)
	ah.Type, ah.Encrypt, ah.EncryptKey = wire.SATypeAH, 0, wire.Key{}
	for _, h := range []*host{near, far} {
		if errno := h.k.SetSysctl("net.inet.ipcomp.enable", 1); errno != wire.OK {
			t.Fatal(errno)
		}
		for _, sa := range []pfkey.SA{comp, seal, ah} {
			h.add(sa)
		}
		h.link(comp.SAID, seal.SAID)
		h.link(seal.SAID, ah.SAID)
	}
	near.flows("flow ipcomp out from 192.0.2.1 to 192.0.2.2 type require")
	far.flows("flow ipcomp in from 192.0.2.1 to 192.0.2.2 type use")
	pkt := udp(t, me, peer, 1000)
	v := near.out(pkt)
	if fate(v) != "transmitted" || len(v.Inner) > 200 || v.Inner[9] != ip.ProtoAH || v.Inner[20] != ip.ProtoESP {
		t.Fatalf("%s: %d bytes, %x", fate(v), len(v.Inner), v.Inner[:min(len(v.Inner), 24)])
	}
	if got := far.in(v.Inner); fate(got) != "delivered" || !bytes.Equal(got.Inner, pkt) {
		t.Errorf("%s: %x", fate(got), got.Inner)
	}
	short := udp(t, me, peer, 2) // which compression would lengthen
	v = near.out(short)
	if got := far.in(v.Inner); fate(got) != "delivered" || !bytes.Equal(got.Inner, short) {
		t.Errorf("short: %s: %x", fate(got), got.Inner)
	}
	near.atRest()
	far.atRest()
}

// TestUDPEncapsulation has ESP go in UDP, in both modes and families, to the port that the SA names or the knob.
func TestUDPEncapsulation(t *testing.T) {
	for _, port := range []uint16{0, 4501} {
		for _, mode := range []uint32{0, wire.OpenBSDFlagXTunnel} {
			for _, ends := range [][2]netip.Addr{{me, peer}, {me6, peer6}} {
				near, far := twoHosts(t)
				sa := esp(ends[0], ends[1], 0x1000)
				sa.Flags = wire.OpenBSDFlagXUDPEncap | wire.SAFlags(mode)
				if port != 0 {
					sa.Extra = near.e.Dialect().AppendNATTPort(nil, wire.OpenBSDExtXUDPEncap, wire.NATTPort{Port: port})
				}
				near.add(sa)
				far.add(sa)
				near.flows("flow out from any to " + ends[1].String())
				pkt := udp(t, ends[0], ends[1], 30)
				v := near.out(pkt)
				off := 20
				if ends[0].Is6() {
					off = 40
				}
				want := port
				if port == 0 {
					want = 4500
				}
				if fate(v) != "transmitted" || binary.BigEndian.Uint16(v.Inner[off:]) != 4500 ||
					binary.BigEndian.Uint16(v.Inner[off+2:]) != want {
					t.Fatalf("%v %v %v: %s %x", port, mode, ends, fate(v), v.Inner[:min(len(v.Inner), 64)])
				}
				if port != 0 { // where the far host listens to that port
					far.k.SetSysctl("net.inet.esp.udpencap_port", int64(port))
				}
				if mode == 0 && ends[0].Is4() { // the checksum, which a NAT may have spoilt, says that there is none
					pkt[off+6], pkt[off+7] = 0, 0
				}
				if got := far.in(v.Inner); fate(got) != "delivered" || !bytes.Equal(got.Inner, pkt) {
					t.Errorf("%v %v %v: %s: %x", port, mode, ends, fate(got), got.Inner)
				}
			}
		}
	}
}

// TestExtendedNumbers has numbers of 64 bits go over the edge of their lower half.
func TestExtendedNumbers(t *testing.T) {
	h := newHost(t)
	sa := esp(peer, me, 0x1000)
	sa.Flags, sa.Replay = wire.OpenBSDFlagXESN, 64
	h.add(sa)
	inner := udp(t, peer, me, 10)
	const edge = 1 << 32
	for _, tt := range []struct {
		seq  uint64
		want string
	}{
		{edge - 10, "delivered"}, {edge - 5, "delivered"}, {edge - 5, "replay-early espstat.esps_replay"},
		{edge + 3, "delivered"}, {edge - 3, "delivered"}, {edge - 3, "replay-early espstat.esps_replay"},
		{edge + 3, "replay-early espstat.esps_replay"}, {edge + 5000, "delivered"},
		{5001, "bad-icv espstat.esps_badauth"}, // with the upper half that it would have had
		{2*edge + 1, "delivered"},              // far below the window can only be in the next half
	} {
		if got := fate(h.in(h.sealed(sa, inner, tt.seq))); got != tt.want {
			t.Errorf("%d: %s, want %s", tt.seq, got, tt.want)
		}
	}
}

// TestSignatures has TCP segments signed and checked between the ends of SAs, and nowhere else.
func TestSignatures(t *testing.T) {
	h := newHost(t)
	key := ipsec.NewKey([]byte("secret"))
	for i, ends := range [][2]netip.Addr{{me, peer}, {peer, me}, {me6, peer6}, {peer6, me6}} {
		sa := pfkey.SA{AuthKey: pfkey.NewKey([]byte("secret"))}
		sa.SAID = pfkey.SAID{Type: wire.SATypeTCPSig, SPI: wire.SPI(0x1000 + i), Src: pfkey.Host(ends[0]),
			Dst: pfkey.Host(ends[1])}
		h.add(sa)
	}
	syn := func(src, dst netip.Addr) []byte {
		pkt, err := ip.SYN(netip.AddrPortFrom(src, 1790), netip.AddrPortFrom(dst, 179), 7, 65535, []byte{2, 4, 5, 0xb4})
		if err != nil {
			t.Fatal(err)
		}
		return pkt
	}
	sign := func(pkt []byte, key ipsec.Key) []byte {
		pkt, err := ipsec.SignTCP(pkt, len(pkt)-24, key)
		if err != nil {
			t.Fatal(err)
		}
		return pkt
	}
	for _, ends := range [][2]netip.Addr{{me, peer}, {me6, peer6}} {
		plain := syn(ends[0], ends[1])
		v := h.out(plain)
		if v.Kind != packet.Transmitted || len(v.Inner) != len(plain)+20 {
			t.Fatalf("%s, %d bytes", fate(v), len(v.Inner))
		}
		if err := ipsec.VerifyTCP(v.Inner, len(plain)-24, key); err != nil {
			t.Error(err)
		}
		back := syn(ends[1], ends[0])
		for _, tt := range []struct {
			name string
			pkt  []byte
			want string
		}{
			{"signed", sign(back, key), "delivered"},
			{"with another key", sign(back, ipsec.NewKey([]byte("other"))), "bad-icv tcpstat.tcps_rcvbadsig"},
			{"unsigned", back, "bad-icv tcpstat.tcps_rcvbadsig"},
		} {
			if got := fate(h.in(tt.pkt)); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
		}
	}
	other := syn(me, netip.MustParseAddr("192.0.2.3"))
	if v := h.out(other); !bytes.Equal(v.Inner, other) {
		t.Errorf("to another peer: %s, %x", fate(v), v.Inner)
	}
	h.atRest()
}

// TestLayers: neither many SAs that are linked nor packets in packets keep the kernel busy.
func TestLayers(t *testing.T) {
	h := newHost(t)
	var sas []pfkey.SA
	for i := range 40 {
		sas = append(sas, tunnel(me, peer, wire.SPI(0x1000+i)))
		h.add(sas[i])
	}
	for i := range sas[1:] {
		h.link(sas[i].SAID, sas[i+1].SAID)
	}
	h.flows("flow out from 192.0.2.1 to 192.0.2.2")
	if got := fate(h.out(udp(t, me, peer, 10))); got != "transmitted" {
		t.Errorf("with the last SA, which is the newest: %s", got)
	}
	for _, sa := range sas[1:] { // the oldest is what is left for the flow to find
		if err := h.c.Delete(context.Background(), sa.SAID); err != nil {
			t.Fatal(err)
		}
	}
	for i, sa := range sas[1:] {
		sa.Src = pfkey.Host(netip.MustParseAddr("192.0.2.9"))
		sa.Dst = pfkey.Host(netip.MustParseAddr("192.0.2.8"))
		h.add(sa)
		if prev := sas[i]; i > 0 {
			prev.Dst = sa.Dst
			h.link(prev.SAID, sa.SAID)
		} else {
			h.link(prev.SAID, sa.SAID)
		}
	}
	if got := fate(h.out(udp(t, me, peer, 10))); got != "too-many-layers ipsecstat.ipsec_odrops" {
		t.Errorf("through 40 SAs: %s", got)
	}
	if got := h.k.Output(0, udp(t, me, peer, 10)); got.Errno != wire.EMSGSIZE {
		t.Errorf("through 40 SAs: %v", got.Errno)
	}
	in := tunnel(peer, me, 0x2000)
	h.add(in)
	pkt := udp(t, peer, me, 10)
	for seq := range uint64(40) {
		pkt = h.sealed(in, pkt, seq+2)
	}
	if got := h.in(pkt); fate(got) != "too-many-layers" {
		t.Errorf("40 tunnels in each other: %s", fate(got))
	}
	h.atRest()
}
