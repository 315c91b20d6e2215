package ipsec_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
)

// checked decodes pkt with gopacket and recomputes its checksums.
func checked(t *testing.T, pkt []byte) gopacket.Packet {
	t.Helper()
	first := gopacket.LayerType(layers.LayerTypeIPv4)
	if pkt[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	p := gopacket.NewPacket(pkt, first, gopacket.Default)
	if e := p.ErrorLayer(); e != nil {
		t.Fatalf("gopacket cannot decode %x: %v", pkt, e.Error())
	}
	if u, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP); ok {
		if err := u.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
			t.Fatal(err)
		}
	}
	if err, bad := p.VerifyChecksums(); err != nil || len(bad) > 0 {
		t.Fatalf("checksums of %x: %v %+v", pkt, err, bad)
	}
	return p
}

func TestOuterHeader(t *testing.T) {
	tr := newTransform(t, ipsec.Suite{Proto: ipsec.ESP})
	inner4 := func(tos, flags int) []byte { return edit(ip4(17, nil, udp(1, 2, nil)), 1, tos, 6, flags) }
	inner6 := func(tos int) []byte {
		p := ip6(17, udp(1, 2, nil))
		ip.SetTOS(p, uint8(tos))
		return p
	}
	type header struct {
		TOS, TTL, Next uint8
		DF             bool
		ID             uint16
		Flow           uint32
	}
	tests := []struct {
		name  string
		outer ipsec.Outer
		inner []byte
		want  header
	}{
		{"plain", ipsec.Outer{Src: v4a, Dst: v4b}, inner4(0xff, 0x40), header{TTL: 64, Next: 50}},
		{"fixed", ipsec.Outer{Src: v4a, Dst: v4b, TTL: 9, TOS: 0x88, ID: 77, DF: ipsec.DFSet}, inner4(0xff, 0),
			header{TOS: 0x88, TTL: 9, Next: 50, DF: true, ID: 77}},
		{"copied", ipsec.Outer{Src: v4a, Dst: v4b, TOSRule: ipsec.TOSCopy, DF: ipsec.DFCopy}, inner4(0xff, 0x40),
			header{TOS: 0xff, TTL: 64, Next: 50, DF: true}},
		{"copied, DF clear", ipsec.Outer{Src: v4a, Dst: v4b, DF: ipsec.DFCopy}, inner4(0, 0),
			header{TTL: 64, Next: 50}},
		{"copied from IPv6", ipsec.Outer{Src: v4a, Dst: v4b, TOSRule: ipsec.TOSCopyDSCP, DF: ipsec.DFCopy},
			inner6(0xab),
			header{TOS: 0xa8, TTL: 64, Next: 50, DF: true}},
		{"congestion experienced", ipsec.Outer{Src: v4a, Dst: v4b, TOSRule: ipsec.TOSCopyECN}, inner4(0xab, 0),
			header{TOS: 0xaa, TTL: 64, Next: 50}},
		{"ECT(1)", ipsec.Outer{Src: v4a, Dst: v4b, TOSRule: ipsec.TOSCopyECN}, inner4(0xa9, 0),
			header{TOS: 0xa9, TTL: 64, Next: 50}},
		{"IPv6", ipsec.Outer{Src: v6a, Dst: v6b, TTL: 3, TOS: 0x5a, FlowLabel: 0xffabcde}, inner4(0, 0),
			header{TOS: 0x5a, TTL: 3, Next: 50, Flow: 0xabcde}},
		{"IPv6, flow copied", ipsec.Outer{Src: v6a, Dst: v6b, TOSRule: ipsec.TOSCopy, CopyFlow: true}, inner6(0xab),
			header{TOS: 0xab, TTL: 64, Next: 50, Flow: 0x12345}},
		{"IPv6, no flow in IPv4", ipsec.Outer{Src: v6a, Dst: v6b, CopyFlow: true, FlowLabel: 5}, inner4(0, 0),
			header{TTL: 64, Next: 50, Flow: 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pkt, err := tr.SealTunnel(nil, tt.inner, &tt.outer, ipsec.Ports{}, ipsec.Sealing{SPI: 1, Seq: 1})
			if err != nil {
				t.Fatal(err)
			}
			var got header
			switch h := checked(t, pkt).NetworkLayer().(type) {
			case *layers.IPv4:
				got = header{TOS: h.TOS, TTL: h.TTL, Next: uint8(h.Protocol), DF: h.Flags == layers.IPv4DontFragment,
					ID: h.Id}
				if int(h.Length) != len(pkt) {
					t.Errorf("total length %d of %d", h.Length, len(pkt))
				}
			case *layers.IPv6:
				got = header{TOS: h.TrafficClass, TTL: h.HopLimit, Next: uint8(h.NextHeader), Flow: h.FlowLabel}
				if int(h.Length) != len(pkt)-40 {
					t.Errorf("payload length %d of %d", h.Length, len(pkt)-40)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestUDPEncapsulation wants no UDP checksum over IPv4 and a true one over IPv6.
func TestUDPEncapsulation(t *testing.T) {
	tr := newTransform(t, ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESGCM, Key: key(16), Salt: key(4)})
	ports := ipsec.Ports{Src: 4500, Dst: 999}
	for n := range 40 { // also odd lengths
		for _, o := range []*ipsec.Outer{{Src: v4a, Dst: v4b}, {Src: v6a, Dst: v6b}} {
			inner := ip4(17, nil, udp(1, 2, sequence(0, n)))
			pkt, err := tr.SealTunnel(nil, inner, o, ports, ipsec.Sealing{SPI: 5, Seq: uint64(n),
				IV: sequence(byte(n), 8)})
			if err != nil {
				t.Fatal(err)
			}
			u := checked(t, pkt).Layer(layers.LayerTypeUDP).(*layers.UDP)
			if u.SrcPort != 4500 || u.DstPort != 999 || (u.Checksum == 0) != o.Src.Is4() {
				t.Errorf("UDP header %+v", u)
			}
			in, err := ipsec.ParseInbound(pkt)
			if err != nil || in.SrcPort != 4500 || in.DstPort != 999 {
				t.Fatalf("%+v, %v", in, err)
			}
			got, err := open(tr, pkt, &in, 0, "tunnel")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(inner, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
	}
}

// TestTransport seals datagrams with options and extension headers, and opens them again to the same bytes.
func TestTransport(t *testing.T) {
	hop := ext{0, unhex("050200000100")}
	dest := ext{60, unhex("010400000000")}
	route := ext{43, append(unhex("000000000000"), v6a.AsSlice()...)}
	payload := udp(7, 8, sequence(0, 21))
	tests := []struct {
		name string
		pkt  []byte
		off  int // where ESP or AH goes
	}{
		{"IPv4", ip4(17, nil, payload), 20},
		{"IPv4, empty", ip4(17, nil, nil), 20},
		{"IPv4 with options", ip4(17, unhex("94040000 07070400 00000001"), payload), 32},
		{"IPv6", ip6(17, payload), 40},
		{"IPv6, empty", ip6(59, nil), 40},
		{"hop-by-hop", ip6(17, payload, hop), 48},
		{"hop-by-hop, destination, routing", ip6(17, payload, hop, dest, route), 80},
		{"destination options behind routing", ip6(17, payload, route, dest), 64},
	}
	for _, tt := range tests {
		for _, s := range []ipsec.Suite{
			{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: key(16), MAC: ipsec.HMACSHA1, AuthKey: key(20)},
			{Proto: ipsec.AH, MAC: ipsec.HMACSHA256, AuthKey: key(32)},
		} {
			t.Run(tt.name+" "+s.Proto.String(), func(t *testing.T) {
				tr := newTransform(t, s)
				seal := ipsec.Sealing{SPI: 1, Seq: 2, IV: sequence(0, tr.IVLen())}
				padded := append(bytes.Clone(tt.pkt), "link padding"...)
				pkt, err := tr.SealTransport([]byte("before"), padded, ipsec.Ports{}, seal)
				if err != nil {
					t.Fatal(err)
				}
				pkt = bytes.TrimPrefix(pkt, []byte("before"))
				in, err := ipsec.ParseInbound(append(pkt, "link padding"...))
				if err != nil {
					t.Fatal(err)
				}
				if in.Off != tt.off || in.End != len(pkt) {
					t.Errorf("at %d to %d, want %d to %d", in.Off, in.End, tt.off, len(pkt))
				}
				got, err := open(tr, pkt, &in, 0, "transport")
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.pkt, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestEncapErrors(t *testing.T) {
	esp := newTransform(t, ipsec.Suite{Proto: ipsec.ESP})
	ah := newTransform(t, ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.HMACSHA1, AuthKey: key(20)})
	o4, mixed := &ipsec.Outer{Src: v4a, Dst: v4b}, &ipsec.Outer{Src: v4a, Dst: v6b}
	good := ip4(17, nil, udp(1, 2, nil))
	big := make([]byte, 65530)
	big[0] = 0x45
	tunnel := func(tr *ipsec.Transform, inner []byte, o *ipsec.Outer, p ipsec.Ports, s ipsec.Sealing) error {
		out, err := tr.SealTunnel([]byte("x"), inner, o, p, s)
		if err != nil && string(out) != "x" {
			t.Errorf("dst after an error: %q", out)
		}
		return err
	}
	transport := func(tr *ipsec.Transform, pkt []byte) error {
		out, err := tr.SealTransport([]byte("x"), pkt, ipsec.Ports{}, ipsec.Sealing{})
		if err != nil && string(out) != "x" {
			t.Errorf("dst after an error: %q", out)
		}
		return err
	}
	for _, tt := range []struct {
		name      string
		got, want error
	}{
		{"fine", tunnel(esp, good, o4, ipsec.Ports{}, ipsec.Sealing{}), nil},
		{"no inner packet", tunnel(esp, nil, o4, ipsec.Ports{}, ipsec.Sealing{}), ipsec.ErrInner},
		{"short inner packet", tunnel(esp, good[:19], o4, ipsec.Ports{}, ipsec.Sealing{}), ipsec.ErrInner},
		{"inner version 7", tunnel(esp, edit(bytes.Clone(good), 0, 0x75), o4, ipsec.Ports{}, ipsec.Sealing{}),
			ipsec.ErrInner},
		{"mixed addresses", tunnel(esp, good, mixed, ipsec.Ports{}, ipsec.Sealing{}), ipsec.ErrAddress},
		{"no addresses", tunnel(esp, good, &ipsec.Outer{}, ipsec.Ports{}, ipsec.Sealing{}), ipsec.ErrAddress},
		{"one address", tunnel(esp, good, &ipsec.Outer{Src: v4a}, ipsec.Ports{}, ipsec.Sealing{}), ipsec.ErrAddress},
		{"too long for esp", tunnel(esp, big, o4, ipsec.Ports{}, ipsec.Sealing{}), ipsec.ErrTooLong},
		{"too long for ah", tunnel(ah, big, o4, ipsec.Ports{}, ipsec.Sealing{}), ipsec.ErrTooLong},
		{"AH in UDP", tunnel(ah, good, o4, ipsec.Ports{Src: 4500, Dst: 4500}, ipsec.Sealing{}), ipsec.ErrProtocol},
		{"AH aligned to 6", tunnel(ah, good, o4, ipsec.Ports{}, ipsec.Sealing{Align: 6}), ipsec.ErrAlign},
		{"AH aligned to 128", tunnel(ah, good, o4, ipsec.Ports{}, ipsec.Sealing{Align: 128}), ipsec.ErrAlign},
		{"transport of nothing", transport(esp, nil), ipsec.ErrShort},
		{"transport of a fragment", transport(esp, edit(bytes.Clone(good), 6, 0x20)), ipsec.ErrFragment},
		{"AH with a bad option", transport(ah, ip4(17, unhex("07ff0000"), nil)), ipsec.ErrOption},
		{"AH used for ESP", errOf(ah.OpenESP(nil, make([]byte, 100), 0)), ipsec.ErrProtocol},
		{"AH sealing ESP", errOf(ah.SealESP(nil, nil, 0, ipsec.Sealing{})), ipsec.ErrProtocol},
		{"ESP used for AH", esp.VerifyAH(good, 20, 0), ipsec.ErrProtocol},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, tt.got, tt.want)
		}
		if tt.got != nil && !strings.HasPrefix(tt.got.Error(), "ipsec: ") {
			t.Errorf("%s: %v, want an error that names the package", tt.name, tt.got)
		}
	}
}

func errOf(_ []byte, err error) error { return err }

func TestDecapTunnel(t *testing.T) {
	p4, p6 := ip4(17, unhex("94040000"), []byte("abc")), ip6(17, []byte("abc"))
	for _, tt := range []struct {
		name string
		b    []byte
		next uint8
		want []byte
		err  error
	}{
		{"IPv4", p4, 4, p4, nil},
		{"IPv4 and more", append(bytes.Clone(p4), 0, 0), 4, p4, nil},
		{"IPv6", p6, 41, p6, nil},
		{"IPv6 and more", append(bytes.Clone(p6), 0, 0), 41, p6, nil},
		{"IPv6 called IPv4", p6, 4, nil, ipsec.ErrInner},
		{"IPv4 called IPv6", append(bytes.Clone(p4), make([]byte, 40)...), 41, nil, ipsec.ErrInner},
		{"something else", p4, 17, nil, ipsec.ErrProtocol},
		{"no next header", p4, 59, nil, ipsec.ErrProtocol},
		{"empty", nil, 4, nil, ipsec.ErrInner},
		{"IPv4 cut", p4[:26], 4, nil, ipsec.ErrInner},
		{"IPv4 header cut", p4[:19], 4, nil, ipsec.ErrInner},
		{"IPv4 header of 16", edit(bytes.Clone(p4), 0, 0x44), 4, nil, ipsec.ErrInner},
		{"IPv4 length inside the header", edit(bytes.Clone(p4), 3, 23), 4, nil, ipsec.ErrInner},
		{"IPv6 cut", p6[:42], 41, nil, ipsec.ErrInner},
		{"IPv6 header cut", p6[:39], 41, nil, ipsec.ErrInner},
	} {
		got, err := ipsec.DecapTunnel(tt.b, tt.next)
		if err != tt.err || !bytes.Equal(got, tt.want) {
			t.Errorf("%s: %x, %v; want %x, %v", tt.name, got, err, tt.want, tt.err)
		}
		if err == nil && cap(got) != len(got) {
			t.Errorf("%s: appending would write behind the packet", tt.name)
		}
	}
}

// TestDecapInPlace rewrites a packet inside its own buffer: decryption, then transport mode.
func TestDecapInPlace(t *testing.T) {
	tr := newTransform(t, ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: key(16), MAC: ipsec.HMACSHA1,
		AuthKey: key(20)})
	want := ip4(17, unhex("94040000"), udp(7, 8, sequence(0, 100)))
	pkt, err := tr.SealTransport(nil, want, ipsec.Ports{Src: 4500, Dst: 4500},
		ipsec.Sealing{SPI: 1, Seq: 2, IV: sequence(0, 16)})
	if err != nil {
		t.Fatal(err)
	}
	in, err := ipsec.ParseInbound(pkt)
	if err != nil {
		t.Fatal(err)
	}
	esp := in.ESP(pkt)
	all, err := tr.OpenESP(esp[:8+tr.IVLen()], esp, 0)
	if err != nil {
		t.Fatal(err)
	}
	plain := all[8+tr.IVLen():]
	_, next, _ := ipsec.Trailer(plain)
	got, err := ipsec.DecapTransport(pkt[:0], pkt, &in, ipsec.Payload(plain), next)
	if err != nil {
		t.Fatal(err)
	}
	if &got[0] != &pkt[0] {
		t.Error("not in place")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestDecapTransportLies gives an Inbound that does not belong to the packet.
func TestDecapTransportLies(t *testing.T) {
	pkt := ip4(50, nil, make([]byte, 30))
	for _, in := range []ipsec.Inbound{
		{},
		{Src: v4a, Off: 51},
		{Src: v4a, Off: 20, NextOff: 20},
		{Src: v4a, Off: 19, NextOff: 9},
	} {
		if out, err := ipsec.DecapTransport([]byte("x"), pkt, &in, nil, 17); err != ipsec.ErrShort ||
			string(out) != "x" {
			t.Errorf("%+v: %q, %v", in, out, err)
		}
	}
	in := ipsec.Inbound{Src: v4a, Off: 20, NextOff: 9}
	if _, err := ipsec.DecapTransport(nil, pkt, &in, make([]byte, 65516), 17); err != ipsec.ErrTooLong {
		t.Errorf("65536 bytes: %v", err)
	}
	in.Src = netip.MustParseAddr("::ffff:192.0.2.1")
	in.Off, in.NextOff = 20, 9
	if _, err := ipsec.DecapTransport(nil, pkt, &in, nil, 17); err != ipsec.ErrShort {
		t.Errorf("IPv6 with 20 bytes of header: %v", err)
	}
}

// TestIPv6Longest seals the longest payload that an IPv6 header can describe, and one byte more.
func TestIPv6Longest(t *testing.T) {
	tr := newTransform(t, ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.HMACSHA1, AuthKey: key(20)})
	pkt, err := tr.SealTransport(nil, ip6(17, make([]byte, 65535-24)), ipsec.Ports{}, ipsec.Sealing{})
	if err != nil || len(pkt) != 65535+40 || binary.BigEndian.Uint16(pkt[4:]) != 65535 {
		t.Errorf("%d bytes, %v", len(pkt), err)
	}
	if _, err := tr.SealTransport(nil, ip6(17, make([]byte, 65535-23)), ipsec.Ports{},
		ipsec.Sealing{}); err != ipsec.ErrTooLong {
		t.Errorf("one more: %v", err)
	}
}
