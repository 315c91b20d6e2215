package ipsec_test

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"github.com/pfkeyd/pfkeyd/ipsec"
)

// TestOpenRefuses: what does not fit, and what somebody has changed.
func TestOpenRefuses(t *testing.T) {
	inner := ip4(17, nil, udp(53, 53, []byte("hello")))
	outer := ipsec.Outer{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("192.0.2.2")}
	// Without a MAC the padding is all that can be wrong, and in counter mode each bit of the packet is one of the
	// plaintext.
	ctr := ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCTR, Key: ipsec.NewKey(make([]byte, 16)),
		Salt: ipsec.NewKey(make([]byte, 4))}
	ah := ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.HMACSHA1, AuthKey: ipsec.NewKey(make([]byte, 20))}
	for _, tt := range []struct {
		name  string
		suite ipsec.Suite
		spoil func(pkt []byte, in *ipsec.Inbound) []byte
		want  error
	}{
		{"nothing", ctr, func(pkt []byte, _ *ipsec.Inbound) []byte { return pkt }, nil},
		{"nothing, AH", ah, func(pkt []byte, _ *ipsec.Inbound) []byte { return pkt }, nil},
		{"what follows the packet", ctr, func(pkt []byte, _ *ipsec.Inbound) []byte { return append(pkt, 1, 2, 3) },
			nil},
		{"the packet cut", ctr, func(pkt []byte, _ *ipsec.Inbound) []byte { return pkt[:len(pkt)-1] }, ipsec.ErrShort},
		{"of another packet", ctr, func(pkt []byte, in *ipsec.Inbound) []byte { in.Off = in.End + 1; return pkt },
			ipsec.ErrShort},
		{"of no packet", ctr, func(pkt []byte, in *ipsec.Inbound) []byte { in.Off, in.End = -2, -1; return pkt },
			ipsec.ErrShort},
		{"a byte of the padding", ctr, func(pkt []byte, in *ipsec.Inbound) []byte { pkt[in.End-3] ^= 1; return pkt },
			ipsec.ErrPadding},
		{"more padding than there is", ctr, func(pkt []byte, in *ipsec.Inbound) []byte {
			pkt[in.End-2] ^= 0x80
			return pkt
		}, ipsec.ErrPadding},
		{"the next header", ctr, func(pkt []byte, in *ipsec.Inbound) []byte { pkt[in.End-1] ^= 1; return pkt },
			ipsec.ErrProtocol},
		{"a byte under AH", ah, func(pkt []byte, in *ipsec.Inbound) []byte { pkt[in.End-1] ^= 1; return pkt },
			ipsec.ErrICV},
	} {
		tr, err := tt.suite.New()
		if err != nil {
			t.Fatal(err)
		}
		pkt, err := tr.SealTunnel(nil, inner, &outer, ipsec.Ports{}, ipsec.Sealing{SPI: 0x1000, Seq: 1,
			IV: make([]byte, tr.IVLen())})
		if err != nil {
			t.Fatal(err)
		}
		in, err := ipsec.ParseInbound(pkt)
		if err != nil {
			t.Fatal(err)
		}
		pkt = tt.spoil(pkt, &in)
		got, err := tr.OpenTunnel(pkt, &in, 0)
		if !errors.Is(err, tt.want) || err == nil && !bytes.Equal(got, inner) {
			t.Errorf("%s: %x, %v, want %v", tt.name, got, err, tt.want)
		}
		if _, err := tr.OpenTransport(pkt, &in, 0); !errors.Is(err, tt.want) && tt.want != ipsec.ErrProtocol {
			t.Errorf("%s: as transport mode %v, want %v", tt.name, err, tt.want)
		}
	}
}
