package cli_test

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/cmd/ipsecinject/cli"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestSendFromEngine: the engine takes what was built with the keys that it gave away.
func TestSendFromEngine(t *testing.T) {
	h := pfkeytest.New(t)
	address := h.Serve()
	c := h.Client()
	src, dst := pfkey.Host(netip.MustParseAddr("192.0.2.2")), pfkey.Host(netip.MustParseAddr("192.0.2.1"))
	key := []byte("0123456789abcdef0123456789abcdef")
	send := func(args ...string) (code int, out string) {
		var stdout, stderr bytes.Buffer
		args = append([]string{"send", "--engine", address, "--from-engine", "--src", "192.0.2.2", "--dst",
			"192.0.2.1"}, args...)
		code = cli.Run(context.Background(), args, strings.NewReader(""), &stdout, &stderr)
		if strings.Contains(stdout.String()+stderr.String(), "30313233") {
			t.Errorf("%q shows the key: %s%s", args, stdout.String(), stderr.String())
		}
		return code, stdout.String() + stderr.String()
	}
	for i, sa := range []pfkey.SA{
		{SAID: pfkey.SAID{Type: wire.SATypeESP}, Encrypt: wire.EncAESGCM16, EncryptKey: pfkey.NewKey(key[:20])},
		{SAID: pfkey.SAID{Type: wire.SATypeESP}, Encrypt: wire.EncAESCCM12, EncryptKey: pfkey.NewKey(key[:19])},
		{SAID: pfkey.SAID{Type: wire.SATypeESP}, Encrypt: wire.EncAESCBC, EncryptKey: pfkey.NewKey(key[:16]),
			Auth: wire.AuthSHA256HMAC, AuthKey: pfkey.NewKey(key)},
		{SAID: pfkey.SAID{Type: wire.SATypeESP}, Encrypt: wire.EncNull, Auth: wire.AuthSHA1HMAC,
			AuthKey: pfkey.NewKey(key[:20])},
		{SAID: pfkey.SAID{Type: wire.SATypeAH}, Auth: wire.AuthSHA1HMAC, AuthKey: pfkey.NewKey(key[:20])},
	} {
		sa.SPI, sa.Src, sa.Dst, sa.Replay = wire.SPI(0x1000+i), src, dst, 32
		if err := c.Add(context.Background(), sa, 0); err != nil {
			t.Fatal(err)
		}
		proto := "esp"
		if sa.Type == wire.SATypeAH {
			proto = "ah"
		}
		args := []string{"--spi", sa.SPI.String(), "--proto", proto}
		if code, out := send(args...); code != 0 || !strings.Contains(out, "delivered") {
			t.Errorf("%v: exit %d: %s", sa.SAID, code, out)
		}
		if code, out := send(append(args, "--seq", "2", "--bad-icv")...); code != 0 ||
			!strings.Contains(out, "bad_auth") && !strings.Contains(out, "crypto_failed") {
			t.Errorf("%v with a bad ICV: exit %d: %s", sa.SAID, code, out)
		}
	}
	if code, out := send("--spi", "0x9999"); code != 1 || !strings.Contains(out, "no such process") {
		t.Errorf("no such SA: exit %d: %s", code, out)
	}
	for _, args := range [][]string{{}, {"--spi", "1", "--enc", "aes-cbc"}, {"--spi", "1", "--outbound"},
		{"--spi", "1", "--icv", "9"}} {
		if code, out := send(args...); code != 2 {
			t.Errorf("%q: exit %d: %s", args, code, out)
		}
	}
}

// TestSendAHToLinux: Linux wants the AH header of IPv4 longer than the RFC has it, and gets it so unless it is said
// otherwise.
func TestSendAHToLinux(t *testing.T) {
	h := pfkeytest.New(t, pfkeytest.Kernel("linux"), pfkeytest.Addr("192.0.2.1"))
	key := bytes.Repeat([]byte("0123456789abcdef"), 4)
	err := h.Client().Add(t.Context(), pfkey.SA{
		SAID: pfkey.SAID{Type: wire.SATypeAH, SPI: 0x1000, Src: pfkey.Host(netip.MustParseAddr("192.0.2.2")),
			Dst: pfkey.Host(netip.MustParseAddr("192.0.2.1"))},
		Auth: wire.AuthSHA512HMAC, AuthKey: pfkey.NewKey(key),
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"--expect delivered": "", "--ah-align 4 --expect dropped/bad-length": "",
		"--ah-align 3": "impossible alignment",
	} {
		all := strings.Fields("send --from-engine --proto ah --spi 0x1000 --src 192.0.2.2 --dst 192.0.2.1 " + args)
		all = append(all, "--engine", h.Serve())
		var stdout, stderr bytes.Buffer
		code := cli.Run(t.Context(), all, strings.NewReader(""), &stdout, &stderr)
		if (code == 0) != (want == "") || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit %d: %s%s", args, code, stdout.String(), stderr.String())
		}
	}
}
