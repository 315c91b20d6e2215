package wire_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/pfkeyd/pfkeyd/wire"
)

func TestRedact(t *testing.T) {
	secret := []byte("0123456789abcdef")
	for _, d := range wire.Dialects() {
		msg := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgAdd, SAType: wire.SATypeESP})
		msg = d.AppendSA(msg, wire.SA{SPI: 0x1000})
		msg = d.AppendKey(msg, wire.ExtKeyEncrypt, wire.Key{Bits: 128, Data: secret})
		tail := len(msg)
		msg = d.Finish(d.AppendAddress(msg, wire.ExtAddressDst, wire.Address{Addr: netip.MustParseAddr("192.0.2.1"),
			PrefixLen: 32}))
		before := bytes.Clone(msg)
		got := d.Redact(msg)
		if !bytes.Equal(msg, before) {
			t.Errorf("%s: the message itself was changed", d.Name)
		}
		if len(got) != len(msg) || !bytes.Equal(got[:tail-16], msg[:tail-16]) || !bytes.Equal(got[tail:], msg[tail:]) {
			t.Errorf("%s: more than the key was changed:\n%x\n%x", d.Name, msg, got)
		}
		if bytes.Contains(got, secret[:4]) {
			t.Errorf("%s: the key is still there: %x", d.Name, got)
		}
		if d.Validate(got) != nil {
			t.Errorf("%s: %v", d.Name, d.Validate(got))
		}

		// Whatever is cut off or altered in front of it, no part of the key shows up at the place of another field.
		for i := range msg {
			for _, v := range []byte{0, 1, 7, 0xff} {
				bad := bytes.Clone(msg)
				if i >= 16 && i < tail-16 {
					bad[i] = v
				}
				if got := d.Redact(bad[:max(i, 16)]); bytes.Contains(got, secret[:4]) {
					t.Fatalf("%s: byte %d as %#x, cut there: %x", d.Name, i, v, got)
				}
				if got := d.Redact(bad); bytes.Contains(got, secret[:4]) {
					t.Fatalf("%s: byte %d as %#x: %x", d.Name, i, v, got)
				}
			}
		}
	}
}

func FuzzRedact(f *testing.F) {
	d := wire.Linux()
	f.Add(d.Finish(d.AppendKey(d.AppendHeader(nil, wire.Header{Version: 2}), wire.ExtKeyAuth,
		wire.Key{Bits: 8, Data: []byte{1}})))
	f.Fuzz(func(t *testing.T, msg []byte) {
		for _, d := range wire.Dialects() {
			if got := d.Redact(msg); len(got) != len(msg) {
				t.Fatalf("%d bytes became %d", len(msg), len(got))
			}
		}
	})
}
