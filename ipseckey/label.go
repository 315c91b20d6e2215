package ipseckey

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// labelBytes is the size of a label's bitmap.
const labelBytes = 32

// parseLabel reads what converts without a label daemon: ADMIN_LOW, ADMIN_HIGH, 0xCCCC and 0xCCCC-NN-hex, brackets
// allowed.
func parseLabel(text string) (wire.Sensitivity, bool) {
	v := wire.Sensitivity{DPD: 1}
	bitmap := make([]byte, labelBytes)
	switch t := strings.Trim(text, " "); {
	case strings.EqualFold(t, "ADMIN_LOW"):
	case strings.EqualFold(t, "ADMIN_HIGH"):
		v.Level = 0xff
		for i := range bitmap {
			bitmap[i] = 0xff
		}
	default:
		if strings.HasPrefix(t, "[") && strings.HasSuffix(t, "]") {
			t = t[1 : len(t)-1]
		}
		if len(t) < 3 || t[0] != '0' || t[1] != 'x' && t[1] != 'X' {
			return v, false
		}
		class, rest, more := strings.Cut(t[2:], "-")
		level, ok := hexBytes(class)
		if !ok || len(level) == 0 || len(class) > 4 {
			return v, false
		}
		v.Level = level[len(level)-1]
		if more {
			_, digits, ok := strings.Cut(rest, "-")
			b, okHex := hexBytes(digits)
			if !ok || !okHex || len(b) > labelBytes {
				return v, false
			}
			copy(bitmap, b)
		}
	}
	v.Bitmap = bitmap
	return v, true
}

// labelText is a label as it is printed and saved: without the zero bytes at the end of its bitmap.
func labelText(level uint8, bitmap []byte) string {
	if len(bitmap) > labelBytes {
		bitmap = bitmap[:labelBytes]
	}
	bitmap = bytes.TrimRight(bitmap, "\x00")
	if level == 0 && len(bitmap) == 0 {
		return "ADMIN_LOW"
	}
	return fmt.Sprintf("0x%04x-08-%x", level, bitmap)
}

// hexBytes reads hexadecimal digits; an odd first one is a byte of its own.
func hexBytes(text string) ([]byte, bool) {
	if len(text)%2 != 0 {
		text = "0" + text
	}
	b := make([]byte, len(text)/2)
	for i := range text {
		d, ok := digit(text[i])
		if !ok {
			return nil, false
		}
		b[i/2] = b[i/2]<<4 | d
	}
	return b, true
}
