package ipsec_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/ipsec"
)

// TestAHMutable changes fields of sealed packets one by one: those that routers may change do not matter, all others
// do.
func TestAHMutable(t *testing.T) {
	tr := newTransform(t, ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.HMACSHA256, AuthKey: key(32)})
	payload := udp(1, 2, sequence(0, 9))
	tests := []struct {
		name    string
		pkt     []byte
		mutable func(off int) bool // of the headers before AH
	}{
		{"IPv4", ip4(17, nil, payload), func(i int) bool { return i == 1 || i >= 6 && i <= 8 || i == 10 || i == 11 }},
		{
			// Router alert and no-operation stay, record route and time stamp do not.
			"IPv4 with options", ip4(17, unhex("9404abcd 01 0707040a0b0c0d 4408050000000000 820400ff"), payload),
			func(i int) bool {
				return i == 1 || i >= 6 && i <= 8 || i == 10 || i == 11 || i >= 25 && i < 40 && i != 26 && i != 33
			},
		},
		{"IPv6", ip6(17, payload), func(i int) bool { return i < 4 || i == 7 }},
		{
			// Hop-by-hop: the data of option 0x3e may change, that of 0x1e may not. The destination option may not.
			"IPv6 with options", ip6(17, payload, ext{0, unhex("3e02aabb 1e02ccdd 000000000000")},
				ext{60, unhex("1e020102 0100")}),
			func(i int) bool { return i < 4 || i == 7 || i == 44 || i == 45 },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pkt, err := tr.SealTransport(nil, tt.pkt, ipsec.Ports{}, ipsec.Sealing{SPI: 1, Seq: 2})
			if err != nil {
				t.Fatal(err)
			}
			in, err := ipsec.ParseInbound(pkt)
			if err != nil {
				t.Fatal(err)
			}
			original := bytes.Clone(pkt)
			if err := tr.VerifyAH(pkt, in.Off, 0); err != nil {
				t.Fatal(err)
			}
			for i := range pkt {
				pkt[i] ^= 1 // of byte 0: not the version
				err := tr.VerifyAH(pkt, in.Off, 0)
				switch want := i < in.Off && tt.mutable(i); {
				case want && err != nil:
					t.Errorf("byte %d: %v, though it may change", i, err)
				case !want && err == nil:
					t.Errorf("byte %d changed unnoticed", i)
				}
				copy(pkt, original)
			}
			if diff := cmp.Diff(original, pkt); diff != "" {
				t.Errorf("VerifyAH changed the packet:\n%s", diff)
			}
		})
	}
}

// TestAHSourceRoute seals at the source, with hops to go, and verifies at every hop and at the destination.
func TestAHSourceRoute(t *testing.T) {
	tr := newTransform(t, ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.HMACSHA1, AuthKey: key(20)})
	check := func(name string, pkt []byte) {
		t.Helper()
		in, err := ipsec.ParseInbound(pkt)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := tr.VerifyAH(pkt, in.Off, 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// IPv4, loose source route by 10.0.0.1, the destination of the header, and 10.0.0.2 to 10.0.0.3.
	route := func(ptr string, dst string, a, b string) []byte {
		p := ip4(17, unhex("830b"+ptr+a+b+"01"), []byte("data"))
		copy(p[16:], unhex(dst))
		return p
	}
	pkt, err := tr.SealTransport(nil, route("04", "0a000001", "0a000002", "0a000003"), ipsec.Ports{},
		ipsec.Sealing{SPI: 1, Seq: 1})
	if err != nil {
		t.Fatal(err)
	}
	check("IPv4 at the source", pkt)
	copy(pkt[16:], unhex("0a000002 830b08 0a0000ff 0a000003"))
	check("IPv4 after one hop", pkt)
	copy(pkt[16:], unhex("0a000003 830b0c 0a0000ff 0a0000fe"))
	check("IPv4 at the destination", pkt)
	copy(pkt[16:], unhex("0a000002 830b0c 0a0000ff 0a0000fe"))
	if err := tr.VerifyAH(pkt, 32, 0); err != ipsec.ErrICV {
		t.Errorf("IPv4 at another destination: %v", err)
	}

	// IPv6, routing header type 0: destinations 1, 2, 3 in this order.
	addr := func(n byte) []byte { return append(unhex("20010db8 0000000000000000000000"), n) }
	six := func(left byte, dst, a, b byte) []byte {
		body := append(append([]byte{0, left, 0, 0, 0, 0}, addr(a)...), addr(b)...)
		p := ip6(17, []byte("data"), ext{43, body})
		copy(p[24:], addr(dst))
		return p
	}
	pkt, err = tr.SealTransport(nil, six(2, 1, 2, 3), ipsec.Ports{}, ipsec.Sealing{SPI: 1, Seq: 1})
	if err != nil {
		t.Fatal(err)
	}
	sealed := pkt[80:]
	for _, hop := range []struct {
		name         string
		left         byte
		dst, a, b    byte
		authenticate bool
	}{
		{"IPv6 at the source", 2, 1, 2, 3, true},
		{"IPv6 after one hop", 1, 2, 1, 3, true},
		{"IPv6 at the destination", 0, 3, 1, 2, true},
		{"IPv6 with another way", 0, 3, 2, 1, false},
	} {
		p := six(hop.left, hop.dst, hop.a, hop.b)
		p = append(p[:80:80], sealed...)
		copy(p[4:], pkt[4:6]) // length
		p[40] = 51
		if err := tr.VerifyAH(p, 80, 0); (err == nil) != hop.authenticate {
			t.Errorf("%s: %v", hop.name, err)
		}
	}
}

func TestAHErrors(t *testing.T) {
	tr := newTransform(t, ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.HMACSHA1, AuthKey: key(20)})
	ah := func(length byte) []byte { return append([]byte{17, length}, sequence(0, 60)...) }
	hop := func(body string) ext { return ext{0, unhex(body)} }
	for _, tt := range []struct {
		name string
		pkt  []byte
		off  int
		want error
	}{
		{"ICV", ip4(51, nil, ah(4)), 20, ipsec.ErrICV},
		{"longer than the ICV needs", ip4(51, nil, ah(13)), 20, ipsec.ErrICV},
		{"shorter than the ICV", ip4(51, nil, ah(3)), 20, ipsec.ErrAHLen},
		{"longer than the packet", ip4(51, nil, ah(14)), 20, ipsec.ErrAHLen},
		{"offset 0", ip4(51, nil, ah(4)), 0, ipsec.ErrShort},
		{"offset negative", ip4(51, nil, ah(4)), -1, ipsec.ErrShort},
		{"offset at the end", ip4(51, nil, ah(4)), 82, ipsec.ErrShort},
		{"offset past the end", ip4(51, nil, ah(4)), 83, ipsec.ErrShort},
		{"nothing", nil, 20, ipsec.ErrShort},
		{"version 3", edit(ip4(51, nil, ah(4)), 0, 0x35), 20, ipsec.ErrVersion},
		{"offset past the header", ip4(51, nil, bytes.Repeat([]byte{4}, 80)), 24, ipsec.ErrHeaderLen},
		{"option without length", ip4(51, unhex("01010107"), ah(4)), 24, ipsec.ErrOption},
		{"option of length 1", ip4(51, unhex("07010000"), ah(4)), 24, ipsec.ErrOption},
		{"option past the header", ip4(51, unhex("07050000"), ah(4)), 24, ipsec.ErrOption},
		{"IPv6, offset 20", ip6(51, append(ah(4), ah(4)...)), 20, ipsec.ErrAHLen},
		{"IPv6, not AH", ip6(50, ah(4)), 40, ipsec.ErrExtension},
		{"IPv6, offset in an extension header", ip6(51, ah(4), hop("010400000000")), 44, ipsec.ErrAHLen},
		{"IPv6, option past its header", ip6(51, ah(4), hop("01050000ffff")), 48, ipsec.ErrExtension},
		{"IPv6, option without length", ip6(51, ah(4), hop("010300000001")), 48, ipsec.ErrExtension},
		{"IPv6, routing with too many hops", ip6(51, ah(4), ext{43, unhex("000100000000")}), 48, ipsec.ErrExtension},
		{"IPv6, routing with half an address", ip6(51, ah(4), ext{43, unhex("000000000000 0000000000000000")}), 56,
			ipsec.ErrExtension},
		{"IPv6, ESP in between", ip6(51, ah(4), ext{50, unhex("000000000000")}), 48, ipsec.ErrExtension},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := bytes.Clone(tt.pkt)
			if err := tr.VerifyAH(tt.pkt, tt.off, 0); err != tt.want {
				t.Errorf("VerifyAH: %v, want %v", err, tt.want)
			}
			if !bytes.Equal(before, tt.pkt) {
				t.Error("VerifyAH changed the packet")
			}
			want := tt.want
			if want == ipsec.ErrICV {
				want = nil
			}
			if err := tr.SealAH(tt.pkt, tt.off, 0); err != want {
				t.Errorf("SealAH: %v, want %v", err, want)
			}
			if want == nil {
				if err := tr.VerifyAH(tt.pkt, tt.off, 0); err != nil {
					t.Errorf("VerifyAH after SealAH: %v", err)
				}
			}
		})
	}
}

func TestAHSequenceNumber(t *testing.T) {
	tr := newTransform(t, ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.AESXCBC, AuthKey: key(16), ESN: true})
	pkt, err := tr.SealTransport(nil, ip4(17, nil, []byte("data")), ipsec.Ports{},
		ipsec.Sealing{SPI: 1, Seq: 3<<32 | 2})
	if err != nil {
		t.Fatal(err)
	}
	for hi, want := range map[uint32]error{2: ipsec.ErrICV, 3: nil, 4: ipsec.ErrICV} {
		if err := tr.VerifyAH(pkt, 20, hi); err != want {
			t.Errorf("high half %d: %v, want %v", hi, err, want)
		}
	}
}

func TestAHLen(t *testing.T) {
	for _, tt := range []struct{ icv, align, want int }{
		{12, 4, 24}, {12, 8, 24}, {16, 4, 28}, {16, 8, 32}, {24, 4, 36}, {24, 8, 40}, {32, 4, 44}, {32, 8, 48},
	} {
		if got := ipsec.AHLen(tt.icv, tt.align); got != tt.want {
			t.Errorf("AHLen(%d, %d) = %d, want %d", tt.icv, tt.align, got, tt.want)
		}
	}
}
