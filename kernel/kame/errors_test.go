package kame_test

import (
	"bytes"
	"context"
	"net/netip"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// sized is a datagram with so many bytes in all, which may be more than a transform leaves room for.
func sized(t *testing.T, src, dst string, size int) []byte {
	t.Helper()
	return udp(t, netip.MustParseAddr(src), netip.MustParseAddr(dst), size-28)
}

// TestOutboundErrors: what the sender of a packet sees that does not get out, and why it does not.
func TestOutboundErrors(t *testing.T) {
	eachHeir(t, func(t *testing.T, h *host) {
		h.policies(`spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;
spdadd 192.0.2.1 192.0.2.4 any -P out ipsec ipcomp/transport//require;
spdadd 192.0.2.1 192.0.2.5 any -P out discard;
spdadd 192.0.2.1 192.0.2.6 any -P out ipsec esp/transport//require;
spdadd 10.0.0.1 10.0.0.2 any -P out ipsec esp/tunnel/192.0.2.1-192.0.2.2/require;
spdadd 2001:db8::1 2001:db8::2 any -P out ipsec esp/transport//require;
`)
		addr := netip.MustParseAddr
		comp := esp(me, addr("192.0.2.4"), 0x1002)
		comp.Type, comp.Auth, comp.AuthKey, comp.Replay = wire.SATypeIPComp, 0, wire.Key{}, 0
		comp.Encrypt, comp.EncryptKey = wire.CompDeflate, wire.Key{}
		for _, sa := range []pfkey.SA{esp(me, peer, 0x1000), comp, esp(me6, peer6, 0x1003),
			signature(me, peer, 0x1000, "secret")} {
			if sa.Type == wire.SATypeTCPSig && h.kernel == "freebsd" {
				sa.SPI = 0x2000
			}
			h.add(sa)
		}
		cut := changed(udp(t, me6, peer6, 8), func(b []byte) { b[6], b[41] = ip.ProtoHopByHop, 200 })
		knob := map[string]string{"freebsd": "net.inet.esp.esp_enable", "netbsd": "net.inet.ipsec.esp_enable"}[h.kernel]
		off := func(pkt []byte) func() []byte {
			return func() []byte {
				h.k.SetSysctl(knob, 0)
				return pkt
			}
		}
		whole := func(pkt []byte) func() []byte { return func() []byte { return pkt } }
		for _, tt := range []struct {
			name            string
			pkt             func() []byte
			errno           [2]wire.Errno // of freebsd, netbsd
			freebsd, netbsd string
		}{
			{"no packet", whole([]byte{1}), [2]wire.Errno{wire.EINVAL, wire.EINVAL}, "bad-header", "bad-header"},
			{"discarded", whole(udp(t, me, addr("192.0.2.5"), 1)), [2]wire.Errno{wire.EACCES, wire.OK},
				"policy-discard ipsec4stat.ips_out_polvio", "policy-discard ipsecstat.out_polvio"},
			{"no SA", whole(udp(t, me, addr("192.0.2.6"), 1)), [2]wire.Errno{}, "no-sa ipsec4stat.ips_out_nosa",
				"no-sa ipsecstat.out_nosa"},
			{"no room for a tunnel", whole(sized(t, "10.0.0.1", "10.0.0.2", 65520)),
				[2]wire.Errno{wire.EMSGSIZE, wire.EMSGSIZE}, "bad-length", "bad-length"},
			{"no room for ESP", whole(sized(t, "192.0.2.1", "192.0.2.2", 65520)),
				[2]wire.Errno{wire.EMSGSIZE, wire.EMSGSIZE}, "bad-length espstat.esps_toobig",
				"bad-length espstat.toobig"},
			{"no room for IPComp", whole(sized(t, "192.0.2.1", "192.0.2.4", 65533)),
				[2]wire.Errno{wire.EMSGSIZE, wire.EMSGSIZE}, "bad-length ipcompstat.ipcomps_toobig",
				"bad-length ipcompstat.toobig"},
			{"a fragment", whole(changed(udp(t, me, peer, 8), func(b []byte) { b[6] = 0x20 })),
				[2]wire.Errno{wire.EINVAL, wire.EINVAL}, "fragment", "fragment"},
			{"an extension header that is cut", whole(cut), [2]wire.Errno{wire.EINVAL, wire.EINVAL},
				"bad-header espstat.esps_hdrops", "bad-header espstat.hdrops"},
			{"no room for a signature", whole(syn(t, me, peer, bytes.Repeat([]byte{1}, 40)...)),
				[2]wire.Errno{wire.EINVAL, wire.EINVAL}, "crypto-failed tcpstat.tcps_sig_err_buildsig",
				"crypto-failed"},
			{"forbidden", off(udp(t, me, peer, 1)), [2]wire.Errno{wire.EHOSTUNREACH, wire.EHOSTUNREACH},
				"policy-discard espstat.esps_pdrops", "policy-discard espstat.pdrops"},
			{"forbidden, and no SA", off(udp(t, me, addr("192.0.2.6"), 1)), [2]wire.Errno{wire.EHOSTUNREACH, wire.OK},
				"policy-discard espstat.esps_pdrops", "no-sa ipsecstat.out_nosa"},
		} {
			want, errno := tt.freebsd, tt.errno[0]
			if h.kernel == "netbsd" {
				want, errno = tt.netbsd, tt.errno[1]
			}
			pkt := tt.pkt()
			if got := fate(h.out(pkt)); got != want {
				t.Errorf("%s: %s, want %s", tt.name, got, want)
			}
			if got := h.k.Output(bytes.Clone(pkt)); got.Errno != errno || got.Via != "" {
				t.Errorf("%s: errno %v, via %q, want %v", tt.name, got.Errno, got.Via, errno)
			}
		}
		h.atRest()
	})
}

// TestNoTransform: an SA that no cipher serves, on the kernel that takes it, and a packet that AH cannot read.
func TestNoTransform(t *testing.T) {
	h := newHost(t, "netbsd")
	h.policies("spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;")
	short := esp(me, peer, 0x1001)
	short.Encrypt, short.EncryptKey = wire.EncCAST128CBC, pfkey.NewKey([]byte("short"))
	h.add(short)
	if o := h.k.Output(udp(t, me, peer, 1)); o.Errno != wire.EINVAL {
		t.Errorf("errno %v", o.Errno)
	}
	h.policies("spdadd 192.0.2.1 192.0.2.3 any -P out ipsec ah/transport//require;")
	ah := esp(me, netip.MustParseAddr("192.0.2.3"), 0x1001)
	ah.Type, ah.Encrypt, ah.EncryptKey = wire.SATypeAH, 0, wire.Key{}
	h.add(ah)
	lies := udp(t, me, netip.MustParseAddr("192.0.2.3"), 8) // about the length of an option
	lies = append(append(bytes.Clone(lies[:20]), 7, 99, 4, 0), lies[20:]...)
	lies[0] = 0x46
	ip.SetLength(lies)
	if o := h.k.Output(lies); o.Errno != wire.EINVAL {
		t.Errorf("an option that AH cannot read: errno %v", o.Errno)
	}
}

// TestUncut: a packet that is too long for its NAT, and must not be cut.
func TestUncut(t *testing.T) {
	h := newHost(t, "netbsd")
	d := h.e.Dialect()
	h.policies("spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;")
	sa := esp(me, peer, 0x1000)
	sa.Extra = d.AppendNATTType(nil, wire.NATTType{Type: wire.KAMENATTESP})
	sa.Extra = d.AppendNATTPort(sa.Extra, wire.KAMEExtXNATTSPort, wire.NATTPort{Port: 4500})
	sa.Extra = d.AppendNATTPort(sa.Extra, wire.KAMEExtXNATTDPort, wire.NATTPort{Port: 4501})
	sa.Extra = d.AppendNATTFrag(sa.Extra, wire.NATTFrag{Bytes: 300})
	h.add(sa)
	pkt := changed(udp(t, me, peer, 600), func(b []byte) { b[6] = 0x40 })
	if got := fate(h.out(pkt)); got != "bad-length" {
		t.Error(got)
	}
	if got := h.k.Output(bytes.Clone(pkt)); got.Via != "frag" || !bytes.Equal(got.Packet, pkt) {
		t.Errorf("via %q", got.Via)
	}
	// The policy wants a fragment in transport mode, which cannot be.
	if got := fate(h.out(udp(t, me, peer, 600))); got != "fragment" {
		t.Errorf("one that may be cut: %s", got)
	}
}

// TestFirstFault: of two faults in a packet that came in, the first that is looked at is told.
func TestFirstFault(t *testing.T) {
	eachHeir(t, func(t *testing.T, h *host) {
		bare := esp(peer, me, 0x4000)
		bare.Auth, bare.AuthKey = 0, wire.Key{}
		bare.Encrypt, bare.EncryptKey = wire.EncNull, wire.Key{Data: []byte{}}
		h.add(bare)
		badPadding := map[string]string{"freebsd": "bad-padding espstat.esps_badenc",
			"netbsd": "bad-padding espstat.badenc"}[h.kernel]
		for name, tt := range map[string]struct {
			pkt  []byte
			want string
		}{
			"a fragment with a wrong checksum": {changed(udp(t, peer, me, 8), func(b []byte) { b[6] = 0x20 }),
				"bad-checksum"},
			"a dummy with wrong padding": {changed(h.sealed(bare, udp(t, peer, me, 11), 1), func(b []byte) {
				b[len(b)-3], b[len(b)-1] = 99, ip.ProtoNone
			}), badPadding},
		} {
			if got := fate(h.in(tt.pkt)); got != tt.want {
				t.Errorf("%s: %s, want %s", name, got, tt.want)
			}
		}
	})
}

// TestFirstFaultOfMessages: of two faults in a message, the first that is looked at is told.
func TestFirstFaultOfMessages(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		long := h.d().Finish(append(h.bare(wire.MsgFlush, 0), make([]byte, 2048)...))
		long[0] = 1
		if got := h.says(long); got != "EINVAL" {
			t.Errorf("a long message of another version: %s", got)
		}
	})
}

// TestOuterHeader looks at the time to live of a tunnel.
func TestOuterHeader(t *testing.T) {
	eachHeir(t, func(t *testing.T, h *host) {
		h.policies("spdadd 10.0.0.1 10.0.0.2 any -P out ipsec esp/tunnel/192.0.2.1-192.0.2.2/require;")
		sa := esp(me, peer, 0x1000)
		sa.SA2 = &wire.SA2{Mode: wire.ModeTunnel}
		if err := h.c.Add(context.Background(), sa, 0); err != nil {
			t.Fatal(err)
		}
		inner := sized(t, "10.0.0.1", "10.0.0.2", 60)
		inner[8] = 9
		ip.SetTOS(inner, 0xb8)
		v := h.out(inner)
		if len(v.Inner) < 20 || v.Inner[1] != 0xb8 || v.Inner[8] != 64 {
			t.Errorf("%s: %x", fate(v), v.Inner)
		}
	})
}
