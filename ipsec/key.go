package ipsec

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// Key is secret bytes: a key, or a salt. It prints as its length with every verb, in logs and in JSON. The bytes are
// held by a function, the one thing into which fmt and reflection never look, so that not even a struct with a private
// Key in it prints them. The zero value is the empty key. It is immutable, and compares with Equal only.
type Key struct{ get func() []byte }

// NewKey copies b.
func NewKey(b []byte) Key {
	if len(b) == 0 {
		return Key{}
	}
	c := append([]byte(nil), b...)
	return Key{func() []byte { return c }}
}

// Len is the length in bytes.
func (k Key) Len() int { return len(k.bytes()) }

// Bytes returns a copy of the secret.
func (k Key) Bytes() []byte { return append([]byte(nil), k.bytes()...) }

func (k Key) bytes() []byte {
	if k.get == nil {
		return nil
	}
	return k.get()
}

// Equal compares in constant time.
func (k Key) Equal(o Key) bool { return subtle.ConstantTimeCompare(k.bytes(), o.bytes()) == 1 }

// String returns the length only.
func (k Key) String() string { return fmt.Sprintf("key(%d bits, hidden)", 8*k.Len()) }

// Format writes the length only, whatever the verb.
func (k Key) Format(f fmt.State, verb rune) { io.WriteString(f, k.String()) }

// LogValue implements [slog.LogValuer]: the length only.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText implements [encoding.TextMarshaler], for JSON: the length only.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
