package wire_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/wire"
)

// Every chosen message in both byte orders and both forms of print. Run with -update to rewrite, then read the
// difference.
func TestFormatGolden(t *testing.T) {
	for _, s := range samples(t) {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			name := fmt.Sprintf("%s-%s", s.name, map[bool]string{true: "little",
				false: "big"}[order == binary.LittleEndian])
			t.Run(name, func(t *testing.T) {
				d, msg := s.d, s.msg
				if order == binary.BigEndian {
					d = s.d.WithOrder(order)
					msg = swap(s.d, d, s.msg)
				}
				var b bytes.Buffer
				fmt.Fprintf(&b, "%s\n\n", d.Line(msg))
				d.Format(&b, msg, wire.FormatOptions{})
				equalGolden(t, "testdata/format/"+name+".golden", b.Bytes())
			})
		}
	}
}

// Every layout of the tables, printed, with keys.
func TestFormatLayouts(t *testing.T) {
	for _, d := range variants() {
		var b bytes.Buffer
		for _, l := range layouts(d) {
			msg := d.Finish(append(d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAdd}), l.bytes(t, d)...))
			fmt.Fprintf(&b, "# %s\n%s\n", l.name, d.Line(msg))
			var p bytes.Buffer
			d.Format(&p, msg, wire.FormatOptions{ShowKeys: true})
			for i, line := range strings.SplitAfter(p.String(), "\n") {
				if i > 8 { // the base header is the same every time
					b.WriteString(line)
				}
			}
			b.WriteByte('\n')
		}
		order := map[bool]string{true: "little", false: "big"}[d.Order == binary.LittleEndian]
		equalGolden(t, fmt.Sprintf("testdata/format/layouts-%s-%s.golden", d.Name, order), b.Bytes())
	}
}

// ShowKeys prints keys and what illumos puts behind them; without it nothing of them appears, in no kind of message.
func TestFormatKeys(t *testing.T) {
	s := sampleNamed(t, "illumos-get")
	x, ok := s.d.Find(s.msg, wire.ExtKeyAuth)
	if !ok {
		t.Fatal("no key")
	}
	key := fmt.Sprintf("% x", wire.KeyArea(x.Raw)[:8])
	for _, show := range []bool{false, true} {
		var b bytes.Buffer
		s.d.Format(&b, s.msg, wire.FormatOptions{ShowKeys: show})
		if got := strings.Contains(b.String(), key); got != show {
			t.Errorf("ShowKeys %v: key printed is %v in\n%s", show, got, b.String())
		}
		if !show && !strings.Contains(b.String(), "key = hidden") {
			t.Errorf("the print does not say that a key is hidden:\n%s", b.String())
		}
	}
}

// A length that lies must not turn a key into something that is printed. Each case changes one length field.
func TestFormatKeysUnderWrongFrames(t *testing.T) {
	for _, d := range variants() {
		msg, secret := withKeys(d, 0)
		for x := range d.Walk(msg) {
			for n := 0; n < 40; n++ {
				bad := bytes.Clone(msg)
				d.PutExtHeader(bad[x.Offset:], x.Type, n*8)
				checkHidden(t, d, bad, secret)
			}
		}
		for n := range msg {
			checkHidden(t, d, msg[:n], secret)
		}
		for n := range 8 { // read in the wrong byte order, with the wrong length
			other := swap(d, d.WithOrder(binary.BigEndian), msg)
			checkHidden(t, d.WithOrder(binary.LittleEndian), append(other, make([]byte, n)...), secret)
		}
	}
}

// A list that swallows a key is not read as a list, and neither form of print goes on behind it.
func TestListThatSwallowsAKey(t *testing.T) {
	for _, d := range variants() {
		b := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAdd})
		b = d.AppendSupported(b, wire.ExtSupportedAuth, wire.Supported{Algs: []wire.Alg{{ID: 3}}})
		list := len(b)
		b = d.AppendKey(b, wire.ExtKeyAuth, wire.Key{Bits: 64, Data: []byte("\xc3\xe1\xa5\x97\xd9\xb3\xf1\x8b")})
		d.PutExtHeader(b[wire.HeaderLen:], wire.ExtSupportedAuth, len(b)-wire.HeaderLen)
		b = d.Finish(d.AppendSA(b, wire.SA{SPI: 0x1234}))
		if err := d.Validate(b); err != nil {
			t.Fatal(err) // it is well formed, only wrong
		}
		if got, want := d.Line(b),
			"ADD unspec seq=0 pid=0 SUPPORTED_AUTH=(32 bytes) (the rest is hidden)"; got != want {
			t.Errorf("%s: line\n got %s\nwant %s", d.Name, got, want)
		}
		var out bytes.Buffer
		d.Format(&out, b, wire.FormatOptions{})
		if want := fmt.Sprintf("%5d  (%d bytes)", list, len(b)-list); !strings.Contains(out.String(), want) ||
			strings.Contains(out.String(), "spi =") {
			t.Errorf("%s: no %q in\n%s", d.Name, want, out.String())
		}
		out.Reset()
		d.Format(&out, b, wire.FormatOptions{ShowKeys: true})
		if !strings.Contains(out.String(), "spi = 0x1234") {
			t.Errorf("%s: with ShowKeys something is missing in\n%s", d.Name, out.String())
		}
	}
}

// In a valid message numbers that look like the header of a key are still only numbers.
func TestNumbersThatLookLikeAKey(t *testing.T) {
	for _, d := range variants() {
		b := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAdd, SAType: wire.SATypeAH})
		b = d.AppendSA(b, wire.SA{SPI: 1, Replay: 32, State: wire.StateMature, Auth: wire.AuthAESXCBCMAC})
		b = d.AppendAddress(b, wire.ExtAddressSrc, wire.Address{Addr: addr("192.0.2.1"), Port: 9})
		b = d.AppendLifetime(b, wire.ExtLifetimeHard, wire.Lifetime{Bytes: 0x00080002, AddTime: 0x00090003, UseTime: 1})
		b = d.Finish(b)
		if got := d.Line(b); strings.Contains(got, "hidden") ||
			!strings.HasSuffix(got, "hard=bytes:524290,add:589827,use:1") {
			t.Errorf("%s %v: %s", d.Name, d.Order, got)
		}
		var out bytes.Buffer
		d.Format(&out, b, wire.FormatOptions{})
		if strings.Contains(out.String(), "hidden") || !strings.Contains(out.String(), "usetime = 1") {
			t.Errorf("%s %v:\n%s", d.Name, d.Order, out.String())
		}
	}
}

// checkHidden fails if any four bytes of the secret are in a print of msg, as hexadecimal or decimal.
func checkHidden(t *testing.T, d *dialect, msg, secret []byte) {
	t.Helper()
	var b bytes.Buffer
	d.Format(&b, msg, wire.FormatOptions{})
	for _, out := range []string{b.String(), d.Line(msg)} {
		squeezed := strings.NewReplacer(" ", "", "\n", "").Replace(out)
		for i := 0; i+4 <= len(secret); i++ {
			part := secret[i : i+4]
			for _, s := range []string{
				fmt.Sprintf("%x", part), string(part), fmt.Sprintf("%q", part),
				fmt.Sprint(binary.LittleEndian.Uint32(part)), fmt.Sprint(binary.BigEndian.Uint32(part)),
			} {
				if strings.Contains(out, s) || strings.Contains(squeezed, s) {
					t.Fatalf("%s, %v: %q of the key is in the print of\n%x\n%s", d.Name, d.Order, s, msg, out)
				}
			}
		}
	}
}

// withKeys is an ADD with two keys whose bytes are recognisable, in one of two orders of extensions.
func withKeys(d *dialect, variant int) (msg, secret []byte) {
	secret = []byte("\xc3\xe1\xa5\x97\xd9\xb3\xf1\x8b\xcd\xaf\xe7\x9d\xbb\xd5\x93\xeb\xb9\xa7\xf3\x95")
	b := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAdd, SAType: wire.SATypeESP, Seq: 1, PID: 1})
	sa := wire.SA{SPI: 0x1000, Replay: 4, State: wire.StateMature, Auth: 3, Encrypt: 12}
	keys := func() {
		b = d.AppendKey(b, wire.ExtKeyAuth, wire.Key{Bits: 160, Data: secret})
		b = d.AppendKey(b, wire.ExtKeyEncrypt, wire.Key{Bits: 128, Data: secret[:16]})
	}
	if variant == 1 {
		keys()
	}
	b = d.AppendSA(b, sa)
	b = d.AppendAddress(b, wire.ExtAddressSrc, wire.Address{Addr: addr("192.0.2.1")})
	b = d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Addr: addr("2001:db8::2")})
	if variant == 0 {
		keys()
	}
	b = d.AppendLifetime(b, wire.ExtLifetimeHard, wire.Lifetime{AddTime: 604800})
	b = d.AppendSupported(b, wire.ExtSupportedAuth,
		wire.Supported{Algs: []wire.Alg{{ID: 3, MinBits: 160, MaxBits: 160}}})
	b = d.AppendIdentity(b, wire.ExtIdentitySrc, wire.Identity{Type: wire.IdentFQDN, Name: "host.example"})
	if variant == 2 {
		keys()
	}
	return d.Finish(b), secret
}

// The forms of print end for any number of extensions, and say what is wrong with short messages.
func TestFormatShort(t *testing.T) {
	d := wire.Linux().WithOrder(binary.LittleEndian)
	for _, tt := range []struct {
		name, msg string
		lines     []string
		line      string
	}{
		{"empty", "", []string{"base header, 0 bytes", "! too short"}, "malformed: 0 bytes are too short"},
		{"header cut", "02 0a 00 03 02", []string{"version = 2", "type = 10 (DUMP)", "satype = 3 (esp)",
			"4  02                       cut", "! too short"},
			"malformed: 5 bytes are too short"},
		{"header only", "02 0a 00 03 02 00 00 00 01 00 00 00 02 00 00 00", []string{"len = 2 (16 bytes)", "pid = 2"},
			"DUMP esp seq=1 pid=2"},
		{"other version", "03 0a 00 03 02 00 00 00 01 00 00 00 02 00 00 00",
			[]string{"version = 3", "! version is not 2"},
			"DUMP esp seq=1 pid=2 malformed(version is not 2)"},
		{"other byte order", "02 0a 00 03 00 02 00 00 00 00 00 01 00 00 00 02",
			[]string{"! length does not fit", "! the length would be right in the other byte order"},
			"DUMP esp seq=16777216 pid=33554432 malformed(length does not fit: the header says another length than the message has)"},
		{"trailing", "02 0a 00 03 02 00 00 00 01 00 00 00 02 00 00 00 aa bb cc",
			[]string{"trailing bytes, 3 bytes", "16  aa bb cc", "! too short for the header of an extension"},
			"DUMP esp seq=1 pid=2 malformed(length does not fit: not a multiple of 8 bytes) malformed(data at byte 16: too short for the header of an extension)"},
		{"unknown everything", "02 ff ff ff 03 00 2a 00 01 00 00 00 02 00 00 00 01 00 2a 00 01 02 03 04",
			[]string{"type = 255 (unknown(0xff))", "errno = 255 (unknown(0xff))", "satype = 255 (unknown(0xff))",
				"unknown(0x2a), 8 bytes", "01 02 03 04"},
			"unknown(0xff) unknown(0xff) seq=1 pid=2 errno=unknown(0xff) reserved=42 unknown(0x2a)=(8 bytes)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			msg := unhex(t, tt.msg)
			var b bytes.Buffer
			d.Format(&b, msg, wire.FormatOptions{})
			for _, want := range tt.lines {
				if !strings.Contains(b.String(), want) {
					t.Errorf("no %q in\n%s", want, b.String())
				}
			}
			if got := d.Line(msg); got != tt.line {
				t.Errorf("line\n got %s\nwant %s", got, tt.line)
			}
		})
	}
}

// Text from a message cannot break out of its line.
func TestFormatControlCharacters(t *testing.T) {
	d := wire.Linux()
	b := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAdd})
	b = d.AppendIdentity(b, wire.ExtIdentitySrc, wire.Identity{Type: wire.IdentFQDN, Name: "a\nb\x1b[31m c\u202e\xff"})
	b = d.AppendSecCtx(b, wire.SecCtx{Context: []byte("x\r\n\x00")})
	msg := d.Finish(b)
	var out bytes.Buffer
	d.Format(&out, msg, wire.FormatOptions{})
	for _, s := range []string{out.String(), d.Line(msg)} {
		if strings.ContainsAny(s, "\x1b\r\u202e") || strings.Contains(s, "\xff") {
			t.Errorf("raw control characters in %q", s)
		}
		if !strings.Contains(s, `"a\nb\x1b[31m c\u202e\xff"`) {
			t.Errorf("no quoted identity in %q", s)
		}
	}
	if strings.Contains(d.Line(msg), "\n") {
		t.Error("the one-line form has two lines")
	}
}

// Format writes everything at once, so that prints of several goroutines do not mix.
func TestFormatWritesOnce(t *testing.T) {
	s := sampleNamed(t, "linux-add")
	var w countingWriter
	s.d.Format(&w, s.msg, wire.FormatOptions{})
	if w != 1 {
		t.Errorf("%d writes", w)
	}
}

type countingWriter int

func (w *countingWriter) Write(b []byte) (int, error) { *w++; return len(b), nil }
