package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/wire"
)

func TestWalk(t *testing.T) {
	d := wire.Linux().WithOrder(binary.LittleEndian)
	const head = "02030003 03000000 01000000 02000000 "
	type step struct {
		Type   wire.ExtType
		Offset int
		Bytes  int
	}
	for _, tt := range []struct {
		name, msg string
		want      []step
		err       error
		at        int
		text      string
	}{
		{"no extension", head, nil, nil, 0, ""},
		{"nothing", "", nil, wire.ErrShort, 0, "wire: at byte 0: too short"},
		{"15 bytes", head[:len(head)-3], nil, wire.ErrShort, 15, "wire: at byte 15: too short"},
		{"two", head + "0100 1400 02000000 0200 1000 00000000 00000000 00000000",
			[]step{{20, 16, 8}, {16, 24, 16}}, nil, 0, ""},
		{"unknown, reserved and repeated", head + "0100 7a00 00000000 0100 0000 00000000 0100 7a00 00000000",
			[]step{{0x7a, 16, 8}, {0, 24, 8}, {0x7a, 32, 8}}, nil, 0, ""},
		{"one trailing byte", head + "aa", nil, wire.ErrShort, 16,
			"wire: at byte 16: too short for the header of an extension"},
		{"two trailing bytes", head + "0100 1400 02000000 aabb", []step{{20, 16, 8}}, wire.ErrShort, 24, ""},
		{"three trailing bytes", head + "aabbcc", nil, wire.ErrShort, 16, ""},
		{"length zero", head + "0000 0100 00000000", nil, wire.ErrLength, 16,
			"wire: SA (extension 1), at byte 16: length does not fit: it is zero"},
		{"length zero after one", head + "0100 1400 02000000 0000 0000 00000000", []step{{20, 16, 8}}, wire.ErrLength,
			24, ""},
		{"one word too long", head + "0300 0100 00000000 00000000 00000000", nil, wire.ErrLength, 16,
			"wire: SA (extension 1), at byte 16: length does not fit: it lies past the end of the message"},
		// 8193 words are 65544 bytes, which 16-bit arithmetic takes for 8.
		{"length that wraps in 16 bits", head + "0120 0100 00000000", nil, wire.ErrLength, 16, ""},
		{"largest length", head + "ffff 0100 00000000", nil, wire.ErrLength, 16, ""},
		{"4 bytes of 8", head + "0100 0100", nil, wire.ErrLength, 16, ""},
		{"7 bytes of 8", head + "0100 0100 000000", nil, wire.ErrLength, 16, ""},
		{"header's length is not looked at", strings.Replace(head, "0300", "ffff", 1) + "0100 1400 02000000",
			[]step{{20, 16, 8}}, nil, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			room := append(unhex(t, tt.msg), 1, 2, 3, 4)
			msg := room[:len(room)-4]
			var got []step
			var last error
			for x, err := range d.Walk(msg) {
				if last != nil {
					t.Fatal("the walk goes on after an error")
				}
				if last = err; err != nil {
					if x.Offset != tt.at {
						t.Errorf("the error comes with offset %d, want %d", x.Offset, tt.at)
					}
					if rest := len(msg) - tt.at; rest >= 4 &&
						(len(x.Raw) != rest || x.Type != d.ExtType(d.Order.Uint16(msg[tt.at+2:]))) {
						t.Errorf("the error comes with %v", x)
					}
					if cap(x.Raw) != len(x.Raw) {
						t.Errorf("the error comes with %d bytes of capacity %d", len(x.Raw), cap(x.Raw))
					}
					continue
				}
				got = append(got, step{x.Type, x.Offset, len(x.Raw)})
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !errors.Is(last, tt.err) {
				t.Errorf("error %v, want %v", last, tt.err)
			}
			var e *wire.DecodeError
			if tt.err != nil && (!errors.As(last, &e) || e.Offset != tt.at) {
				t.Errorf("error %#v, want offset %d", last, tt.at)
			}
			if tt.text != "" && last.Error() != tt.text {
				t.Errorf("error %q, want %q", last, tt.text)
			}
		})
	}
}

// However a message is broken, the walk takes at most one step per word.
func TestWalkEnds(t *testing.T) {
	for _, d := range variants() {
		for _, s := range samples(t) {
			for at := range s.msg {
				for _, v := range []byte{0, 1, 0x80, 0xff} {
					bad := bytes.Clone(s.msg)
					bad[at] = v
					n := 0
					for range d.Walk(bad) {
						n++
					}
					if n > len(bad)/8 {
						t.Fatalf("%s with %#x at %d: %d steps", s.name, v, at, n)
					}
				}
			}
		}
	}
}

func TestWalkBreak(t *testing.T) {
	s := sampleNamed(t, "linux-add")
	n := 0
	for range s.d.Walk(s.msg) {
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("%d steps", n)
	}
	// A walk can be started again, and nested.
	seq := s.d.Walk(s.msg)
	count := func() (n int) {
		for range seq {
			n++
		}
		return n
	}
	if a, b := count(), count(); a != b || a < 5 {
		t.Errorf("%d steps, then %d", a, b)
	}
}

func TestFind(t *testing.T) {
	s := sampleNamed(t, "linux-add")
	if x, ok := s.d.Find(s.msg, wire.ExtAddressDst); !ok || x.Type != wire.ExtAddressDst || len(x.Raw) != 24 {
		t.Errorf("%v %v", x, ok)
	}
	if x, ok := s.d.Find(s.msg, wire.ExtSPIRange); ok {
		t.Errorf("found %v", x)
	}
	if x, ok := s.d.Find(s.msg[:20], wire.ExtSA); ok {
		t.Errorf("found %v in a cut message", x)
	}
}

func TestNoAllocations(t *testing.T) {
	s := sampleNamed(t, "linux-add")
	d, msg := s.d, s.msg
	buf := make([]byte, 0, 512)
	a := wire.Address{Addr: addr("2001:db8::1"), PrefixLen: 128}
	for _, tt := range []struct {
		name string
		f    func()
	}{
		{"walk", func() {
			var n int
			for x, err := range d.Walk(msg) {
				if err != nil {
					panic(err)
				}
				n += len(x.Raw)
			}
			if n != len(msg)-wire.HeaderLen {
				panic(n)
			}
		}},
		{"parse", func() {
			for x := range d.Walk(msg) {
				var err error
				switch x.Type {
				case wire.ExtSA:
					_, err = d.ParseSA(x.Raw)
				case wire.ExtLifetimeCurrent, wire.ExtLifetimeHard, wire.ExtLifetimeSoft:
					_, err = d.ParseLifetime(x.Raw)
				case wire.ExtAddressSrc, wire.ExtAddressDst:
					_, err = d.ParseAddress(x.Raw)
				case wire.ExtKeyAuth, wire.ExtKeyEncrypt:
					_, err = d.ParseKey(x.Raw)
				}
				if err != nil {
					panic(err)
				}
			}
		}},
		{"find", func() { d.Find(msg, wire.KAMEExtXSA2) }},
		{"build", func() {
			b := d.AppendHeader(buf[:0], wire.Header{Version: 2})
			b = d.AppendSA(b, wire.SA{SPI: 1})
			b = d.AppendAddress(b, wire.ExtAddressSrc, a)
			b = d.AppendLifetime(b, wire.ExtLifetimeHard, wire.Lifetime{AddTime: 1})
			b = d.AppendSA2(b, wire.SA2{Mode: 1})
			d.Finish(b)
		}},
		{"validate", func() {
			if err := d.Validate(msg); err != nil {
				panic(err)
			}
		}},
	} {
		if n := testing.AllocsPerRun(100, tt.f); n != 0 {
			t.Errorf("%s allocates %v times", tt.name, n)
		}
	}
}

func TestHeader(t *testing.T) {
	h := wire.Header{Version: 2, Type: wire.MsgUpdate, Errno: 17, SAType: wire.SATypeESP, Len: 0x0102, Reserved: 0x0304,
		Seq: 0x05060708, PID: 0x090a0b0c}
	for _, d := range variants() {
		want := unhex(t, "02 02 11 03 0201 0403 08070605 0c0b0a09")
		if d.Order == binary.BigEndian {
			want = unhex(t, "02 02 11 03 0102 0304 05060708 090a0b0c")
		}
		if d.Name == "openbsd" {
			want[3] = 2
		}
		b := d.AppendHeader(nil, h)
		if !bytes.Equal(b, want) {
			t.Errorf("%v: % x, want % x", d.Order, b, want)
		}
		got, err := d.Header(b)
		if diff := cmp.Diff(h, got); err != nil || diff != "" {
			t.Errorf("%v: %v (-want +got):\n%s", d.Order, err, diff)
		}
		b = d.Finish(append(b, make([]byte, 24)...))
		if got, _ := d.Header(b); got.Len != 5 {
			t.Errorf("%v: length %d words, want 5", d.Order, got.Len)
		}
		for n := range wire.HeaderLen {
			var e *wire.DecodeError
			if _, err := d.Header(b[:n]); !errors.Is(err, wire.ErrShort) || !errors.As(err, &e) || e.Offset != n {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
	}
}

// An extension prints as what and where it is: its bytes may be a key.
func TestExtPrintsNoBytes(t *testing.T) {
	d := wire.Linux()
	msg, secret := withKeys(d, 1)
	x, _ := d.Find(msg, wire.ExtKeyAuth)
	checkPrints(t, x, secret)
	if got, want := fmt.Sprint(x), "extension 8 at byte 16, 32 bytes"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
