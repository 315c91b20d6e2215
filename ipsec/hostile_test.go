package ipsec_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/gopacket/gopacket/pcapgo"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
)

// specimens are well-formed packets of every kind.
func specimens() [][]byte {
	esp := append(unhex("00001000 00000001"), sequence(0, 72)...)
	ah := append(unhex("11040000 00001000 00000001"), sequence(0, 40)...)
	hop := ext{0, unhex("050200000100")}
	route := ext{43, append(unhex("000100000000"), v6a.AsSlice()...)}
	return [][]byte{
		ip4(50, nil, esp), ip4(50, unhex("94040000 07070400 00000001"), esp), ip4(51, nil, ah),
		ip4(51, unhex("830b0401010101020202021f"), ah), ip4(17, nil, udp(4500, 4500, esp)),
		ip4(17, nil, udp(1, 4500, []byte{0xff})),
		ip4(17, nil, udp(4500, 4500, make([]byte, 40))), ip4(6, nil, esp), ip4(4, nil, ip4(17, nil, nil)),
		ip6(50, esp), ip6(50, esp, hop, route), ip6(51, ah), ip6(51, ah, hop, route, ext{60, unhex("3e02aabb0000")}),
		ip6(17, udp(4500, 4500, esp), hop), ip6(44, esp), ip6(59, nil), ip6(41, ip6(17, nil)),
	}
}

var (
	hostileESP = ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: key(16)} // no integrity: everything goes on
	hostileAH  = ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.HMACSHA1, AuthKey: key(20)}
)

// handle does with pkt all that can be done, and checks that what comes out lies inside.
func handle(t *testing.T, esp, ah *ipsec.Transform, pkt []byte) {
	t.Helper()
	pkt = bytes.Clone(pkt)[:len(pkt):len(pkt)] // so that reading past the end is found
	before := bytes.Clone(pkt)
	in, err := ipsec.ParseInbound(pkt)
	if err == nil {
		need := 8
		if in.Proto == ipsec.AH {
			need = 12
		}
		if in.Off < 20 || in.End-in.Off < need || in.End > len(pkt) || in.NextOff >= in.HeaderEnd() ||
			in.HeaderEnd() > in.Off ||
			!in.Src.IsValid() || in.Src.Is4() != in.Dst.Is4() {
			t.Fatalf("%x: %+v", pkt, in)
		}
		if again, err := ipsec.ParseInbound(pkt[:len(pkt):len(pkt)]); err != nil || again != in {
			t.Fatalf("%x: second time %+v, %v", pkt, again, err)
		}
	}
	for off := range 64 {
		switch err := ah.VerifyAH(pkt, off, 0); err {
		case nil:
			t.Fatalf("%x has a right ICV at %d", pkt, off)
		case ipsec.ErrICV:
			sealed := bytes.Clone(pkt)
			if err := ah.SealAH(sealed, off, 0); err != nil {
				t.Fatal(err)
			}
			if err := ah.VerifyAH(sealed, off, 0); err != nil {
				t.Fatalf("%x sealed at %d: %v", pkt, off, err)
			}
		}
	}
	if err == nil {
		payload, next := pkt[in.Off:in.End], uint8(4)
		if in.Proto == ipsec.ESP {
			if plain, err := esp.OpenESP(nil, in.ESP(pkt), 0); err == nil {
				if len(plain) != in.End-in.Off-24 {
					t.Fatalf("opened %d bytes of %d", len(plain), in.End-in.Off)
				}
				_, next, _ = ipsec.Trailer(plain)
				payload = ipsec.Payload(plain)
			}
		} else {
			h := ipsec.ParseAH(pkt, &in)
			next = h.Next
			payload = pkt[min(in.Off+h.Len, in.End):in.End]
		}
		out, err := ipsec.DecapTransport(nil, pkt, &in, payload, next)
		if err != nil || len(out) != in.HeaderEnd()+len(payload) || out[in.NextOff] != next {
			t.Fatalf("%x: decapsulated to %x, %v", pkt, out, err)
		}
		if place, err := ipsec.DecapTransport(bytes.Clone(pkt)[:0], pkt, &in, payload, next); err != nil ||
			!bytes.Equal(place, out) {
			t.Fatalf("%x: decapsulated to %x, %v in other memory", pkt, place, err)
		}
	}
	for _, next := range []uint8{4, 41, 17} {
		if inner, err := ipsec.DecapTunnel(pkt, next); err == nil {
			if len(inner) < 20 || len(inner) > len(pkt) || &inner[0] != &pkt[0] || cap(inner) != len(inner) {
				t.Fatalf("%x: inner packet %x", pkt, inner)
			}
		}
	}
	if !bytes.Equal(pkt, before) {
		t.Fatalf("%x was changed to %x", before, pkt)
	}
	iv := make([]byte, 16)
	if out, err := esp.SealTransport(nil, pkt, ipsec.Ports{}, ipsec.Sealing{IV: iv}); err == nil {
		if in, err := ipsec.ParseInbound(out); err != nil || in.Proto != ipsec.ESP {
			t.Fatalf("%x sealed to %x: %v", pkt, out, err)
		}
	}
	if out, err := ah.SealTransport(nil, pkt, ipsec.Ports{}, ipsec.Sealing{}); err == nil {
		in, err := ipsec.ParseInbound(out)
		if err != nil || ah.VerifyAH(out, in.Off, 0) != nil {
			t.Fatalf("%x sealed to %x: %v", pkt, out, err)
		}
	}
	for _, o := range []ipsec.Outer{{Src: v4a, Dst: v4b, TOSRule: ipsec.TOSCopyECN, DF: ipsec.DFCopy},
		{Src: v6a, Dst: v6b, CopyFlow: true}} {
		if out, err := esp.SealTunnel(nil, pkt, &o, ipsec.Ports{Src: 1, Dst: 2}, ipsec.Sealing{IV: iv}); err == nil &&
			len(out) <= len(pkt) {
			t.Fatalf("%x sealed to %x", pkt, out)
		}
	}
	ip.SetTOS(pkt, ip.TOS(pkt))
}

// TestHostile cuts every kind of packet at every length, with and without lengths that fit, and puts every value into
// every byte of its headers.
func TestHostile(t *testing.T) {
	esp, ah := newTransform(t, hostileESP), newTransform(t, hostileAH)
	for _, p := range specimens() {
		for n := range len(p) + 1 {
			handle(t, esp, ah, p[:n])
			fit := bytes.Clone(p[:n])
			switch {
			case n >= 20 && fit[0]>>4 == 4:
				binary.BigEndian.PutUint16(fit[2:], uint16(n))
			case n >= 40 && fit[0]>>4 == 6:
				binary.BigEndian.PutUint16(fit[4:], uint16(n-40))
			}
			handle(t, esp, ah, fit)
		}
		for i := range min(len(p), 64) {
			for _, v := range []byte{0, 1, 2, 4, 7, 8, 0x3f, 0x40, 0x45, 0x46, 0x4f, 0x60, 0x7f, 0x80, 0xfe, 0xff, 50,
				51, 43, 44, 60} {
				handle(t, esp, ah, edit(bytes.Clone(p), i, int(v)))
			}
		}
	}
	for n := range 41 { // every first byte, then all alike
		for first := range 256 {
			for _, rest := range []byte{0, 4, 0x32, 0x33, 0xff} {
				p := bytes.Repeat([]byte{rest}, n)
				if n > 0 {
					p[0] = byte(first)
				}
				handle(t, esp, ah, p)
			}
		}
	}
}

// TestHostileESP gives every suite ESP parts of every small length.
func TestHostileESP(t *testing.T) {
	for _, s := range suites() {
		tr := newTransform(t, s)
		for n := range 120 {
			esp := sequence(byte(n), n)[:n:n]
			before := bytes.Clone(esp)
			plain, err := tr.OpenESP([]byte("x"), esp, 1)
			room := n - 8 - tr.IVLen() - tr.ICVLen()
			var want error
			switch {
			case s.Proto == ipsec.AH:
				want = ipsec.ErrProtocol
			case room < 2:
				want = ipsec.ErrShort
			case tr.Authenticated():
				want = ipsec.ErrICV
			case room%tr.Block() != 0:
				want = ipsec.ErrLength
			}
			if err != want {
				t.Fatalf("%v, %d bytes: %v, want %v", s, n, err, want)
			}
			if wantLen := 1 + room; err == nil && len(plain) != wantLen || err != nil && string(plain) != "x" {
				t.Fatalf("%v, %d bytes: %d bytes of plaintext", s, n, len(plain))
			}
			if !bytes.Equal(esp, before) {
				t.Fatalf("%v changed the packet", s)
			}
		}
	}
}

// seedPackets adds the specimens and the first packets of the captures.
func seedPackets(f *testing.F, add func([]byte)) {
	for _, p := range specimens() {
		add(p)
	}
	names, _ := filepath.Glob(captures + "/*.pcap")
	for _, name := range names {
		file, err := os.Open(name)
		if err != nil {
			f.Fatal(err)
		}
		if r, err := pcapgo.NewReader(file); err == nil {
			if p, _, err := r.ReadPacketData(); err == nil {
				add(p)
			}
		}
		file.Close()
	}
}

func FuzzParseInbound(f *testing.F) {
	seedPackets(f, func(p []byte) { f.Add(p) })
	esp, ah := newTransform(f, hostileESP), newTransform(f, hostileAH)
	f.Fuzz(func(t *testing.T, pkt []byte) {
		if len(pkt) > 4096 {
			return
		}
		handle(t, esp, ah, pkt)
	})
}

func FuzzOpenESP(f *testing.F) {
	var trs []*ipsec.Transform
	for _, s := range suites() {
		if s.Proto == ipsec.ESP {
			trs = append(trs, newTransform(f, s))
		}
	}
	seedPackets(f, func(p []byte) {
		if in, err := ipsec.ParseInbound(p); err == nil {
			f.Add(byte(len(p)), uint32(0), in.ESP(p))
		}
	})
	f.Fuzz(func(t *testing.T, suite byte, hi uint32, esp []byte) {
		tr := trs[int(suite)%len(trs)]
		head := 8 + tr.IVLen()
		before := bytes.Clone(esp)
		plain, err := tr.OpenESP(nil, esp, hi)
		if !bytes.Equal(esp, before) {
			t.Fatal("the packet was changed")
		}
		if err == nil && len(plain) != len(esp)-head-tr.ICVLen() {
			t.Fatalf("%d bytes of %d", len(plain), len(esp))
		}
		if err == nil {
			got, err := tr.OpenESP(bytes.Clone(esp)[:head], esp, hi)
			if err != nil || !bytes.Equal(got[head:], plain) {
				t.Fatalf("second time: %x, %v", got, err)
			}
		}
		sealed, err := tr.SealESP(nil, esp, suite, ipsec.Sealing{SPI: hi, Seq: uint64(hi)<<32 | 1,
			IV: sequence(suite, tr.IVLen())})
		if err != nil {
			if len(esp) < 65000 {
				t.Fatal(err)
			}
			return
		}
		plain, err = tr.OpenESP(nil, sealed, hi)
		if err != nil || !bytes.Equal(ipsec.Payload(plain), esp) || !ipsec.CheckPadding(plain) {
			t.Fatalf("sealed and opened: %x, %v", plain, err)
		}
	})
}

func FuzzVerifyAH(f *testing.F) {
	ah := newTransform(f, hostileAH)
	seedPackets(f, func(p []byte) {
		in, _ := ipsec.ParseInbound(p)
		f.Add(in.Off, p)
	})
	f.Fuzz(func(t *testing.T, off int, pkt []byte) {
		before := bytes.Clone(pkt)
		err := ah.VerifyAH(pkt, off, 0)
		if !bytes.Equal(pkt, before) {
			t.Fatal("the packet was changed")
		}
		if err != ipsec.ErrICV {
			return
		}
		if err := ah.SealAH(pkt, off, 0); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(pkt[:off+12], before[:off+12]) || !bytes.Equal(pkt[off+24:], before[off+24:]) {
			t.Fatal("more than the ICV was changed")
		}
		if err := ah.VerifyAH(pkt, off, 0); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzDecap(f *testing.F) {
	seedPackets(f, func(p []byte) { f.Add(uint8(4), uint16(8), uint16(20), p) })
	f.Fuzz(func(t *testing.T, next uint8, from, to uint16, pkt []byte) {
		in, err := ipsec.ParseInbound(pkt)
		if err != nil {
			return
		}
		a := min(in.Off+int(from), in.End)
		payload := pkt[a:min(a+int(to), in.End)]
		out, err := ipsec.DecapTransport(nil, pkt, &in, payload, next)
		if err != nil || len(out) > in.End || out[in.NextOff] != next {
			t.Fatalf("%x, %v", out, err)
		}
		if inner, err := ipsec.DecapTunnel(payload, next); err == nil && (len(inner) > len(payload) ||
			len(inner) < 20) {
			t.Fatalf("inner packet of %d bytes in %d", len(inner), len(payload))
		}
		want := bytes.Clone(out)
		got, err := ipsec.DecapTransport(pkt[:0], pkt, &in, payload, next) // in place, last
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("in place: %x, %v; want %x", got, err, want)
		}
	})
}
