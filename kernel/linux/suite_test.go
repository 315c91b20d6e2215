package linux_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// How an SA protects packets, by its description in PF_KEY: algorithms, the lengths of key and salt, mode, ports.
func TestSuite(t *testing.T) {
	d := wire.Linux()
	a := func(n int) wire.Key { return pfkey.NewKey(make([]byte, n)) }
	natt := func(typ uint8, source, destination uint16) (x pfkey.Extensions) {
		x = d.AppendNATTType(x, wire.NATTType{Type: typ})
		if source != 0 {
			x = d.AppendNATTPort(x, wire.KAMEExtXNATTSPort, wire.NATTPort{Port: source})
		}
		if destination != 0 {
			x = d.AppendNATTPort(x, wire.KAMEExtXNATTDPort, wire.NATTPort{Port: destination})
		}
		return x
	}
	esp := pfkey.SA{Auth: wire.AuthSHA1HMAC, AuthKey: a(20), Encrypt: wire.EncAESCBC, EncryptKey: a(16)}
	esp.SAID = pfkey.SAID{Type: wire.SATypeESP, Src: pfkey.Host(netip.MustParseAddr("192.0.2.2"))}
	for _, tt := range []struct {
		want   string
		change func(*pfkey.SA)
	}{
		{"esp aes-cbc-128 hmac-sha1 icv-96, salt 0, transport, ports {0 0}", func(*pfkey.SA) {}},
		{"esp aes-ctr-128 icv-0, salt 4, transport, ports {0 0}", func(sa *pfkey.SA) {
			sa.Auth, sa.AuthKey, sa.Encrypt, sa.EncryptKey = 0, wire.Key{}, wire.EncAESCTR, a(20)
		}},
		{"esp null-0 hmac-sha256 icv-96, salt 0, transport, ports {0 0}", func(sa *pfkey.SA) {
			sa.Auth, sa.AuthKey, sa.Encrypt, sa.EncryptKey = wire.AuthSHA256HMAC, a(32), wire.EncNull, a(0)
		}},
		{"ah hmac-sha1 icv-96, salt 0, transport, ports {0 0}", func(sa *pfkey.SA) {
			sa.Type, sa.Encrypt = wire.SATypeAH, 99
		}},
		{"esp aes-cbc-128 hmac-sha1 icv-96, salt 0, tunnel, ports {0 0}", func(sa *pfkey.SA) {
			sa.SA2 = &wire.SA2{Mode: wire.ModeTunnel}
		}},
		{"esp aes-cbc-128 hmac-sha1 icv-96, salt 0, transport, ports {0 0}", func(sa *pfkey.SA) {
			sa.SA2 = &wire.SA2{Mode: wire.ModeTransport}
		}},
		{"esp aes-cbc-128 hmac-sha1 icv-96, salt 0, transport, ports {4501 4500}", func(sa *pfkey.SA) {
			sa.Extra = natt(wire.KAMENATTESP, 4501, 4500)
		}},
		{"esp aes-cbc-128 hmac-sha1 icv-96, salt 0, transport, ports {0 4500}", func(sa *pfkey.SA) {
			sa.Extra = natt(wire.KAMENATTESP, 0, 4500)
		}},
		{"UDP encapsulation of type 1 is not that of RFC 3948", func(sa *pfkey.SA) {
			sa.Extra = natt(wire.KAMENATTNonIKE, 1, 1)
		}},
		{"mode 4 is neither transport nor tunnel", func(sa *pfkey.SA) { sa.SA2 = &wire.SA2{Mode: 4} }},
		{"linux has no authentication algorithm 99", func(sa *pfkey.SA) { sa.Auth, sa.Encrypt = 99, 99 }},
		{"linux has no encryption algorithm 0", func(sa *pfkey.SA) { sa.Encrypt = 0 }},
		{"SA type unspec is neither esp nor ah", func(sa *pfkey.SA) { sa.Type = 0 }},
	} {
		sa := esp
		tt.change(&sa)
		s, tunnel, udp, err := linux.Suite(d, &sa)
		got := fmt.Sprint(err)
		if err == nil {
			mode := map[bool]string{true: "tunnel", false: "transport"}[tunnel]
			got = fmt.Sprintf("%v, salt %d, %s, ports %v", s, s.Salt.Len(), mode, udp)
		}
		if got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
}
