package ipsec_test

import (
	"bytes"
	"crypto/md5"
	"errors"
	"net/netip"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
)

// TestSignTCP computes a signature by hand, over what RFC 2385 says.
func TestSignTCP(t *testing.T) {
	a := netip.MustParseAddrPort
	key := ipsec.NewKey([]byte("secret"))
	plain, err := ip.SYN(a("192.0.2.1:1790"), a("192.0.2.2:179"), 7, 65535, []byte{2, 4, 5, 0xb4})
	if err != nil {
		t.Fatal(err)
	}
	plain = append(plain, "data"...)
	ip.SetLength(plain)
	signed, err := ipsec.SignTCP(plain, 20, key)
	if err != nil {
		t.Fatal(err)
	}
	if options := signed[40:64]; !bytes.Equal(options[:8], []byte{2, 4, 5, 0xb4, 1, 1, 19, 18}) {
		t.Errorf("options %x", options)
	}
	header := bytes.Clone(signed[20:40])
	header[16], header[17] = 0, 0
	text := append(bytes.Clone(plain[12:20]), 0, 6, 0, 48) // header of 44 bytes, data of 4
	text = append(append(append(text, header...), "data"...), "secret"...)
	if want := md5.Sum(text); !bytes.Equal(signed[48:64], want[:]) {
		t.Errorf("signature %x, want %x", signed[48:64], want)
	}
	if err := ipsec.VerifyTCP(signed, 20, key); err != nil {
		t.Error(err)
	}
	again, err := ipsec.SignTCP(signed, 20, key)
	if err != nil || !bytes.Equal(again, signed) {
		t.Errorf("a signature is not replaced: %x, %v", again, err)
	}
	for _, test := range []struct {
		name string
		pkt  []byte
		key  string
		want error
	}{
		{"another key", signed, "other", ipsec.ErrICV},
		{"none", plain, "secret", ipsec.ErrUnsigned},
		{"other data", append(bytes.Clone(signed[:len(signed)-1]), 'b'), "secret", ipsec.ErrICV},
		{"cut", signed[:39], "secret", ipsec.ErrShort},
		{"options cut", signed[:50], "secret", ipsec.ErrOption},
	} {
		if err := ipsec.VerifyTCP(test.pkt, 20, ipsec.NewKey([]byte(test.key))); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

// FuzzTCP has options of every kind; what is signed is also right.
func FuzzTCP(f *testing.F) {
	f.Add([]byte{2, 4, 5, 0xb4}, []byte("data"))
	f.Add([]byte{19, 18}, []byte{})
	f.Fuzz(func(t *testing.T, options, data []byte) {
		options = options[:min(len(options), 40)&^3]
		a := netip.MustParseAddrPort
		pkt, err := ip.SYN(a("[2001:db8::1]:1"), a("[2001:db8::2]:2"), 1, 2, options)
		if err != nil || len(data) > 1000 {
			return
		}
		pkt = append(pkt, data...)
		ip.SetLength(pkt)
		key := ipsec.NewKey([]byte("k"))
		if signed, err := ipsec.SignTCP(pkt, 40, key); err == nil {
			if err := ipsec.VerifyTCP(signed, 40, key); err != nil {
				t.Errorf("%x: %v", signed, err)
			}
		}
	})
}
