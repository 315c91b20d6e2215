package ipseckey

import (
	"math/bits"
	"strings"
)

// parseUint reads a number as strtoull(3C) in base 0 does, using the whole text: leading white space and a sign are
// fine, a minus sign gives the two's complement, 0x and 0 mean hexadecimal and octal. No digits at all are 0 only if
// there is no text.
func parseUint(text string) (v uint64, ok bool) {
	t := strings.TrimLeft(text, spaces)
	if text == "" {
		return 0, true
	}
	neg := false
	if t != "" && (t[0] == '+' || t[0] == '-') {
		neg, t = t[0] == '-', t[1:]
	}
	base := uint64(10)
	switch {
	case len(t) > 2 && (t[:2] == "0x" || t[:2] == "0X"):
		base, t = 16, t[2:]
	case len(t) > 1 && t[0] == '0':
		base, t = 8, t[1:]
	}
	if t == "" {
		return 0, false
	}
	for i := range len(t) {
		d, ok := digit(t[i])
		if !ok || uint64(d) >= base {
			return 0, false
		}
		hi, lo := bits.Mul64(v, base)
		sum, carry := bits.Add64(lo, uint64(d), 0)
		if hi != 0 || carry != 0 {
			return 0, false
		}
		v = sum
	}
	if neg {
		v = -v
	}
	return v, true
}

// parseLong reads what strtol(3C) in base 10 makes of text: white space, a sign, digits, and anything behind them.
// Without digits it is 0. ok is false when the number does not fit in 64 bits; digits tells whether there were any.
func parseLong(text string) (v int64, digits, ok bool) {
	t := strings.TrimLeft(text, spaces)
	neg := false
	if t != "" && (t[0] == '+' || t[0] == '-') {
		neg, t = t[0] == '-', t[1:]
	}
	var u uint64
	for i := 0; i < len(t) && '0' <= t[i] && t[i] <= '9'; i++ {
		digits = true
		hi, lo := bits.Mul64(u, 10)
		sum, carry := bits.Add64(lo, uint64(t[i]-'0'), 0)
		if hi != 0 || carry != 0 || sum > 1<<63 {
			return 0, true, false
		}
		u = sum
	}
	if !neg && u == 1<<63 {
		return 0, true, false
	}
	v = int64(u)
	if neg {
		v = -v
	}
	return v, digits, true
}

// digit is the value of a hexadecimal digit.
func digit(c byte) (uint8, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
