package openbsd_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/openbsd"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// authOnly is an SA of AH.
func authOnly(src, dst netip.Addr, spi wire.SPI) pfkey.SA {
	sa := esp(src, dst, spi)
	sa.Type, sa.Encrypt, sa.EncryptKey = wire.SATypeAH, 0, wire.Key{}
	return sa
}

// comp is an SA of IPComp.
func comp(src, dst netip.Addr, cpi wire.SPI) pfkey.SA {
	sa := esp(src, dst, cpi)
	sa.Type, sa.Auth, sa.AuthKey = wire.SATypeIPComp, 0, wire.Key{}
	sa.Encrypt, sa.EncryptKey = wire.CompDeflate, wire.Key{}
	return sa
}

// TestHeadersTooLong: nothing is sealed behind headers that are longer than the packet.
func TestHeadersTooLong(t *testing.T) {
	h := newHost(t)
	h.flows("flow out from 2001:db8::1 to 2001:db8::2")
	h.add(esp(me6, peer6, 0x1000))
	const nextAt, optionsLenAt = 6, 41 // of hop-by-hop options
	pkt := changed(udp(t, me6, peer6, 10), func(b []byte) { b[nextAt], b[optionsLenAt] = 0, 200 })
	if got := h.k.Output(0, pkt); got.Errno != wire.EINVAL || got.Via != "" {
		t.Errorf("%v, %q", got.Errno, got.Via)
	}
}

// fragment is a packet that says of itself that it is the first of several.
func fragment(pkt []byte) []byte {
	return changed(pkt, func(b []byte) { b[6] |= 0x20; ip.SetLength(b) })
}

// TestOuterTTL: a tunnel's header has the TTL of the host.
func TestOuterTTL(t *testing.T) {
	h := newHost(t)
	h.flows("flow out from 192.0.2.1 to 192.0.2.2")
	h.add(tunnel(me, peer, 0x1000))
	const at = 8
	pkt := changed(udp(t, me, peer, 1), func(b []byte) { b[at] = 7; ip.SetLength(b) })
	if got := h.k.Output(0, pkt).Packet[at]; got != 64 {
		t.Errorf("%d", got)
	}
}

// TestOpensAH opens what others have signed, with numbers of 32 and of 64 bits.
func TestOpensAH(t *testing.T) {
	for _, esn := range []bool{false, true} {
		h := newHost(t)
		sa := authOnly(peer, me, 0x1000)
		if sa.Replay = 64; esn {
			sa.Flags = wire.OpenBSDFlagXESN
		}
		h.add(sa)
		suite := ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.HMACSHA1, ICV: 12, AuthKey: ipsec.NewKey(sa.AuthKey.Data),
			ESN: esn}
		far, err := suite.New()
		if err != nil {
			t.Fatal(err)
		}
		pkt := udp(t, peer, me, 10)
		for seq := range uint64(3) {
			signed, err := far.SealTransport(nil, pkt, ipsec.Ports{},
				ipsec.Sealing{SPI: 0x1000, Seq: seq + 1, Align: 4})
			if err != nil {
				t.Fatal(err)
			}
			if got := h.in(signed); fate(got) != "delivered" || !bytes.Equal(got.Inner, pkt) {
				t.Errorf("ESN %v, number %d: %s", esn, seq+1, fate(got))
			}
		}
	}
}

// TestBytesOfBadPackets: a packet that is malformed does not count on its SA.
func TestBytesOfBadPackets(t *testing.T) {
	h := newHost(t)
	h.k.SetSysctl("net.inet.ipcomp.enable", 1)
	h.add(authOnly(peer, me, 0x1000))
	h.add(comp(peer, me, 0x100))
	for name, c := range map[string]struct {
		proto   uint8
		payload []byte
		want    string
	}{
		"AH of a wrong length": {ip.ProtoAH,
			append([]byte{17, 9, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 1}, make([]byte, 60)...),
			"bad-length ahstat.ahs_badauthl"},
		"IPComp that is none": {ip.ProtoComp, []byte{17, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff},
			"bad-compression ipsecstat.ipsec_noxform"},
	} {
		f := ip.Fields{Src: peer, Dst: me, Proto: c.proto, TTL: 64}
		if got := fate(h.in(f.Make(c.payload))); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	for _, sa := range h.e.Status(0).SAs {
		if sa.Bytes != 0 || sa.Packets != 1 {
			t.Errorf("%s: %d bytes, %d packets", sa.Type, sa.Bytes, sa.Packets)
		}
	}
}

// TestBadPacketsInOrder: of a packet that has two faults, which one counts.
func TestBadPacketsInOrder(t *testing.T) {
	h := newHost(t)
	d := h.e.Dialect()
	b := h.message(wire.MsgGetSPI, wire.SATypeESP, 1)
	b = d.AppendAddress(b, wire.ExtAddressSrc, wire.Address{Addr: peer})
	b = d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Addr: me})
	h.send(open(t, h.e), d.AppendSPIRange(b, wire.SPIRange{Min: 0x1000, Max: 0x1000}))
	inUDP := wrap(t, netip.AddrPortFrom(peer, 4500), netip.AddrPortFrom(me, 4500), append([]byte{0, 0, 0x10, 0},
		make([]byte, 40)...))
	for name, c := range map[string]struct {
		pkt  []byte
		want string
	}{
		"a fragment with a wrong checksum": {changed(fragment(udp(t, peer, me, 9)), func(b []byte) { b[10]++ }),
			"bad-checksum"},
		"LARVAL, in UDP": {inUDP, "larval-dropped espstat.esps_invalid"},
	} {
		if got := fate(h.in(c.pkt)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestOrderOfFlows: flows of IPv4 are listed before those of IPv6.
func TestOrderOfFlows(t *testing.T) {
	h := newHost(t)
	h.flows("flow out from 2001:db8::1 to 2001:db8::2\nflow out from 192.0.2.1 to 192.0.2.2")
	msgs, _, _ := h.k.SysctlDump("spd", 0, 0)
	if len(msgs) != 2 || len(msgs[0]) >= len(msgs[1]) {
		t.Errorf("%d flows, the first not of IPv4", len(msgs))
	}
}

// TestWrongFlows: what is not X_ADDFLOW adds no flow, and the error names the message.
func TestWrongFlows(t *testing.T) {
	h := newHost(t)
	flush := h.e.Dialect().Finish(h.message(wire.MsgFlush, wire.SATypeESP, 1))
	err := h.k.AddFlows([][]byte{flush})
	want := engine.PolicyError{Index: 0, Template: -1, Why: "openbsd refuses it: EINVAL"}
	if got, ok := err.(*engine.PolicyError); !ok || *got != want {
		t.Errorf("%#v, want %#v", err, want)
	}
}

// TestForbiddenBeforeLarval: of an SA that has no keys yet, and whose protocol is forbidden, the latter is told.
func TestForbiddenBeforeLarval(t *testing.T) {
	h := newHost(t)
	h.flows("flow out from 192.0.2.1 to 192.0.2.2")
	first := esp(me, peer, 0x1000)
	h.add(first)
	spi, err := h.c.GetSPI(t.Context(), pfkey.GetSPIParams{Type: wire.SATypeAH, Src: pfkey.Host(me),
		Dst: pfkey.Host(peer), Min: 0x2000, Max: 0x2fff, Seq: pfkey.NoAcquire})
	if err != nil {
		t.Fatal(err)
	}
	h.link(first.SAID, authOnly(me, peer, spi).SAID)
	h.k.SetSysctl("net.inet.ah.enable", 0)
	if got := h.k.Output(0, udp(t, me, peer, 1)); got.Errno != wire.EHOSTUNREACH {
		t.Errorf("%v", got.Errno)
	}
}

// TestPortsOfSuite: between which ports an SA has its packets go in UDP.
func TestPortsOfSuite(t *testing.T) {
	h := newHost(t)
	sa := esp(me, peer, 0x1000)
	sa.Flags = wire.OpenBSDFlagXUDPEncap
	_, _, got, err := openbsd.Suite(h.e.Dialect(), &sa)
	if want := (ipsec.Ports{Src: 4500, Dst: 4500}); got != want || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestInputInDomain: a packet meets the SAs of the routing domain that it comes in at, and no others.
func TestInputInDomain(t *testing.T) {
	h := newHost(t)
	h.k.AddRDomains(1)
	if errno := h.k.EnterRDomain(root.PID, 1); errno != wire.OK {
		t.Fatal(errno)
	}
	there := &host{t, h.e, h.k, client(t, h.e)} // its socket lives in the second domain
	sa := esp(peer, me, 0x1000)
	there.add(sa)
	pkt := there.sealed(sa, udp(t, peer, me, 10), 1)
	for domain, via := range []string{"", engine.ViaUpper} {
		if got := h.k.Input(domain, pkt); got.Via != via {
			t.Errorf("domain %d: %q, want %q", domain, got.Via, via)
		}
	}
}
