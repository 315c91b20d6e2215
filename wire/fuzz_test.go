package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/wire"
)

// pick chooses a dialect and a byte order by a number.
func pick(n uint8) *dialect {
	all := variants()
	return all[int(n)%len(all)]
}

// seed adds the chosen messages in both byte orders; more are the arguments behind the message.
func seed(f *testing.F, more ...any) {
	for _, s := range samples(f) {
		for n, d := range variants() {
			if d.Name == s.d.Name {
				f.Add(append([]any{uint8(n), swap(s.d, d, s.msg)}, more...)...)
			}
		}
	}
}

func FuzzWalk(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, n uint8, msg []byte) {
		d := pick(n)
		next, failed := wire.HeaderLen, false
		for x, err := range d.Walk(msg) {
			if failed {
				t.Fatal("the walk goes on after an error")
			}
			if err != nil {
				failed = true
				var e *wire.DecodeError
				if !errors.As(err, &e) || e.Offset != x.Offset || e.Offset > len(msg) {
					t.Fatalf("%v at %v", err, x)
				}
				continue
			}
			if x.Offset != next || len(x.Raw) < 8 || len(x.Raw)%8 != 0 || len(x.Raw) != cap(x.Raw) {
				t.Fatalf("%v with capacity %d, expected at %d", x, cap(x.Raw), next)
			}
			if &x.Raw[0] != &msg[x.Offset] {
				t.Fatalf("%v is not a view", x)
			}
			next += len(x.Raw)
		}
		if !failed && next != len(msg) {
			t.Fatalf("the walk ended at %d of %d", next, len(msg))
		}
		if d.Validate(msg) == nil && failed {
			t.Fatal("valid, but the walk failed")
		}
	})
}

// FuzzParse gives any bytes to every parser, as an extension of every type.
func FuzzParse(f *testing.F) {
	for n, d := range variants() {
		for _, l := range layouts(d) {
			f.Add(uint8(n), l.bytes(f, d))
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, raw []byte) {
		d := pick(n)
		raw = bytes.Clone(raw)
		for typ := range wire.ExtType(64) {
			c, ok := codecOf(d, typ)
			if !ok {
				continue
			}
			if len(raw) >= 4 {
				number, _ := d.ExtNumber(typ)
				d.Order.PutUint16(raw[2:], number)
			}
			before := bytes.Clone(raw)
			v, err := c.parse(d, raw)
			if !bytes.Equal(raw, before) {
				t.Fatal("parsing changed the bytes")
			}
			if err != nil {
				var e *wire.DecodeError
				if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(raw) {
					t.Fatalf("type %d: %v", typ, err)
				}
				continue
			}
			if len(raw) < 8 {
				t.Fatalf("type %d: %d bytes are %v", typ, len(raw), v)
			}
			// What was understood can be written and understood again.
			again, err := c.parse(d, c.append(d, nil, v))
			if err != nil {
				t.Fatalf("type %d: %v, from %v", typ, err, v)
			}
			if reflect.DeepEqual(v, again) { // cheaper
				continue
			}
			if diff := cmp.Diff(v, again, sameValue); diff != "" {
				t.Fatalf("type %d, read twice (-first +second):\n%s", typ, diff)
			}
		}
	})
}

// FuzzRoundTrip writes what was read into memory full of junk: the same bytes twice, and nothing of the junk.
func FuzzRoundTrip(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, n uint8, msg []byte) {
		d := pick(n)
		h, err := d.Header(msg)
		if err != nil {
			return
		}
		if b := d.AppendHeader(nil, h); !bytes.Equal(b, msg[:wire.HeaderLen]) {
			t.Fatalf("header % x is written % x", msg[:wire.HeaderLen], b)
		}
		for x, err := range d.Walk(msg) {
			if err != nil {
				break
			}
			c, ok := codecOf(d, x.Type)
			if !ok {
				continue
			}
			v, err := c.parse(d, x.Raw)
			if err != nil {
				continue
			}
			clean := c.append(d, nil, v)
			junk := c.append(d, bytes.Repeat([]byte{0xff}, len(x.Raw)+200)[:0], v)
			if !bytes.Equal(clean, junk) {
				t.Fatalf("%v: written % x, into junk % x", x, clean, junk)
			}
			if len(clean)%8 != 0 || len(clean) < 8 {
				t.Fatalf("%v: written as %d bytes", x, len(clean))
			}
			again, err := c.parse(d, clean)
			if err != nil {
				t.Fatalf("%v: %v", x, err)
			}
			if twice := c.append(d, nil, again); !bytes.Equal(clean, twice) {
				t.Fatalf("%v: written % x, then % x", x, clean, twice)
			}
		}
	})
}

// FuzzFormat prints anything. Keys that lie where the framing says so must not show; nor must those of a good message
// one of whose lengths was changed, or that was cut: at, length and cut do so.
func FuzzFormat(f *testing.F) {
	seed(f, uint8(0), uint16(0), uint16(3), uint16(0))
	f.Fuzz(func(t *testing.T, n uint8, msg []byte, variant uint8, at, length, cut uint16) {
		d := pick(n)
		d.Format(io.Discard, msg, wire.FormatOptions{ShowKeys: true})
		checkHidden(t, d, plant(d, msg), planted)

		good, secret := withKeys(d, int(variant%3))
		var offsets []int
		for x := range d.Walk(good) {
			offsets = append(offsets, x.Offset)
		}
		o := offsets[int(at)%len(offsets)]
		d.Order.PutUint16(good[o:], length)
		good = good[:len(good)-int(cut)%len(good)]
		checkHidden(t, d, good, secret)
	})
}

var planted = []byte("\x9b\xd7\xc5\xa3\xe9\xf7\x8d\xb1")

// plant fills the content of every key extension with something recognisable.
func plant(d *dialect, msg []byte) []byte {
	msg = bytes.Clone(msg)
	// What is there already by chance would be taken for a leak.
	if bytes.Contains(msg, planted[:4]) {
		return nil
	}
	for x, err := range d.Walk(msg) {
		if len(x.Raw) >= 8 && (x.Type == wire.ExtKeyAuth || x.Type == wire.ExtKeyEncrypt || d.Name == "illumos" &&
			x.Type == wire.IllumosExtXStrAuth) {
			area := x.Raw[8:]
			for len(area) > 0 {
				area = area[copy(area, planted):]
			}
		}
		if err != nil {
			break
		}
	}
	return msg
}

func TestPlant(t *testing.T) {
	d := wire.Linux().WithOrder(binary.LittleEndian)
	msg, _ := withKeys(d, 0)
	x, _ := d.Find(plant(d, msg), wire.ExtKeyAuth)
	if k, err := d.ParseKey(x.Raw); err != nil || !bytes.HasPrefix(k.Data, planted) {
		t.Errorf("nothing planted: %x %v", k.Data, err)
	}
}
