package cli_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/cmd/pfkeyd/cli"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// An SA that its kernel takes, though nothing can open its packets, does not keep the keys of others back.
func TestWiresharkKeysLeavesOut(t *testing.T) {
	host := pfkeytest.New(t, pfkeytest.Kernel("openbsd"), pfkeytest.Addr("192.0.2.1"))
	sa := pfkey.SA{
		SAID: pfkey.SAID{Type: wire.SATypeESP, Src: wire.Address{Addr: netip.MustParseAddr("192.0.2.2")},
			Dst: wire.Address{Addr: netip.MustParseAddr("192.0.2.1")}},
		Encrypt: wire.EncNull,
	}
	for _, auth := range []struct {
		spi  wire.SPI
		id   wire.AlgID
		size int // bytes
	}{{0x1001, wire.AuthAES256GMAC, 36}, {0x1002, wire.AuthSHA1HMAC, 20}} {
		sa.SPI, sa.Auth = auth.spi, auth.id
		sa.AuthKey = wire.Key{Bits: uint16(8 * auth.size), Data: bytes.Repeat([]byte{0xab}, auth.size)}
		if err := host.Client().Add(t.Context(), sa, pfkey.NoAcquire); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	args := []string{"wireshark", "keys", "--engine", host.Serve(), "--show-keys", "-o", "-"}
	if code := cli.Run(t.Context(), args, nil, &stdout, &stderr); code != command.ExitDone {
		t.Errorf("exit %d", code)
	}
	if got := stdout.String(); strings.Contains(got, "0x00001001") || !strings.Contains(got, "0x00001002") {
		t.Errorf("table:\n%s", got)
	}
	got := stderr.String()
	if !strings.HasPrefix(got, "left out: SPI 0x1001 from 192.0.2.2 to 192.0.2.1: ") || strings.Count(got, "\n") != 1 ||
		strings.Contains(got, "abab") {
		t.Errorf("told: %s", got)
	}
}
