package openbsd_test

import (
	"net/netip"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestSendersErrors shows what the sender of a packet is told.
func TestSendersErrors(t *testing.T) {
	null := func(sa pfkey.SA) pfkey.SA { // which makes nothing longer than it has to be
		sa.Encrypt, sa.EncryptKey = wire.EncNull, wire.Key{}
		return sa
	}
	nat := null(esp(me, peer, 0x1000))
	nat.Flags = wire.OpenBSDFlagXUDPEncap
	odd := esp(me, peer, 0x1000)
	odd.Auth, odd.AuthKey = wire.AuthAES128GMAC, pfkey.NewKey(make([]byte, 20))
	nowhere := tunnel(me, peer, 0x1000)
	nowhere.Src = wire.Address{}
	comp := esp(me, peer, 0x100)
	comp.Type, comp.Auth, comp.AuthKey = wire.SATypeIPComp, 0, wire.Key{}
	comp.Encrypt, comp.EncryptKey = wire.CompDeflate, wire.Key{}
	compLimit := comp
	compLimit.Hard, compLimit.Soft = &wire.Lifetime{Bytes: 10}, &wire.Lifetime{}
	small := udp(t, me, peer, 200)
	cut := changed(small, func(b []byte) {
		b[6] = 0x20
		ip.SetHeaderChecksum(b)
	})
	for _, tt := range []struct {
		name string
		sa   pfkey.SA
		knob string // that is set to 0
		pkt  []byte
		want wire.Errno
	}{
		{"sealed", esp(me, peer, 0x1000), "", small, wire.OK},
		{"no packet", esp(me, peer, 0x1000), "", small[:10], wire.EINVAL},
		{"ESP is forbidden", esp(me, peer, 0x1000), "net.inet.esp.enable", small, wire.EHOSTUNREACH},
		{"UDP is forbidden", nat, "net.inet.esp.udpencap", small, wire.ENXIO},
		{"nobody seals so", odd, "", small, wire.EINVAL},
		{"a tunnel from nowhere", nowhere, "", small, wire.EINVAL},
		{"a fragment", esp(me, peer, 0x1000), "", cut, wire.EINVAL},
		{"too long for a tunnel", tunnel(me, peer, 0x1000), "", udp(t, me, peer, 65500), wire.EMSGSIZE},
		{"too long for ESP", esp(me, peer, 0x1000), "", udp(t, me, peer, 65490), wire.EMSGSIZE},
		{"as long as can be", null(esp(me, peer, 0x1000)), "", udp(t, me, peer, 65482), wire.OK},
		{"too long for UDP", nat, "", udp(t, me, peer, 65482), wire.EMSGSIZE},
		{"too long for IPComp", comp, "", udp(t, me, peer, 65507), wire.EMSGSIZE},
		{"IPComp has spent its bytes", compLimit, "", small, wire.EINVAL},
	} {
		h := newHost(t)
		if errno := h.k.SetSysctl("net.inet.ipcomp.enable", 1); errno != wire.OK {
			t.Fatal(errno)
		}
		h.add(tt.sa)
		h.flows("flow " + tt.sa.Type.String() + " out from 192.0.2.1 to 192.0.2.2 type require")
		if tt.knob != "" {
			if errno := h.k.SetSysctl(tt.knob, 0); errno != wire.OK {
				t.Fatal(errno)
			}
		}
		if got := h.k.Output(0, tt.pkt); got.Errno != tt.want || (got.Via == "") != (tt.want != wire.OK) {
			t.Errorf("%s: %v %s, want %v", tt.name, got.Errno, got.Via, tt.want)
		}
	}
}

// TestUnreadable: what cannot be read passes where there are no flows, and only there.
func TestUnreadable(t *testing.T) {
	h := newHost(t)
	cut := changed(udp(t, me, peer, 0)[:22], func(b []byte) { // half of its ports
		b[3] = 22
		ip.SetHeaderChecksum(b)
	})
	if got := h.k.Output(0, cut); got.Via != engine.ViaClear {
		t.Errorf("without flows: %v %s", got.Errno, got.Via)
	}
	h.flows("flow out from ::1 to ::2 type deny")
	if got := h.k.Output(0, cut); got.Errno != wire.EINVAL || got.Via != "" {
		t.Errorf("with one: %v %s", got.Errno, got.Via)
	}
}

// TestUnheard: where nobody has registered, packets that need an SA fail, in either direction.
func TestUnheard(t *testing.T) {
	h := newHost(t)
	h.flows("flow from 192.0.2.1 to 192.0.2.2 type require")
	if got := h.k.Input(0, udp(t, peer, me, 1)); got.Errno != wire.ESRCH || got.Via != "" {
		t.Errorf("in: %v %s", got.Errno, got.Via)
	}
	if got := h.k.Output(0, udp(t, me, peer, 1)); got.Errno != wire.EACCES || got.Via != "" {
		t.Errorf("out: %v %s", got.Errno, got.Via)
	}
}

// TestDomainOfPackets: a flow is for the packets of its routing domain.
func TestDomainOfPackets(t *testing.T) {
	h := newHost(t)
	h.k.AddRDomains(1)
	const pid = 7
	if errno := h.k.EnterRDomain(pid, 1); errno != wire.OK {
		t.Fatal(errno)
	}
	cred := pfkey.Cred{Privileged: true, PID: pid}
	s, errno := h.e.Open(cred, 3, 2)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	t.Cleanup(s.Close)
	msg := h.addFlow(wire.OpenBSDFlowDeny, netip.PrefixFrom(me, 32), netip.PrefixFrom(peer, 32))
	msg[12] = pid
	if errno := s.Send(msg, cred); errno != wire.OK {
		t.Fatal(errno)
	}
	pkt := udp(t, me, peer, 1)
	if got := h.k.Output(0, pkt); got.Via != engine.ViaClear {
		t.Errorf("in domain 0: %v", got.Errno)
	}
	if got := h.k.Output(1, pkt); got.Errno != wire.EHOSTUNREACH {
		t.Errorf("in domain 1: %v", got.Errno)
	}
}

// TestLinkedLARVAL: what is protected for an SA that has no keys yet is not sent.
func TestLinkedLARVAL(t *testing.T) {
	h := newHost(t)
	first := esp(me, peer, 0x1000)
	h.add(first)
	spi, err := h.c.GetSPI(t.Context(), pfkey.GetSPIParams{Type: wire.SATypeESP, Src: pfkey.Host(me),
		Dst: pfkey.Host(peer), Min: 0x2000, Max: 0x2fff, Seq: pfkey.NoAcquire})
	if err != nil {
		t.Fatal(err)
	}
	second := first.SAID
	second.SPI = spi
	h.link(first.SAID, second)
	h.flows("flow out from 192.0.2.1 to 192.0.2.2")
	pkt := udp(t, me, peer, 1)
	if got := h.k.Output(0, pkt); got.Errno != wire.ENXIO || got.Via != "" {
		t.Errorf("%v %s", got.Errno, got.Via)
	}
	h.k.SetSysctl("net.inet.esp.enable", 0)
	if got := h.k.Output(0, pkt); got.Errno != wire.EHOSTUNREACH {
		t.Errorf("without ESP: %v", got.Errno)
	}
}

// TestAHOrder: a number that came before counts more than a length that is wrong.
func TestAHOrder(t *testing.T) {
	h := newHost(t)
	sa := esp(peer, me, 0x1000)
	sa.Type, sa.Encrypt, sa.EncryptKey = wire.SATypeAH, 0, wire.Key{}
	h.add(sa)
	pkt := h.sealed(sa, udp(t, peer, me, 10), 2)
	long := func(b []byte) { b[21]++ }
	if got := fate(h.in(changed(pkt, long))); got != "bad-length ahstat.ahs_badauthl" {
		t.Error(got)
	}
	if got := fate(h.in(pkt)); got != "delivered" {
		t.Error(got)
	}
	if got := fate(h.in(changed(pkt, long))); got != "replay-early ahstat.ahs_replay" {
		t.Error(got)
	}
}

// TestCongestion: what has met congestion in a tunnel over IPv6 says so inside, if it can.
func TestCongestion(t *testing.T) {
	h := newHost(t)
	sa := tunnel(peer6, me6, 0x1000)
	h.add(sa)
	inner := udp(t, netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2"), 3)
	for i, tt := range []struct {
		tos  byte
		want string
	}{{2, "delivered"}, {0, "bad-header"}} {
		ip.SetTOS(inner, tt.tos)
		pkt := h.sealed(sa, inner, uint64(i)+2)
		ip.SetTOS(pkt, 3)
		v := h.in(pkt)
		if got := fate(v); got != tt.want || tt.tos == 2 && ip.TOS(v.Inner) != 3 {
			t.Errorf("%d: %s %x", tt.tos, got, v.Inner)
		}
	}
}
