package linux_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestLayers: a packet may be protected six times over.
func TestLayers(t *testing.T) {
	h := newHost(t, engine.Options{})
	inner := datagram(peer, me)
	pkt := inner
	for spi := wire.SPI(1); spi <= 7; spi++ {
		h.must(h.sa(association{spi: spi}))
		var err error
		if pkt, err = h.far.SealTransport(nil, pkt, ipsec.Ports{}, ipsec.Sealing{SPI: uint32(spi), Seq: 1,
			IV: make([]byte, 16)}); err != nil {
			t.Fatal(err)
		}
		v := h.inbound(append([]byte(nil), pkt...))
		switch {
		case spi <= 6 && (v.Kind != packet.Delivered || cmp.Diff(inner, v.Inner) != ""):
			t.Errorf("%d layers: %v %q", spi, v.Kind, v.Counter)
		case spi > 6 && (v.Kind != packet.Dropped || v.Counter != "XfrmInBufferError" ||
			v.Reason != packet.TooManyLayers):
			t.Errorf("%d layers: %v %q", spi, v.Kind, v.Counter)
		}
	}
	atRest(t, h.e)
}

// sum is the Internet checksum of a datagram with its pseudo-header, 0xffff if it is right (RFC 1071).
func sum(pkt []byte) uint16 {
	addrs, off := pkt[12:20], 20
	if pkt[0]>>4 == 6 {
		addrs, off = pkt[8:40], 40
	}
	all := append(append([]byte{0, 17}, binary.BigEndian.AppendUint16(nil, uint16(len(pkt)-off))...), addrs...)
	all = append(all, pkt[off:]...)
	if len(all)%2 != 0 {
		all = append(all, 0)
	}
	var n uint64
	for ; len(all) > 0; all = all[2:] {
		n += uint64(binary.BigEndian.Uint16(all))
	}
	for n > 0xffff {
		n = n&0xffff + n>>16
	}
	return uint16(n)
}

// TestUDPChecksum: a datagram bears its checksum, 0xffff in place of 0, which would say that there is none (RFC 768,
// RFC 8200 section 8.1).
func TestUDPChecksum(t *testing.T) {
	for _, ends := range [][2]string{{"192.0.2.1:500", "192.0.2.2:4500"}, {"[2001:db8::1]:500", "[2001:db8::2]:4500"}} {
		src, dst := netip.MustParseAddrPort(ends[0]), netip.MustParseAddrPort(ends[1])
		off := 20 + 6
		if src.Addr().Is6() {
			off = 40 + 6
		}
		pkt := udpPacket(src, dst, []byte{0, 0, 7})
		if got := sum(pkt); got != 0xffff || binary.BigEndian.Uint16(pkt[off:]) == 0 {
			t.Errorf("%v: checksum %x, the sum is %x", src, pkt[off:off+2], got)
		}
		// A payload that makes up for all the rest leaves nothing to the checksum.
		pkt = udpPacket(src, dst, append(append([]byte(nil), pkt[off:off+2]...), 7))
		if got := binary.BigEndian.Uint16(pkt[off:]); got != 0xffff || sum(pkt) != 0xffff {
			t.Errorf("%v: checksum %x in place of 0", src, got)
		}
	}
}

// TestShortDatagramToNATT: what is too short for ESP is for the program at the port, however short it is.
func TestShortDatagramToNATT(t *testing.T) {
	h := newHost(t, engine.Options{})
	for n := range 9 {
		pkt := udpPacket(netip.AddrPortFrom(peer, 4500), netip.AddrPortFrom(me, 4500),
			[]byte{1, 2, 3, 4, 5, 6, 7, 8}[:n])
		if v := h.inbound(pkt); v.Kind != packet.Delivered {
			t.Errorf("%d bytes: %v %v", n, v.Kind, v.Reason)
		}
	}
	for kind, want := range map[int]wire.Errno{-1: wire.ENOPROTOOPT, 0: wire.OK, 1: wire.OK, 2: wire.OK, 3: wire.OK,
		4: wire.ENOPROTOOPT} {
		if got := h.k.Encap(netip.AddrPortFrom(me, 4500), kind); got != want {
			t.Errorf("a socket of kind %d: %v, want %v", kind, got, want)
		}
	}
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{src: peer, dst: me, req: transport(protoESP)}))
	ike := udpPacket(netip.AddrPortFrom(peer, 4500), netip.AddrPortFrom(me, 4500), make([]byte, 40))
	fresh := newHost(t, engine.Options{})
	fresh.must(fresh.policy(wire.KAMEMsgXSPDAdd, policy{src: peer, dst: me, req: transport(protoESP)}))
	if v := fresh.inbound(ike); v.Kind != packet.Delivered {
		t.Errorf("IKE to the socket of a daemon, whatever the policy: %v %v", v.Kind, v.Reason)
	}
	if v := h.inbound(ike); v.Counter != "XfrmInTmplMismatch" {
		t.Errorf("IKE to a socket without a policy of its own: %v %v", v.Kind, v.Reason)
	}
	h = newHost(t, engine.Options{})
	h.k.Encap(netip.AddrPortFrom(me, 4500), 3) // L2TP
	if v := h.inbound(udpPacket(netip.AddrPortFrom(peer, 4500), netip.AddrPortFrom(me, 4500),
		[]byte("looks like ESP"))); v.Kind != packet.Delivered {
		t.Errorf("a datagram for L2TP: %v %v", v.Kind, v.Reason)
	}
}

// TestNullAuthentication: AH without an algorithm protects nothing. A header that has room for an ICV is not one of it.
func TestNullAuthentication(t *testing.T) {
	h := newHost(t, engine.Options{})
	d := h.d()
	b := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAdd, SAType: wire.SATypeAH, PID: 1})
	b = d.AppendSA(b, wire.SA{SPI: 0x1000, Auth: wire.AuthNull})
	b = d.AppendAddress(b, wire.ExtAddressSrc, pfkey.Host(peer))
	b = d.AppendAddress(b, wire.ExtAddressDst, pfkey.Host(me))
	h.must(d.Finish(d.AppendKey(b, wire.ExtKeyAuth, wire.Key{})))
	ah := suite
	ah.Proto, ah.Cipher, ah.Key = ipsec.AH, nil, ipsec.Key{}
	far, err := ah.New()
	if err != nil {
		t.Fatal(err)
	}
	pkt, err := far.SealTransport(nil, plain, ipsec.Ports{}, ipsec.Sealing{SPI: 0x1000, Seq: 1, Align: 8})
	if err != nil {
		t.Fatal(err)
	}
	if v := h.inbound(pkt); v.Counter != "XfrmInStateProtoError" {
		t.Errorf("with an ICV: %v %q", v.Kind, v.Counter)
	}
	ah.MAC, ah.AuthKey = ipsec.NullMAC, ipsec.Key{}
	if far, err = ah.New(); err != nil {
		t.Fatal(err)
	}
	for align, want := range map[int]packet.Reason{4: packet.BadLength, 8: packet.NoReason} {
		if pkt, err = far.SealTransport(nil, plain, ipsec.Ports{}, ipsec.Sealing{SPI: 0x1000, Seq: 1,
			Align: align}); err != nil {
			t.Fatal(err)
		}
		pkt[len(pkt)-1]++ // nobody notices
		if v := h.inbound(pkt); v.Reason != want {
			t.Errorf("aligned to %d: %v %v %q, want %v", align, v.Kind, v.Reason, v.Counter, want)
		}
	}
}

// TestLimitsAtOnce: where a packet meets both limits, only the hard one counts. The packet is refused, and the SA goes.
func TestLimitsAtOnce(t *testing.T) {
	two := &wire.Lifetime{Allocations: 2}
	for name, out := range map[string]bool{"in": false, "out": true} {
		h := newHost(t, engine.Options{})
		a := association{spi: 0x1000, soft: two, hard: two}
		want := "XfrmInStateExpired"
		if out {
			a.src, a.dst = me, peer
			want = "XfrmOutStateExpired"
			h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: transport(protoESP)}))
		}
		h.must(h.sa(a))
		h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
		for seq := range uint32(3) {
			var v packet.Verdict
			if out {
				v = h.outbound(datagram(me, peer))
			} else {
				v = h.inbound(h.sealed(0x1000, seq+1))
			}
			if seq < 2 && v.Counter != "" || seq == 2 && (v.Counter != want || v.Reason != packet.PacketsExpired) {
				t.Errorf("%s: packet %d: %v %v %q", name, seq+1, v.Kind, v.Reason, v.Counter)
			}
		}
		got := read(h.s)
		if h.seqs(got, wire.MsgExpire); len(got) != 1 {
			t.Fatalf("%s: %d EXPIREs, want 1", name, len(got))
		}
		if _, hard := h.d().Find(got[0], wire.ExtLifetimeHard); !hard {
			t.Errorf("%s: %s", name, h.d().Line(got[0]))
		}
		if n := h.e.Status(0).SACount; n != 0 {
			t.Errorf("%s: %d SAs are left", name, n)
		}
	}
}
