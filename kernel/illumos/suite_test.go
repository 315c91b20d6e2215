package illumos_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/pfkeyd/pfkeyd/kernel/illumos"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// How an SA protects packets, by its description in PF_KEY: algorithms, the lengths of key and salt, mode, ports.
func TestSuite(t *testing.T) {
	const loc, rem, natted = wire.IllumosFlagXNattLoc, wire.IllumosFlagXNattRem, wire.IllumosFlagXNatted
	d := wire.Illumos()
	a := func(n int) wire.Key { return pfkey.NewKey(make([]byte, n)) }
	at := func(typ wire.ExtType, port uint16) []byte {
		address := pfkey.Host(netip.MustParseAddr("192.0.2.9"))
		address.Port = port
		return d.AppendAddress(nil, typ, address)
	}
	esp := pfkey.SA{Auth: wire.AuthSHA1HMAC, AuthKey: a(20), Encrypt: wire.EncAESCBC, EncryptKey: a(16)}
	esp.SAID = pfkey.SAID{Type: wire.SATypeESP, Src: pfkey.Host(netip.MustParseAddr("192.0.2.2"))}
	for _, tt := range []struct {
		want   string
		change func(*pfkey.SA)
	}{
		{"esp aes-cbc-128 hmac-sha1 icv-96, salt 0, transport, ports {0 0}", func(*pfkey.SA) {}},
		{"esp aes-gcm-256 icv-64, salt 4, transport, ports {0 0}", func(sa *pfkey.SA) {
			sa.Encrypt, sa.EncryptKey = wire.EncAESGCM8, a(36) // and what is said of authentication is not used
		}},
		{"esp aes-gcm-128 icv-128, salt 4, transport, ports {0 0}", func(sa *pfkey.SA) {
			sa.Encrypt, sa.EncryptKey = wire.EncAESGCM16, a(28)
			sa.EncryptKey.Reserved = 64 // bits of the first IV, behind the salt
		}},
		{"esp null-0 hmac-sha256 icv-128, salt 0, transport, ports {0 0}", func(sa *pfkey.SA) {
			sa.Auth, sa.AuthKey = wire.AuthSHA256HMAC, a(32)
			sa.Encrypt, sa.EncryptKey = wire.EncNull, wire.Key{}
		}},
		{"esp aes-cbc-128 icv-0, salt 0, transport, ports {0 0}", func(sa *pfkey.SA) {
			sa.Auth, sa.AuthKey = 0, wire.Key{}
		}},
		{"ah hmac-sha1 icv-96, salt 0, transport, ports {0 0}", func(sa *pfkey.SA) {
			sa.Type, sa.Encrypt = wire.SATypeAH, 99
		}},
		{"esp aes-cbc-128 hmac-sha1 icv-96, salt 0, tunnel, ports {0 0}", func(sa *pfkey.SA) {
			sa.Extra = at(wire.IllumosExtXAddressInnerSrc, 0)
		}},
		{"esp aes-cbc-128 hmac-sha1 icv-96, salt 0, transport, ports {4501 4502}", func(sa *pfkey.SA) {
			sa.Flags = natted | loc | rem
			sa.Extra = append(at(wire.IllumosExtXAddressNattLoc, 4501), at(wire.IllumosExtXAddressNattRem, 4502)...)
		}},
		{"esp aes-cbc-128 hmac-sha1 icv-96, salt 0, transport, ports {4500 4502}", func(sa *pfkey.SA) {
			sa.Flags, sa.Extra = natted|rem, at(wire.IllumosExtXAddressNattRem, 4502)
		}},
		{"illumos has no authentication algorithm 99", func(sa *pfkey.SA) { sa.Auth = 99 }},
		{"illumos has no encryption algorithm 99", func(sa *pfkey.SA) { sa.Encrypt = 99 }},
		{"the encryption key is shorter than its salt", func(sa *pfkey.SA) {
			sa.Encrypt, sa.EncryptKey = wire.EncAESGCM16, a(3)
		}},
		{"the encryption key is shorter than its salt", func(sa *pfkey.SA) {
			sa.Encrypt, sa.EncryptKey = wire.EncAESGCM16, wire.Key{Bits: 160, Data: make([]byte, 8)}
		}},
		{"SA type unspec is neither esp nor ah", func(sa *pfkey.SA) { sa.Type = 0 }},
	} {
		sa := esp
		tt.change(&sa)
		s, tunnel, udp, err := illumos.Suite(d, &sa)
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
