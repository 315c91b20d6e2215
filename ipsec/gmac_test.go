package ipsec_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/ipsec"
)

// TestAHGMACVector opens a packet that somebody else protected with AH and AES-GMAC, and makes it again: the one of
// OpenDataPlane's validation suite (pkt_ipv4_icmp_0_ah_aes_gmac_128_1).
func TestAHGMACVector(t *testing.T) {
	icmp := slices.Concat(unhex("0800fb37 12340000 babe0123 4567cafe"), sequence(0, 0x5c))
	plain := slices.Concat(unhex("45000080 00000000 4001ac27 c0a86f02 c0a8de02"), icmp)
	want := slices.Concat(unhex("450000a4 00000000 4033abd1 c0a86f02 c0a8de02"+
		"01070000 0000007b 00000001 0100000000000000 d60ecc223179597268c958fb8bb0bbd5"), icmp)
	secret := append(bytes.Repeat([]byte{0xa5}, 16), unhex("cafebabe")...)
	tr := newTransform(t, ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.GMAC, AuthKey: ipsec.NewKey(secret)})
	if tr.IVLen() != 8 || tr.ICVLen() != 24 {
		t.Errorf("IV of %d bytes, ICV of %d with it; want 8 and 24", tr.IVLen(), tr.ICVLen())
	}
	got, err := tr.SealTransport(nil, plain, ipsec.Ports{}, ipsec.Sealing{SPI: 123, Seq: 1,
		IV: unhex("0100000000000000")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sealed (-published +ours)\n%s", diff)
	}
	in, err := ipsec.ParseInbound(want)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := tr.OpenTransport(want, &in, 0)
	if err != nil || !bytes.Equal(opened, plain) {
		t.Errorf("opened to %x, %v", opened, err)
	}
	for i := in.Off; i < len(want); i++ { // the IV as well
		bad := bytes.Clone(want)
		bad[i] ^= 1
		if tr.VerifyAH(bad, in.Off, 0) == nil {
			t.Errorf("byte %d changed unnoticed", i)
		}
	}
}

// TestESPGMACVector does the same with ESP, where AES-GMAC is a cipher that encrypts nothing
// (pkt_ipv4_icmp_0_esp_null_aes_gmac_128_1).
func TestESPGMACVector(t *testing.T) {
	icmp := slices.Concat(unhex("0800fb37 12340000 babe0123 4567cafe"), sequence(0, 0x5c))
	plain := slices.Concat(unhex("45000080 00000000 4001ac27 c0a86f02 c0a8de02"), icmp)
	want := slices.Concat(unhex("450000a4 00000000 4032abd2 c0a86f02 c0a8de02 0000007b 00000001 0100000000000000"),
		icmp,
		unhex("01020201 160ea68fb3a68c74195972809198775e"))
	tr := newTransform(t, ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESGMAC,
		Key:  ipsec.NewKey(bytes.Repeat([]byte{0xa5}, 16)),
		Salt: ipsec.NewKey(unhex("cafebabe"))})
	got, err := tr.SealTransport(nil, plain, ipsec.Ports{}, ipsec.Sealing{SPI: 123, Seq: 1,
		IV: unhex("0100000000000000")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sealed (-published +ours)\n%s", diff)
	}
	in, err := ipsec.ParseInbound(want)
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := tr.OpenTransport(want, &in, 0); err != nil || !bytes.Equal(opened, plain) {
		t.Errorf("opened to %x, %v", opened, err)
	}
}

// TestAHGMAC: every key length, either IP version, with and without extended sequence numbers. In IPv6 the header is
// padded to 8 bytes.
func TestAHGMAC(t *testing.T) {
	for _, size := range []int{20, 28, 36} {
		for _, esn := range []bool{false, true} {
			tr := newTransform(t, ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.GMAC, AuthKey: key(size), ESN: esn})
			for length, pkt := range map[int][]byte{36: ip4(17, nil, udp(1, 2, sequence(0, 9))), 40: ip6(17,
				udp(1, 2, sequence(0, 9)))} {
				iv, err := tr.AppendIV(nil, 7, nil)
				if err != nil || !bytes.Equal(iv, unhex("0000000000000007")) {
					t.Fatalf("IV %x, %v", iv, err)
				}
				sealed, err := tr.SealTransport(nil, pkt, ipsec.Ports{}, ipsec.Sealing{SPI: 1, Seq: 5<<32 | 2, IV: iv})
				if err != nil {
					t.Fatal(err)
				}
				in, err := ipsec.ParseInbound(sealed)
				if err != nil {
					t.Fatal(err)
				}
				if got := ipsec.ParseAH(sealed, &in).Len; got != length {
					t.Errorf("key of %d bytes: a header of %d bytes, want %d", size, got, length)
				}
				if opened, err := tr.OpenTransport(sealed, &in, 5); err != nil || !bytes.Equal(opened, pkt) {
					t.Errorf("key of %d bytes, ESN %v: %x, %v", size, esn, opened, err)
				}
				if err := tr.VerifyAH(sealed, in.Off, 6); (err == ipsec.ErrICV) != esn {
					t.Errorf("ESN %v, another high half: %v", esn, err)
				}
			}
		}
	}
	tr := newTransform(t, ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.GMAC, AuthKey: key(20)})
	if _, err := tr.SealTransport(nil, ip4(17, nil, udp(1, 2, nil)), ipsec.Ports{}, ipsec.Sealing{SPI: 1,
		Seq: 1}); err != ipsec.ErrIV {
		t.Errorf("without an IV: %v", err)
	}
	for name, s := range map[string]ipsec.Suite{
		"a key without its salt": {Proto: ipsec.AH, MAC: ipsec.GMAC, AuthKey: key(16)},
		"another ICV":            {Proto: ipsec.AH, MAC: ipsec.GMAC, AuthKey: key(20), ICV: 16},
		"ESP":                    {Proto: ipsec.ESP, MAC: ipsec.GMAC, AuthKey: key(20)},
	} {
		if _, err := s.New(); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
