package ip_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/ip"
)

// Whole packets, a header a line. The checksums were computed by another implementation (a Python script).
func TestMake(t *testing.T) {
	at := netip.MustParseAddrPort
	addr := netip.MustParseAddr
	for _, tt := range []struct {
		name string
		made func() ([]byte, error)
		want []string
	}{
		{"UDP, IPv4", func() ([]byte, error) {
			return ip.UDP(at("192.0.2.1:1000"), at("192.0.2.2:2000"), []byte("hello"))
		}, []string{
			"45000021000000004011f6c8c0000201c0000202", "03e807d0000d2c46", "68656c6c6f"}},
		{"UDP, IPv6", func() ([]byte, error) {
			return ip.UDP(at("[2001:db8::1]:1000"), at("[2001:db8::2]:2000"), []byte("hello"))
		}, []string{
			"60000000000d1140", "20010db8000000000000000000000001", "20010db8000000000000000000000002",
			"03e807d0000d54d5", "68656c6c6f"}},
		{"echo, IPv4", func() ([]byte, error) {
			return ip.Echo(addr("192.0.2.1"), addr("192.0.2.2"), 0x1234, 1, []byte("ping"))
		}, []string{
			"45000020000000004001f6d9c0000201c0000202", "080006fa12340001", "70696e67"}},
		{"echo, IPv6", func() ([]byte, error) {
			return ip.Echo(addr("2001:db8::1"), addr("2001:db8::2"), 0x1234, 1, []byte("ping"))
		}, []string{
			"60000000000c3a40", "20010db8000000000000000000000001", "20010db8000000000000000000000002",
			"8000333e12340001", "70696e67"}},
		{"SYN, IPv4", func() ([]byte, error) {
			return ip.SYN(at("192.0.2.1:1000"), at("192.0.2.2:80"), 7, 0xffff, nil)
		}, []string{
			"45000028000000004006f6ccc0000201c0000202", "03e8005000000007000000005002ffff27a00000"}},
	} {
		got, err := tt.made()
		if err != nil || hex.EncodeToString(got) != strings.Join(tt.want, "") {
			t.Errorf("%s: %v\n got %x\nwant %s", tt.name, err, got, strings.Join(tt.want, ""))
		}
	}
	if _, err := ip.UDP(at("192.0.2.1:1"), at("[2001:db8::1]:1"), nil); !errors.Is(err, ip.ErrAddress) {
		t.Errorf("two families: %v", err)
	}
	if _, err := ip.UDP(netip.AddrPort{}, netip.AddrPort{}, nil); !errors.Is(err, ip.ErrAddress) {
		t.Errorf("no addresses: %v", err)
	}
	for _, tt := range []struct {
		src  string
		most int
	}{{"192.0.2.1:1", 65535 - 28}, {"[2001:db8::1]:1", 65535 - 8}} {
		if _, err := ip.UDP(at(tt.src), at(tt.src), make([]byte, tt.most)); err != nil {
			t.Errorf("%s, %d bytes: %v", tt.src, tt.most, err)
		}
		if _, err := ip.UDP(at(tt.src), at(tt.src), make([]byte, tt.most+1)); !errors.Is(err, ip.ErrTooLong) {
			t.Errorf("%s, %d bytes: %v", tt.src, tt.most+1, err)
		}
	}
}

// A header is written whole, whatever stood there.
func TestPutOverwrites(t *testing.T) {
	for _, f := range []ip.Fields{
		{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("192.0.2.2"), Proto: 50, TTL: 64},
		{Src: netip.MustParseAddr("2001:db8::1"), Dst: netip.MustParseAddr("2001:db8::2"), Proto: 50, TTL: 64},
	} {
		clean, dirty := make([]byte, f.Len()), bytes.Repeat([]byte{0xff}, f.Len())
		f.Put(clean)
		f.Put(dirty)
		if !bytes.Equal(clean, dirty) {
			t.Errorf("over 0xff:\n got %x\nwant %x", dirty, clean)
		}
	}
}

func TestFirstLen(t *testing.T) {
	for hex, want := range map[string]int{"": 0, "45": 20, "4f": 60, "60": 40} {
		if got := ip.FirstLen(unhex(hex)); got != want {
			t.Errorf("%q: %d, want %d", hex, got, want)
		}
	}
}
