package wire

import (
	"fmt"
	"iter"
	"log/slog"
)

const extHeaderLen = 4

// Ext is one extension where it lies in its message.
type Ext struct {
	Type   ExtType // unnamed if the dialect does not know its number
	Offset int     // in the message, bytes
	Raw    []byte  // the whole extension with its 4-byte header: a view into the message without spare capacity

	number uint16 // its type in the message
}

// String says what and where it is, without the bytes: they may be a key.
func (x Ext) String() string {
	return fmt.Sprintf("extension %d at byte %d, %d bytes", x.number, x.Offset, len(x.Raw))
}

// Format writes the same as String whatever the verb.
func (x Ext) Format(f fmt.State, verb rune) { fmt.Fprint(f, x.String()) }

// LogValue keeps the bytes out of structured logs.
func (x Ext) LogValue() slog.Value { return slog.StringValue(x.String()) }

// MarshalText keeps the bytes out of JSON, XML and the like.
func (x Ext) MarshalText() ([]byte, error) { return []byte(x.String()), nil }

// Walk visits the extensions of a message in the order of arrival, starting behind the base header. Unknown and
// repeated ones are visited like any other; the length field of the base header is not looked at.
//
// It ends at the end of msg, or after one *[DecodeError]: ErrShort when fewer bytes are left than an extension header
// has, ErrLength when an extension's length is zero or lies past the end. With the error comes what is known of the
// extension: its Offset always, and if 4 bytes were there its Type, and as Raw the rest of the message.
//
// Walking allocates nothing unless there is an error. The views are valid as long as msg is.
func (d *Dialect) Walk(msg []byte) iter.Seq2[Ext, error] {
	return func(yield func(Ext, error) bool) { d.walk(msg, yield) }
}

func (d *Dialect) walk(msg []byte, yield func(Ext, error) bool) {
	if len(msg) < HeaderLen {
		yield(Ext{Offset: len(msg)}, &DecodeError{Offset: len(msg), Err: ErrShort})
		return
	}
	for off := HeaderLen; off < len(msg); {
		x, err := d.extAt(msg, off)
		if !yield(x, err) || err != nil {
			return
		}
		off += len(x.Raw)
	}
}

// extAt reads the extension at off, which is at most len(msg). Without an error it has at least 8 bytes.
func (d *Dialect) extAt(msg []byte, off int) (Ext, error) {
	rest := msg[off:len(msg):len(msg)]
	if len(rest) < extHeaderLen {
		return Ext{Offset: off}, &DecodeError{Offset: off, Err: errTrailing}
	}
	n := int(d.u16(rest)) * 8
	number := d.u16(rest[2:])
	x := Ext{Type: d.ExtType(number), Offset: off, Raw: rest, number: number}
	switch {
	case n == 0:
		return x, d.failAt(x, errZeroLength)
	case n > len(rest):
		return x, d.failAt(x, errPastEnd)
	}
	x.Raw = rest[:n:n]
	return x, nil
}

func (d *Dialect) failAt(x Ext, err error) error {
	return &DecodeError{Offset: x.Offset, Ext: x.Type, Name: d.ExtName(x.Type), Err: err, number: x.number}
}

// Find returns the first extension of a type; false if the walk does not get to one.
func (d *Dialect) Find(msg []byte, t ExtType) (Ext, bool) {
	for x, err := range d.Walk(msg) {
		if err != nil {
			break
		}
		if x.Type == t {
			return x, true
		}
	}
	return Ext{}, false
}

// AppendExtHeader appends the 4-byte header of an extension of the given size in bytes, which should be a multiple of
// 8. One that the dialect does not have is marked, see [Dialect.Lacks].
func (d *Dialect) AppendExtHeader(b []byte, t ExtType, bytes int) []byte {
	b, p := grow(b, extHeaderLen)
	d.PutExtHeader(p, t, bytes)
	return b
}

// PutExtHeader writes the 4-byte header of an extension over the start of raw. A size beyond MaxLen becomes MaxLen. One
// that the dialect does not have is marked, see [Dialect.Lacks].
func (d *Dialect) PutExtHeader(raw []byte, t ExtType, bytes int) {
	n, ok := d.ExtNumber(t)
	if !ok {
		n, bytes = lacked|uint16(t), 0
	}
	d.put16(raw, words(bytes))
	d.put16(raw[2:], n)
}

// lacked marks, with a length of zero, an extension that the dialect does not have.
const lacked = 0x8000

// Lacks says whether a message that Append methods have made has everything that was appended. What the dialect does
// not have is an extension of length zero in it, which no kernel takes, and here a [*LackError].
func (d *Dialect) Lacks(msg []byte) error {
	for x, err := range d.Walk(msg) {
		if err != nil && len(x.Raw) >= extHeaderLen && d.u16(x.Raw) == 0 && x.number >= lacked {
			return &LackError{Dialect: d.Name, Ext: ExtType(x.number - lacked)}
		}
	}
	return nil
}

// newExt appends n zero bytes with an extension header; n is a multiple of 8.
func (d *Dialect) newExt(b []byte, t ExtType, n int) (whole, raw []byte) {
	b, raw = grow(b, n)
	d.PutExtHeader(raw, t, n)
	return b, raw
}

// endExt pads the extension that begins at start with zeros to a word and writes its length. What the length field
// cannot say is cut off, so that the walk over the message stays right.
func (d *Dialect) endExt(b []byte, start int) []byte {
	if n := len(b) - start; n > MaxLen {
		b = b[:start+MaxLen]
	} else if n%8 != 0 {
		b, _ = grow(b, 8-n%8)
	}
	if d.u16(b[start:]) != 0 { // else it is marked
		d.put16(b[start:], words(len(b)-start))
	}
	return b
}

func pad8(n int) int { return (n + 7) &^ 7 }
