package kame_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/freebsd"
	"github.com/pfkeyd/pfkeyd/kernel/netbsd"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// suites are the functions that tell how an SA protects packets, by their kernels.
var suites = map[string]func(*wire.Dialect, *pfkey.SA) (*ipsec.Suite, bool, ipsec.Ports, error){
	"netbsd": netbsd.Suite, "freebsd": freebsd.Suite}

// ramp is a key of n bytes.
func ramp(n int) wire.Key {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i + 1)
	}
	return pfkey.NewKey(b)
}

// described is an SA of ESP as PF_KEY describes it.
func described(auth, encrypt wire.AlgID, authKey, encryptKey int) pfkey.SA {
	sa := pfkey.SA{Auth: auth, Encrypt: encrypt, EncryptKey: ramp(encryptKey), Replay: 4}
	if auth != 0 {
		sa.AuthKey = ramp(authKey)
	}
	sa.SAID = pfkey.SAID{Type: wire.SATypeESP, SPI: 0x1000, Src: pfkey.Host(there), Dst: pfkey.Host(here)}
	return sa
}

// TestSuite: how an SA protects packets, by its description in PF_KEY: algorithms, the lengths of key and salt, mode,
// ports.
func TestSuite(t *testing.T) {
	for _, heir := range systems {
		h := boot(t, heir, engine.Options{})
		d := h.d()
		natt := func(typ wire.NATTKind) (x pfkey.Extensions) {
			x = d.AppendNATTType(x, wire.NATTType{Type: typ})
			x = d.AppendNATTPort(x, wire.KAMEExtXNATTSPort, wire.NATTPort{Port: 4501})
			return d.AppendNATTPort(x, wire.KAMEExtXNATTDPort, wire.NATTPort{Port: 4500})
		}
		for _, tt := range []struct {
			want   string
			change func(*pfkey.SA)
		}{
			{"esp aes-cbc-128 hmac-sha1 icv-96, salt 0, transport, ports {0 0}", func(*pfkey.SA) {}},
			{"esp aes-ctr-128 hmac-sha1 icv-96, salt 4, transport, ports {0 0}", func(sa *pfkey.SA) {
				sa.Encrypt, sa.EncryptKey = wire.EncAESCTR, ramp(20)
			}},
			{"esp aes-gcm-256 icv-128, salt 4, transport, ports {0 0}", func(sa *pfkey.SA) {
				sa.Auth, sa.AuthKey, sa.Encrypt, sa.EncryptKey = 0, wire.Key{}, wire.EncAESGCM16, ramp(36)
			}},
			{"esp aes-gcm-256 icv-128, salt 4, transport, ports {0 0}", func(sa *pfkey.SA) { // as the kernel shows it
				sa.Auth, sa.AuthKey = wire.AuthAES256GMAC, wire.Key{}
				sa.Encrypt, sa.EncryptKey = wire.EncAESGCM16, ramp(36)
			}},
			{"esp null-0 hmac-sha256 icv-128, salt 0, transport, ports {0 0}", func(sa *pfkey.SA) {
				sa.Auth, sa.AuthKey, sa.Encrypt, sa.EncryptKey = wire.AuthSHA256HMAC, ramp(32), wire.EncNull, wire.Key{}
			}},
			{"ah hmac-sha1 icv-96, salt 0, transport, ports {0 0}", func(sa *pfkey.SA) {
				sa.Type, sa.Encrypt, sa.EncryptKey = wire.SATypeAH, 0, wire.Key{}
			}},
			{"esp aes-cbc-128 hmac-sha1 icv-96, salt 0, tunnel, ports {0 0}", func(sa *pfkey.SA) {
				sa.SA2 = &wire.SA2{Mode: wire.ModeTunnel}
			}},
			{"esp aes-cbc-128 hmac-sha1 icv-96, salt 0, transport, ports {4501 4500}", func(sa *pfkey.SA) {
				sa.Extra = natt(wire.KAMENATTESP)
			}},
			{"esp aes-cbc-128 hmac-sha1 icv-96, salt 0, transport, ports {0 0}", func(sa *pfkey.SA) {
				sa.Extra = natt(0)
			}},
			{heir + " has no SA of authentication 3 and encryption 0 with such keys", func(sa *pfkey.SA) {
				sa.Encrypt = 0
			}},
			{heir + " has no SA of authentication 3 and encryption 12 with such keys", func(sa *pfkey.SA) {
				sa.EncryptKey = ramp(15)
			}},
			{"SA type ipcomp is neither esp nor ah", func(sa *pfkey.SA) { sa.Type = wire.SATypeIPComp }},
		} {
			sa := described(wire.AuthSHA1HMAC, wire.EncAESCBC, 20, 16)
			tt.change(&sa)
			s, tunnel, udp, err := suites[heir](d, &sa)
			got := fmt.Sprint(err)
			if err == nil {
				mode := map[bool]string{true: "tunnel", false: "transport"}[tunnel]
				got = fmt.Sprintf("%v, salt %d, %s, ports %v", s, s.Salt.Len(), mode, udp)
			}
			if got != tt.want {
				t.Errorf("%s: %s, want %s", heir, got, tt.want)
			}
		}
	}
}

// TestEveryAlgorithm adds an SA of each algorithm that a kernel announces, and has it open what package ipsec has
// sealed as [netbsd.Suite] and [freebsd.Suite] say, also in the old form, or with extended numbers.
func TestEveryAlgorithm(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		var all []pfkey.SA
		add := func(sa pfkey.SA) { all = append(all, sa) }
		answer := h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
		x, _ := h.d().Find(answer, wire.ExtSupportedAuth)
		auths, err := h.d().ParseSupported(x.Raw)
		if err != nil {
			t.Fatal(err)
		}
		x, _ = h.d().Find(answer, wire.ExtSupportedEncrypt)
		encrypts, err := h.d().ParseSupported(x.Raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range auths.Algs {
			esp := described(a.ID, wire.EncAESCBC, max(1, int(a.MinBits)/8), 16)
			add(esp)
			esp.Type, esp.Encrypt, esp.EncryptKey = wire.SATypeAH, 0, wire.Key{}
			add(esp)
			if h.d().Name == "freebsd" {
				esp.Flags = wire.FreeBSDFlagXESN
			} else {
				esp.Flags = wire.KAMEFlagXOld
			}
			add(esp)
		}
		for _, a := range encrypts.Algs {
			for _, bytes := range []int{int(a.MinBits) / 8, int(a.MaxBits) / 8, int(a.MinBits)/8 + 4, 16} {
				add(described(0, a.ID, 0, bytes))
				sa := described(wire.AuthSHA1HMAC, a.ID, 20, bytes)
				if h.d().Name == "freebsd" {
					sa.Flags = wire.FreeBSDFlagXESN
				} else {
					sa.Flags = wire.KAMEFlagXOld
				}
				add(sa)
			}
		}
		inner, err := ipsec.MakeUDP(netip.AddrPortFrom(there, 4000), netip.AddrPortFrom(here, 4000), []byte("data"))
		if err != nil {
			t.Fatal(err)
		}
		opened, seed := 0, rand.NewChaCha8([32]byte{})
		for i, sa := range all {
			sa.SPI = wire.SPI(0x1000 + i)
			name := fmt.Sprintf("%v, auth %d, encrypt %d, flags %#x, keys of %d and %d bytes", sa.Type, sa.Auth,
				sa.Encrypt, sa.Flags, len(sa.AuthKey.Data), len(sa.EncryptKey.Data))
			b := h.d().AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgAdd, SAType: sa.Type, PID: 1})
			said := h.says(h.d().Finish(sa.AppendExtensions(h.d(), b)))
			pkt, err := kernels.Seal(h.e, &sa, inner, 1<<20, seed)
			if (said == "OK") != (err == nil) {
				// Some SAs there are that protect nothing, in the originals or here.
				if err == nil || !strings.Contains(err.Error(), "the old form") && sa.Encrypt != wire.EncCAST128CBC {
					t.Errorf("%s: ADD says %s, Suite %v", name, said, err)
				}
				continue
			}
			if err != nil {
				continue
			}
			opened++
			v := h.inbound(pkt)
			if v.Kind != packet.Delivered || !bytes.Equal(v.Inner, inner) {
				t.Errorf("%s: %v %s", name, v.Reason, v.Counter)
			}
			suite, _, _, err := suites[h.d().Name](h.d(), &sa)
			if esn := sa.Flags == wire.FreeBSDFlagXESN; err != nil || suite.ESN != esn {
				t.Errorf("%s: extended numbers: %v, want %v", name, suite.ESN, esn)
			}
		}
		if opened < 20 {
			t.Errorf("%d SAs", opened)
		}
	})
}
