package pfkeytest_test

import (
	"bytes"
	"fmt"
	"math/bits"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// protections are SAs with every algorithm that a kernel offers, with its shortest and its longest key.
func protections(t *testing.T, c *pfkey.Client) (sas []pfkey.SA) {
	t.Helper()
	esp, err := c.Register(t.Context(), wire.SATypeESP)
	if err != nil {
		t.Fatal(err)
	}
	ah, err := c.Register(t.Context(), wire.SATypeAH)
	if err != nil {
		t.Fatal(err)
	}
	key := func(a wire.Alg, size uint16) wire.Key {
		k := make([]byte, (size+7)/8)
		for i := range k {
			k[i] = byte(0x11*i + int(a.ID) | 1)
		}
		if len(k)%8 == 0 && len(k) <= 24 { // DES wants odd parity, and no weak keys
			for i := range k {
				k[i] = k[i]&^1 | byte(1-bits.OnesCount8(k[i]>>1)%2)
			}
		}
		return pfkey.NewKey(k)
	}
	base := inbound(c.Dialect(), 0x2000)
	for _, a := range ah.Auth {
		sa := base
		sa.Type, sa.Auth, sa.Encrypt, sa.EncryptKey = wire.SATypeAH, a.ID, 0, wire.Key{}
		sa.AuthKey = key(a, a.MaxBits)
		sas = append(sas, sa)
	}
	for _, a := range esp.Encrypt {
		for _, size := range []uint16{a.MinBits, a.MaxBits} {
			if c.Dialect().EncryptName(a.ID) == "cast128-cbc" && size < 128 {
				continue // no implementation for Go has shorter keys
			}
			sa := base
			sa.Encrypt, sa.EncryptKey = a.ID, key(a, size)
			sas = append(sas, sa)
		}
	}
	for i := range sas {
		sas[i].SPI += wire.SPI(i)
	}
	return sas
}

// What Seal makes the kernel opens, whatever the algorithm: with every SA that the kernel takes.
func TestSeal(t *testing.T) {
	for _, name := range kernel.Names() {
		t.Run(name, func(t *testing.T) {
			host := pfkeytest.New(t, pfkeytest.Kernel(name))
			client := host.Client()
			plain := pfkeytest.UDP("192.0.2.2:1000", "192.0.2.1:2000", "hello")
			taken := 0
			for _, sa := range protections(t, client) {
				if err := client.Add(t.Context(), sa, 0); err != nil {
					continue // a length that REGISTER tells and ADD does not take
				}
				taken++
				for range 2 {
					p := host.Inject(host.Seal(sa, plain))
					if v, ok := p.Final(); !ok || v.Kind != packet.Delivered || !bytes.Equal(v.Inner, plain) {
						t.Errorf("%v: %v", sa, p)
					}
				}
			}
			if taken < 9 {
				t.Errorf("only %d SAs were taken", taken)
			}
			for _, sa := range host.SAs() { // as the kernel tells it
				if v, _ := host.Inject(host.Seal(*sa, plain)).Final(); v.Kind != packet.Delivered {
					t.Errorf("%v, as the kernel shows it: %v", sa, v)
				}
			}
		})
	}
}

// Sequence numbers count up, so that a replay is one only if the test makes one; the kernel chooses as without sealing.
func TestSealSequence(t *testing.T) {
	host := pfkeytest.New(t)
	client := host.Client()
	sa := inbound(client.Dialect(), 0x1000)
	if err := client.Add(t.Context(), sa, 0); err != nil {
		t.Fatal(err)
	}
	ping := pfkeytest.Ping("192.0.2.2", "192.0.2.1", 1)
	first, second := host.Seal(sa, ping), host.Seal(sa, ping)
	host.Inject(second).Expect(packet.Delivered)
	host.Inject(first).Expect(packet.Delivered)
	host.Inject(first).ExpectDropped(packet.ReplayEarly)
	if diff := cmp.Diff(larval(t, pfkeytest.New(t).Client()), larval(t, client)); diff != "" {
		t.Errorf("sealing has changed the kernel's choice\n%s", diff)
	}
}

// Modes and encapsulation are those that the SA says.
func TestSealModes(t *testing.T) {
	t.Run("linux tunnel", func(t *testing.T) {
		host := pfkeytest.New(t, pfkeytest.Kernel("linux"), pfkeytest.Policy(
			"spdadd 10.0.2.0/24 10.0.1.0/24 any -P in ipsec esp/tunnel/192.0.2.2-192.0.2.1/require;"))
		client := host.Client()
		sa := inbound(client.Dialect(), 0x1000)
		sa.SA2 = &wire.SA2{Mode: wire.ModeTunnel}
		if err := client.Add(t.Context(), sa, 0); err != nil {
			t.Fatal(err)
		}
		plain := pfkeytest.SYN("10.0.2.2:1000", "10.0.1.1:80")
		if v, _ := host.Inject(host.Seal(sa, plain)).Expect(packet.Delivered).Final(); !bytes.Equal(v.Inner, plain) {
			t.Errorf("delivered %x", v.Inner)
		}
	})
	t.Run("linux NAT-T", func(t *testing.T) {
		host := pfkeytest.New(t, pfkeytest.Kernel("linux"))
		client := host.Client()
		d := client.Dialect()
		sa := inbound(d, 0x1000)
		sa.Extra = d.AppendNATTType(sa.Extra, wire.NATTType{Type: wire.KAMENATTESP})
		sa.Extra = d.AppendNATTPort(sa.Extra, wire.KAMEExtXNATTSPort, wire.NATTPort{Port: 4501})
		sa.Extra = d.AppendNATTPort(sa.Extra, wire.KAMEExtXNATTDPort, wire.NATTPort{Port: 4500})
		if err := client.Add(t.Context(), sa, 0); err != nil {
			t.Fatal(err)
		}
		sealed := host.Seal(sa, pfkeytest.Ping("192.0.2.2", "192.0.2.1", 1))
		if fmt.Sprintf("%d %x", sealed[9], sealed[20:24]) != "17 11951194" {
			t.Errorf("it is not between ports 4501 and 4500: %x", sealed)
		}
		host.Inject(sealed).Expect(packet.Delivered)
	})
	t.Run("illumos tunnel", func(t *testing.T) {
		host := pfkeytest.New(t)
		sa := inbound(host.Engine().Dialect(), 0x1000)
		for typ, net := range map[wire.ExtType]string{
			wire.IllumosExtXAddressInnerSrc: "10.0.2.0/24", wire.IllumosExtXAddressInnerDst: "10.0.1.0/24",
		} {
			sa.Extra = host.Engine().Dialect().AppendAddress(sa.Extra, typ, pfkey.Prefix(netip.MustParsePrefix(net)))
		}
		sealed := host.Seal(sa, pfkeytest.SYN("10.0.2.2:1000", "10.0.1.1:80"))
		outer := fmt.Sprintf("%d %v %v", sealed[9], sealed[12:16], sealed[16:20])
		if outer != "50 [192 0 2 2] [192 0 2 1]" {
			t.Errorf("the outer header says %s", outer)
		}
	})
	t.Run("illumos NAT-T", func(t *testing.T) {
		host := pfkeytest.New(t)
		client := host.Client()
		d := client.Dialect()
		sa := inbound(d, 0x1000)
		sa.Flags = wire.IllumosFlagXNattRem | wire.IllumosFlagXNatted
		remote := pfkey.Host(peer)
		remote.Port, remote.Proto = 4501, 17
		sa.Extra = d.AppendAddress(sa.Extra, wire.IllumosExtXAddressNattRem, remote)
		if err := client.Add(t.Context(), sa, 0); err != nil {
			t.Fatal(err)
		}
		sealed := host.Seal(sa, pfkeytest.Ping("192.0.2.2", "192.0.2.1", 1))
		if fmt.Sprintf("%d %x", sealed[9], sealed[20:24]) != "17 11951194" {
			t.Errorf("it is not between ports 4501 and 4500: %x", sealed)
		}
		host.Inject(sealed).Expect(packet.Delivered)
	})
	t.Run("IPv6", func(t *testing.T) {
		for _, name := range kernel.Names() {
			host := pfkeytest.New(t, pfkeytest.Kernel(name))
			client := host.Client()
			sa := inbound(client.Dialect(), 0x1000)
			sa.Src = pfkey.Host(netip.MustParseAddr("2001:db8::2"))
			sa.Dst = pfkey.Host(netip.MustParseAddr("2001:db8::1"))
			if err := client.Add(t.Context(), sa, 0); err != nil {
				t.Fatal(err)
			}
			host.Inject(host.Seal(sa, pfkeytest.Ping("2001:db8::2", "2001:db8::1", 1))).Expect(packet.Delivered)
		}
	})
}

// What cannot be sealed fails the test, and says why without a key.
func TestSealRefuses(t *testing.T) {
	for _, tt := range []struct {
		kernel string
		change func(*pfkey.SA)
		inner  []byte
		want   string
	}{
		{"illumos", func(sa *pfkey.SA) { sa.Encrypt = 99 }, nil, "illumos has no encryption algorithm 99"},
		{"linux", func(sa *pfkey.SA) { sa.Encrypt = 99 }, nil, "linux has no encryption algorithm 99"},
		{"illumos", func(sa *pfkey.SA) { sa.Auth = 99 }, nil, "illumos has no authentication algorithm 99"},
		{"linux", func(sa *pfkey.SA) { sa.Auth = 99 }, nil, "linux has no authentication algorithm 99"},
		{"linux", func(sa *pfkey.SA) { sa.Type = wire.SATypeUnspec }, nil, "SA type unspec is neither esp nor ah"},
		{"linux", func(sa *pfkey.SA) { sa.EncryptKey = pfkey.NewKey([]byte("short")) }, nil,
			"ipsec: esp aes-cbc-40 hmac-sha1 icv-96: no key length of this cipher"},
		{"illumos", func(*pfkey.SA) {}, pfkeytest.Ping("192.0.2.1", "192.0.2.2", 1),
			"a packet from 192.0.2.1 to 192.0.2.2 in transport mode of esp 0x1000 from 192.0.2.2 to 192.0.2.1"},
		{"illumos", func(*pfkey.SA) {}, []byte("no packet"), "spd: not an IP packet"},
	} {
		r := &recorder{TB: t}
		host := pfkeytest.New(r, pfkeytest.Kernel(tt.kernel))
		sa := inbound(host.Engine().Dialect(), 0x1000)
		tt.change(&sa)
		if tt.inner == nil {
			tt.inner = pfkeytest.Ping("192.0.2.2", "192.0.2.1", 1)
		}
		host.Seal(sa, tt.inner)
		if diff := cmp.Diff([]string{"kernel: seal: " + tt.want}, r.failures); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

// Packets between families, or with addresses that are none, are a mistake in the test's text.
func TestMakersPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"families": func() { pfkeytest.UDP("192.0.2.1:1", "[2001:db8::1]:1", "") },
		"no port":  func() { pfkeytest.SYN("192.0.2.1", "192.0.2.2:80") },
		"no host":  func() { pfkeytest.Ping("nowhere", "192.0.2.1", 1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
