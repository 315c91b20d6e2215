package wire_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/wire"
)

func TestValidate(t *testing.T) {
	i, l := wire.Illumos().WithOrder(binary.LittleEndian), wire.Linux().WithOrder(binary.LittleEndian)
	const header = "02030003 0000 0000 01000000 02000000"
	const (
		v4      = "0200 0000 c0000201 0000000000000000"
		v6      = "0a00 0000 00000000 20010db8000000000000000000000001 00000000 00000000"
		request = "1000 3200 0100 0000 00000000 00000000"
	)
	comb := "030c" + strings.Repeat("00", 70)
	for _, tt := range []struct {
		name string
		d    *dialect
		exts string
		err  error // nil: valid
		at   int
		text string
	}{
		{"nothing more", i, "", nil, 0, ""},
		{"SA", l, "0200 0100 00001000 00010000 00000000", nil, 0, ""},
		{"longer SA", l, "0300 0100 00001000 00010000 00000000 0000000000000000", nil, 0, ""},
		{"shorter SA", l, "0100 0100 00001000", wire.ErrShort, 24, "wire: SA (extension 1), at byte 24: too short"},
		{"type zero", l, "0100 0000 00000000", wire.ErrType, 16, ""},
		{"unknown type", l, "0100 4d00 00000000", nil, 0, ""},
		{"unknown type twice", l, "0100 4d00 00000000 0100 4d00 00000000", nil, 0, ""},
		{"twice", l, "0100 1400 00000000 0100 1400 00000000", wire.ErrDuplicate, 24,
			"wire: X_NAT_T_TYPE (extension 20), at byte 24: comes twice"},
		{"length zero", l, "0000 1400 00000000", wire.ErrLength, 16, ""},

		{"IPv4", l, "0300 0500 00000000" + v4, nil, 0, ""},
		{"IPv6", l, "0500 0500 00000000" + v6, nil, 0, ""},
		{"unknown family", l, "0300 0500 00000000 0500 0000 c0000201 0000000000000000", wire.ErrFamily, 24,
			"wire: ADDRESS_SRC (extension 5), at byte 24: unknown address family"},
		{"another system's family", i, "0500 0500 00000000" + v6, wire.ErrFamily, 24, ""},
		{"IPv4 cut", i, "0200 0500 00000000 0200 0000 c0000201", wire.ErrShort, 24, ""},
		{"IPv6 cut", l, "0400 0500 00000000" + v6[:len(v6)-18], wire.ErrShort, 24, ""},
		{"no sockaddr", i, "0100 0500 00000000", wire.ErrShort, 24, ""},
		{"more room than IPv4 needs", l, "0400 0500 00000000" + v4 + "0000000000000000", wire.ErrLength, 40, ""},
		{"the same on illumos, which does so itself", i, "0400 0500 00000000" + v4 + "0000000000000000", nil, 0, ""},

		{"key", l, "0200 0800 4000 0000 0102030405060708", nil, 0, ""},
		{"key with room", i, "0300 0900 4000 0000 0102030405060708 0000000000000000", nil, 0, ""},
		{"key shorter than its bits", l, "0200 0800 4100 0000 0102030405060708", wire.ErrShort, 32, ""},
		{"key of most bits", l, "0200 0800 ffff 0000 0102030405060708", wire.ErrShort, 32, ""},

		{"lifetime", i, "0400 0300 00000000 0000000000000000 0000000000000000 0000000000000000", nil, 0, ""},
		{"longer lifetime on illumos", i,
			"0500 0300 00000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000", wire.ErrLength,
			48, ""},
		{"and on linux", l, "0500 0300 00000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000",
			nil, 0, ""},
		{"short lifetime", l, "0200 0300 00000000 0000000000000000", wire.ErrShort, 32, ""},

		{"identity without name", l, "0200 0a00 0100 0000 0000000000000000", nil, 0, ""},
		{"short identity", l, "0100 0a00 0100 0000", wire.ErrShort, 24, ""},
		{"sensitivity", i, "0300 0c00 00000000 00 01 00 00 00000000 0000000000000000", nil, 0, ""},
		{"sensitivity with longer bitmaps", i, "0300 0c00 00000000 00 01 00 01 00000000 0000000000000000",
			wire.ErrShort, 40, ""},
		{"proposal without combs", l, "0100 0d00 20000000", nil, 0, ""},
		{"proposal", l, "0a00 0d00 20000000" + comb, nil, 0, ""},
		{"proposal with half a comb", l, "0200 0d00 20000000 030c000000000000", wire.ErrLength, 24, ""},
		{"proposal with a cookie", i, "0300 0d00 20000000 0200 1300 01000000 09000000 00000000", nil, 0, ""},
		{"the same on linux", l, "0300 0d00 20000000 0200 1300 01000000 09000000 00000000", wire.ErrLength, 24, ""},
		{"supported, empty", l, "0100 0e00 00000000", nil, 0, ""},
		{"SPI range", i, "0200 1000 00000100 000001ff 00000000", nil, 0, ""},
		{"short SPI range", i, "0100 1000 00000100", wire.ErrShort, 24, ""},

		{"EREG", i, "0100 1100 02030000", nil, 0, ""},
		{"EPROP without combs", i, "0100 1200 20 00 0000", nil, 0, ""},
		{"EPROP whose comb is missing", i, "0100 1200 20 00 0100", wire.ErrShort, 24, ""},
		{"cookie", i, "0200 1300 01000000 09000000 00000000", nil, 0, ""},
		{"short cookie", i, "0100 1300 01000000", wire.ErrShort, 24, ""},
		{"short replay value", i, "0100 1800 01000000", wire.ErrShort, 24, ""},
		{"short EDUMP", i, "0100 1900 00000000", wire.ErrShort, 24, ""},

		{"policy", l, "0400 1200 0200 0200 00000000 00000000" + request, nil, 0, ""},
		{"policy with up to 15 bytes more", l, "0300 1200 0200 0200 00000000 00000000 ffffffffffffffff", nil, 0, ""},
		{"request of length zero", l, "0400 1200 0200 0200 00000000 00000000 0000" + request[4:], wire.ErrLength, 32,
			""},
		{"request past the end", l, "0400 1200 0200 0200 00000000 00000000 1100" + request[4:], wire.ErrLength, 32, ""},
		{"tunnel without endpoints", l, "0400 1200 0200 0200 00000000 00000000 1000 3200 0200 0000 00000000 00000000",
			wire.ErrShort, 48, ""},
		{"tunnel with endpoints", l, "0800 1200 0200 0200 00000000 00000000 3000 3200 0200 0000 00000000 00000000" +
			v4 + v4, nil, 0, ""},
		{"tunnel to an unknown family", l,
			"0800 1200 0200 0200 00000000 00000000 3000 3200 0200 0000 00000000 00000000" + v4 + "05" + v4[2:],
			wire.ErrFamily, 48, ""},
		{"no IPsec, so nothing of it is read", l,
			"0400 1200 0000 0200 00000000 00000000 1000 3200 0200 0000 00000000 00000000", nil, 0, ""},
		{"security context", l, "0200 1800 0101 0200 7300000000000000", nil, 0, ""},
		{"security context past the end", l, "0200 1800 0101 0900 7300000000000000", wire.ErrShort, 32, ""},
		{"security context with room", l, "0300 1800 0101 0200 7300000000000000 0000000000000000", wire.ErrLength, 32,
			""},
		{"KM addresses", l, "0500 1900 00000000" + v4 + v4, nil, 0, ""},
		{"one KM address", l, "0300 1900 00000000" + v4, wire.ErrShort, 24, ""},
		{"short filter", l, "0400 1a00 00000000 0000000000000000 0000000000000000 0000000000000000", wire.ErrShort, 48,
			""},
	} {
		t.Run(tt.d.Name+"/"+tt.name, func(t *testing.T) {
			msg := tt.d.Finish(unhex(t, header+tt.exts))
			checkDecodeError(t, tt.d.Validate(msg), tt.err, tt.at, tt.text)
			if tt.err == nil {
				// As the second extension the same thing is found at its own offset.
				sa2 := tt.d.AppendExtHeader(unhex(t, header), 600, 8)
				both := tt.d.Finish(append(append(sa2, 0, 0, 0, 0), msg[16:]...))
				checkDecodeError(t, tt.d.Validate(both), nil, 0, "")
				return
			}
			shifted := tt.d.Finish(append(append(tt.d.AppendExtHeader(unhex(t, header), 600, 8), 0, 0, 0, 0),
				msg[16:]...))
			checkDecodeError(t, tt.d.Validate(shifted), tt.err, tt.at+8, "")
		})
	}
}

func TestValidateHeader(t *testing.T) {
	for _, d := range variants() {
		good := d.Finish(d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgDump}))
		checkDecodeError(t, d.Validate(good), nil, 0, "")
		for n := range good {
			checkDecodeError(t, d.Validate(good[:n]), wire.ErrShort, n, "")
		}
		bad := d.Finish(d.AppendHeader(nil, wire.Header{Version: 1}))
		checkDecodeError(t, d.Validate(bad), wire.ErrVersion, 0, "wire: at byte 0: version is not 2")
		for _, words := range []uint16{0, 1, 3, 0xffff} {
			bad := d.AppendHeader(nil, wire.Header{Version: 2, Len: words})
			checkDecodeError(t, d.Validate(bad), wire.ErrLength, 4, "")
		}
		checkDecodeError(t, d.Validate(append(good, 0)), wire.ErrLength, 17, "")
		// 8194 words are 65552 bytes, which 16-bit arithmetic takes for 16.
		checkDecodeError(t, d.Validate(d.AppendHeader(nil, wire.Header{Version: 2, Len: 8194})), wire.ErrLength, 4, "")
	}
}

func checkDecodeError(t *testing.T, err, want error, at int, text string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%v, want %v", err, want)
		return
	}
	if want == nil {
		return
	}
	var e *wire.DecodeError
	if !errors.As(err, &e) {
		t.Errorf("%T", err)
		return
	}
	if e.Offset != at {
		t.Errorf("offset %d, want %d: %v", e.Offset, at, err)
	}
	if text != "" && err.Error() != text {
		t.Errorf("%q, want %q", err, text)
	}
}
