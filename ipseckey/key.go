package ipseckey

import "strings"

// keyValue is a key as it was typed. Its bytes must not be printed, not even in an error.
type keyValue struct {
	data []byte
	bits uint16
}

// keyProblem is what is wrong with a key word.
type keyProblem int

const (
	keyFine      keyProblem = iota
	keyTruncated            // the digits say more than the bits; the excess was dropped
	keyTooBig               // the bits say more than the digits
	keyBadBits              // what follows the slash is no number
	keyNotHex
)

// parseKey reads HEX[/BITS], HEX with or without 0x. digits are those before the slash, count is what follows it, and
// size is that as a number. An odd last digit is the high half of the last byte. With bits fewer than the digits the
// lower ones are dropped unseen, whatever they are, and the last byte is masked; with more, the key has them all the
// same, and it is the caller's choice to refuse it. Problems are in the order in which they are to be reported;
// keyBadBits and keyNotHex give no key.
func parseKey(text string) (k keyValue, digits, count string, size int32, problems []keyProblem) {
	if len(text) > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X') {
		text = text[2:]
	}
	digits, count, slash := strings.Cut(text, "/")
	used := digits
	bits := uint32(len(digits)+1) &^ 1 * 4
	if slash {
		n, any, ok := parseLong(count)
		switch {
		case !any:
			return keyValue{}, digits, count, 0, []keyProblem{keyBadBits}
		case !ok:
			n = -1 // as what does not fit is read
		}
		// Like the original this is unsigned arithmetic that may wrap around.
		bits = uint32(n)
		switch need := (bits + 3) >> 2; {
		case need > uint32(len(digits)):
			problems = append(problems, keyTooBig)
		case need < uint32(len(digits)):
			problems = append(problems, keyTruncated)
			used = digits[:need]
		}
	}
	k.bits = uint16(bits)
	k.data = make([]byte, (len(used)+1)/2)
	for i := range len(used) {
		d, ok := digit(used[i])
		if !ok {
			return keyValue{}, digits, count, int32(bits), append(problems, keyNotHex)
		}
		k.data[i/2] |= d << (4 * (1 - i%2))
	}
	if n := len(k.data); n > 0 && bits%8 != 0 {
		k.data[n-1] &= 0xff << (8 - bits%8)
	}
	return k, digits, count, int32(bits), problems
}

// maskKey is a key word with X for every digit: as long as the word, and telling nothing else.
func maskKey(text string) string {
	digits, bits, slash := strings.Cut(text, "/")
	prefix := ""
	if len(digits) >= 2 && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X') {
		prefix, digits = digits[:2], digits[2:]
	}
	masked := prefix + strings.Repeat("X", len(digits))
	switch {
	case !slash:
	case len(bits) <= 5 && strings.Trim(bits, "0123456789") == "":
		masked += "/" + bits
	default: // whatever this is, it may be a piece of a key
		masked += "/" + strings.Repeat("X", len(bits))
	}
	return masked
}
