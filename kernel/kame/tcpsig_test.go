package kame_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// signature is an SA for the signatures of TCP segments from one end to the other.
func signature(src, dst netip.Addr, spi wire.SPI, key string) pfkey.SA {
	sa := pfkey.SA{Auth: wire.AuthMD5, AuthKey: pfkey.NewKey([]byte(key))}
	sa.SAID = pfkey.SAID{Type: wire.SATypeTCPSig, SPI: spi, Src: pfkey.Host(src), Dst: pfkey.Host(dst)}
	return sa
}

// syn is the first segment of a connection, with options.
func syn(t testing.TB, src, dst netip.Addr, options ...byte) []byte {
	t.Helper()
	pkt, err := ip.SYN(netip.AddrPortFrom(src, 1790), netip.AddrPortFrom(dst, 179), 7, 65535, options)
	if err != nil {
		t.Fatal(err)
	}
	return pkt
}

// TestSignatures has segments signed and checked between the ends of SAs, and nowhere else.
func TestSignatures(t *testing.T) {
	eachHeir(t, func(t *testing.T, h *host) {
		spis := []wire.SPI{0x1000, 0x1001, 0x1002, 0x1003}
		bad, missing := "bad-icv tcpstat.tcps_sig_rcvbadsig", "bad-icv tcpstat.tcps_sig_err_nosigopt"
		if h.kernel == "netbsd" { // where all have one
			spis = []wire.SPI{0x1000, 0x1000, 0x1000, 0x1000}
			bad, missing = "bad-icv tcpstat.badsig", "bad-icv tcpstat.badsig"
		}
		key := ipsec.NewKey([]byte("secret"))
		for i, ends := range [][2]netip.Addr{{me, peer}, {peer, me}, {me6, peer6}, {peer6, me6}} {
			h.add(signature(ends[0], ends[1], spis[i], "secret"))
		}
		for _, ends := range [][2]netip.Addr{{me, peer}, {me6, peer6}} {
			plain := syn(t, ends[0], ends[1], 2, 4, 5, 0xb4)
			v := h.out(plain)
			off := len(plain) - 24
			if v.Kind != packet.Transmitted || len(v.Inner) != len(plain)+20 {
				t.Fatalf("%s, %d bytes", fate(v), len(v.Inner))
			}
			if err := ipsec.VerifyTCP(v.Inner, off, key); err != nil {
				t.Error(err)
			}
			sum := bytes.Clone(v.Inner)
			ip.SetChecksum(sum, off, off+16, ip.ProtoTCP)
			if !bytes.Equal(sum, v.Inner) {
				t.Error("the checksum is wrong")
			}
			back := syn(t, ends[1], ends[0], 2, 4, 5, 0xb4)
			signed, err := ipsec.SignTCP(back, off, key)
			if err != nil {
				t.Fatal(err)
			}
			other, err := ipsec.SignTCP(back, off, ipsec.NewKey([]byte("other")))
			if err != nil {
				t.Fatal(err)
			}
			for _, tt := range []struct {
				name string
				pkt  []byte
				want string
			}{{"signed", signed, "delivered"}, {"with another key", other, bad}, {"unsigned", back, missing}} {
				if got := fate(h.in(tt.pkt)); got != tt.want {
					t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
				}
			}
		}
		// Nobody else's segments, and nothing but TCP.
		third := netip.MustParseAddr("192.0.2.3")
		for _, pkt := range [][]byte{syn(t, me, third), udp(t, me, peer, 30)} {
			if v := h.out(pkt); v.Kind != packet.Transmitted || !bytes.Equal(v.Inner, pkt) {
				t.Errorf("%s: %x", fate(v), v.Inner)
			}
		}
		if v := h.in(syn(t, third, me)); v.Kind != packet.Delivered {
			t.Error(fate(v))
		}
		full := syn(t, me, peer, bytes.Repeat([]byte{1}, 40)...)
		want := map[string]string{"freebsd": "crypto-failed tcpstat.tcps_sig_err_buildsig", "netbsd": "crypto-failed"}
		if got := fate(h.out(full)); got != want[h.kernel] {
			t.Errorf("no room for one more option: %s", got)
		}
		h.atRest()
	})
}

// TestSignatureInESP has a segment signed and then sealed.
func TestSignatureInESP(t *testing.T) {
	h := newHost(t, "freebsd")
	h.add(signature(me, peer, 0x1000, "secret"))
	sa := esp(me, peer, 0x2000)
	sa.Encrypt, sa.EncryptKey, sa.Auth, sa.AuthKey = wire.EncNull, wire.Key{Data: []byte{}}, 0, wire.Key{}
	h.add(sa)
	h.policies("spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;")
	v := h.out(syn(t, me, peer))
	if v.Kind != packet.Transmitted || v.Inner[9] != ip.ProtoESP {
		t.Fatal(fate(v))
	}
	inner := ipsec.Payload(v.Inner[28:])
	tcp := append(bytes.Clone(v.Inner[:20]), inner...)
	tcp[9] = ip.ProtoTCP
	binary.BigEndian.PutUint16(tcp[2:], uint16(len(tcp)))
	if err := ipsec.VerifyTCP(tcp, 20, ipsec.NewKey([]byte("secret"))); err != nil {
		t.Error(err)
	}
}

// TestSignaturesSwitchedOff: without the module there is no such SA, and one that is there means nothing.
func TestSignaturesSwitchedOff(t *testing.T) {
	eachHeir(t, func(t *testing.T, h *host) {
		h.add(signature(me, peer, 0x1000, "secret"))
		if errno := h.k.SetSysctl(kame.TCPMD5, 0); errno != wire.OK {
			t.Fatal(errno)
		}
		pkt := syn(t, me, peer)
		if v := h.out(pkt); !bytes.Equal(v.Inner, pkt) {
			t.Errorf("%s: %x", fate(v), v.Inner)
		}
		if err := h.c.Add(context.Background(), signature(peer, me, 0x1000, "secret"), 0); err == nil {
			t.Error("an SA is taken")
		}
	})
}
