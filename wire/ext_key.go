package wire

import (
	"fmt"
	"log/slog"
)

const keyLen = 8

// Key is one of the key extensions (RFC 2367 section 2.3.4). Printed with any verb that fits, logged or turned into
// JSON it shows its size and nothing of Data. (Two things get past that: the verbs %p and %w, which go vet refuses for
// it, and a struct that holds it in an unexported field and is printed itself.)
type Key struct {
	Bits     uint16
	Reserved uint16 // on illumos bits of the salt or of the initial IV, see its dialect
	Data     []byte // the key bytes; from ParseKey (Bits+7)/8 of them, a view into the message
}

// AppendKey appends a key extension of type t to b: 8 bytes, all of v.Data, zeros up to a word. Data may be longer than
// Bits says, as illumos answers keys with a salt behind them; room without bytes is made by zeros in Data. What the
// length of an extension cannot say is cut off.
func (d *Dialect) AppendKey(b []byte, t ExtType, v Key) []byte {
	data := v.Data[:min(len(v.Data), MaxLen-keyLen)]
	b, p := d.newExt(b, t, keyLen+pad8(len(data)))
	d.put16(p[4:], v.Bits)
	d.put16(p[6:], v.Reserved)
	copy(p[keyLen:], data)
	return b
}

// ParseKey reads a key extension of any type. ErrShort means that it ends before Bits say, the other fields are right
// then. Data is a view into raw; what may follow it (padding, a salt on illumos) is found with [KeyArea].
func (d *Dialect) ParseKey(raw []byte) (Key, error) {
	if err := d.need(raw, keyLen); err != nil {
		return Key{}, err
	}
	v := Key{Bits: d.u16(raw[4:]), Reserved: d.u16(raw[6:])}
	end := keyLen + (int(v.Bits)+7)/8
	if end > len(raw) {
		return v, d.fail(raw, len(raw), ErrShort)
	}
	v.Data = raw[keyLen:end:end]
	return v, nil
}

// SaltApart tells whether a cipher's salt stands behind its key and is counted apart from it, in Reserved of the [Key].
// Elsewhere it is the end of the key.
func (d *Dialect) SaltApart() bool { return d.t.saltApart }

// KeyArea is everything behind the fixed 8 bytes of a key extension: key bytes, whatever a dialect puts behind them,
// padding. It is a view without spare capacity, and secret.
func KeyArea(raw []byte) []byte {
	if len(raw) < keyLen {
		return nil
	}
	return raw[keyLen:len(raw):len(raw)]
}

// String says how long the key is: "key(128 bits, hidden)".
func (k Key) String() string { return fmt.Sprintf("key(%d bits, hidden)", k.Bits) }

// Format writes the same as String whatever the verb.
func (k Key) Format(f fmt.State, verb rune) { fmt.Fprint(f, k.String()) }

// LogValue keeps the key bytes out of structured logs.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText keeps the key bytes out of JSON, XML and the like.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// shapeKey is that of KEY_AUTH. The fields of other keys mean something else.
var (
	shapeKey = &shape{role: RoleKey, kind: "key", fields: keyFields("of the key", "zero"),
		rule: func(d *Dialect, raw []byte) error { _, err := d.ParseKey(raw); return err },
		tail: func(p *teller) {
			const meaning = "most significant bit first"
			if !p.keys {
				if n := p.end - p.off; n > 0 {
					p.hidden(n, "key", "hidden", meaning)
				}
				return
			}
			n := (int(p.d.u16(p.msg[p.off-4:])) + 7) / 8
			if b := p.take(min(n, p.end-p.off)); len(b) > 0 {
				p.value(b, "key", "", meaning)
			}
		},
		brief: func(d *Dialect, r *extRow, raw []byte) string {
			v, _ := d.ParseKey(raw)
			return fmt.Sprintf("%s=(%d bits)", r.short, v.Bits)
		}}
	encryptKeyFields = keyFields("of the key", "on illumos the salt bits behind the key, else zero")
	stringKeyFields  = keyFields("of the string", "zero")
)

func keyFields(bits, reserved string) []field {
	return []field{f("bits", 2, nil, bits), f("reserved", 2, nil, reserved)}
}
