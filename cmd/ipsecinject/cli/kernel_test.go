package cli_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/cmd/ipsecinject/cli"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/packetport"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

const saltless = "--src 192.0.2.2 --dst 192.0.2.1 --spi 0x1000 --enc aes-cbc --auth hmac-sha1"

// TestAgainstKernel sends packets to an emulated illumos: one to a LARVAL SA that is promoted while it waits, then a
// right one and wrong ones of every kind.
func TestAgainstKernel(t *testing.T) {
	e, err := kernels.New("illumos", engine.Options{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	path := filepath.Join(t.TempDir(), "e.sock")
	l, err := net.Listen("unixpacket", packetport.Path(path))
	if err != nil {
		t.Fatal(err)
	}
	srv := packetport.NewServer(e, packetport.ServerOptions{Name: e.Name()})
	done := make(chan error, 1)
	go func() { done <- srv.Serve(context.Background(), l) }()
	defer func() {
		srv.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()

	d := e.Dialect()
	cred := pfkey.Cred{Privileged: true}
	sock, errno := e.Open(cred, 3, 2)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	defer sock.Close()
	request := func(typ wire.MsgType, rest func(b []byte) []byte) {
		t.Helper()
		b := d.AppendHeader(nil, wire.Header{Version: 2, Type: typ, SAType: wire.SATypeESP, Seq: 1, PID: 1})
		b = rest(b)
		b = d.AppendAddress(b, wire.ExtAddressSrc, wire.Address{Addr: netip.MustParseAddr("192.0.2.2")})
		b = d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Addr: netip.MustParseAddr("192.0.2.1")})
		if errno := sock.Send(d.Finish(b), cred); errno != wire.OK {
			t.Fatal(errno)
		}
		answer := make([]byte, 65536)
		n, _, errno := sock.Recv(answer, 0)
		if errno != wire.OK {
			t.Fatal(errno)
		}
		if h, err := d.Header(answer[:n]); err != nil || h.Errno != 0 {
			t.Fatalf("%s, %v", d.Line(answer[:n]), err)
		}
	}
	request(wire.MsgGetSPI, func(b []byte) []byte {
		return d.AppendSPIRange(b, wire.SPIRange{Min: 0x1000, Max: 0x1000})
	})

	keys := []string{"--enc-key", key(16), "--auth-key", key(20)}
	args := func(more string) []string {
		a := append(strings.Fields("send --engine illumos:"+path+" "+saltless), keys...)
		return append(a, strings.Fields(more)...)
	}
	pr, pw := io.Pipe()
	go func() {
		buf := make([]byte, 1<<16)
		if _, err := pr.Read(buf); err != nil {
			t.Error(err)
		}
		go io.Copy(io.Discard, pr)
		request(wire.MsgUpdate, func(b []byte) []byte {
			b = d.AppendSA(b, wire.SA{SPI: 0x1000, Replay: 32, State: wire.StateMature, Auth: wire.AuthSHA1HMAC,
				Encrypt: wire.EncAESCBC})
			b = d.AppendKey(b, wire.ExtKeyAuth, wire.Key{Bits: 160, Data: mustHex(key(20))})
			return d.AppendKey(b, wire.ExtKeyEncrypt, wire.Key{Bits: 128, Data: mustHex(key(16))})
		})
	}()
	var out, stderr bytes.Buffer
	code := cli.Run(t.Context(), args("--wait 1h"), nil, io.MultiWriter(&out, pw), &stderr)
	pw.Close()
	result{code, "", stderr.String()}.check(t, 0, "1 packet: 1 delivered")
	equal(t, out.String(), `     1  queued       0x1000
     1  delivered    0x1000      192.0.2.2 > 192.0.2.1 udp 40000 > 9, 11 bytes
`)

	tests := []struct{ args, want string }{
		{"--seq 2", "delivered"},
		{"--seq 3 --repeat 1", "delivered, dropped replay-early (esp_early_replay)"},
		{"--seq 4 --mode tunnel --inner-src 192.0.2.2", "delivered"},
		{"--seq 5 --bad-icv", "dropped bad-icv (esp_bad_auth)"},
		{"--seq 6 --data 12345 --bad-padding", "dropped bad-padding (esp_bad_padding)"},
		{"--seq 7 --bad-pad-length", "dropped bad-pad-length (esp_bad_padlen)"},
		{"--seq 9 --spi 0x9999", "dropped no-sa (esp_no_sa)"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			r := run(t, args(tt.args)...)
			r.check(t, 0, "")
			var got []string
			for line := range strings.Lines(r.out) {
				f := strings.Fields(line)
				if f[1] == "dropped" {
					got = append(got, "dropped "+strings.Join(f[len(f)-2:], " "))
				} else {
					got = append(got, f[1])
				}
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, ", ")); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
		})
	}
	if b := e.Ledger().Balance(); b.InFlight != 0 || b.Held != 0 {
		t.Errorf("ledger: %+v", b)
	}
}
