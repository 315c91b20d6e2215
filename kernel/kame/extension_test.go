package kame_test

import (
	"testing"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestExtensionsNobodyReads: extensions that mean nothing to an ADD may stand in it, if they have the right size.
func TestExtensionsNobodyReads(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		d := h.d()
		plain := func(typ wire.ExtType, size int) []byte {
			b := make([]byte, size)
			d.Order.PutUint16(b, uint16(size/8))
			d.Order.PutUint16(b[2:], uint16(typ))
			return b
		}
		spi := wire.SPI(0x1000)
		add := func(what string, x []byte, want string) {
			t.Helper()
			spi++
			if got := h.says(d.Finish(append(h.sa(association{spi: spi}), x...))); got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		for typ, size := range map[wire.ExtType]int{wire.ExtLifetimeCurrent: 32, wire.ExtSupportedAuth: 8,
			wire.ExtSupportedEncrypt: 8, wire.ExtSensitivity: 16} {
			add(typ.String(), plain(typ, size), "OK")
		}
		add("a short lifetime", plain(wire.ExtLifetimeCurrent, 24), "send: EINVAL")
		add("a short sensitivity", plain(wire.ExtSensitivity, 8), "send: EINVAL")
		add("a proxy", d.AppendAddress(nil, wire.ExtAddressProxy, pfkey.Host(there)), "OK")
		add("a proxy without an address", plain(wire.ExtAddressProxy, 8), "send: EINVAL")
		add("identities", append(plain(wire.ExtIdentitySrc, 16), plain(wire.ExtIdentityDst, 16)...), "OK")
		add("a short identity", append(plain(wire.ExtIdentitySrc, 16), plain(wire.ExtIdentityDst, 8)...),
			"send: EINVAL")
	})
}
