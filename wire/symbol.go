package wire

import (
	"fmt"
	"slices"
	"strings"
)

// In Go a message type, an extension type, an SA type, an algorithm and a mode are symbols: one value for one meaning,
// whatever the dialect. In a message they are numbers, and the table of a dialect has which: ESP is 3, but 2 on
// OpenBSD. The values of the symbols of RFC 2367 and of KAME are the numbers that they have there.
//
// A number without a meaning in a dialect survives: its symbol has its value, or where that is the symbol of another
// meaning, the value plus unnamed. A symbol that a dialect does not have cannot be written by it: where its number
// should stand, noNumber does, which means nothing to any kernel, and an extension has a mark that no kernel takes
// ([Dialect.Lacks]).
const (
	unnamed     = 0x100
	unnamedExt  = 0x10000 // the same for extension types
	noNumber    = 0xff
	noExtNumber = 0xffff
)

// row is a symbol in the table of a family: the number that it has there, and its name.
type row[S ~uint16] struct {
	symbol S
	number uint8
	name   string
}

// numbers is how a dialect numbers one kind of symbols.
type numbers[S ~uint16] struct {
	rows   []row[S]
	symbol [unnamed]S         // by number
	number [2 * unnamed]uint8 // by symbol; noNumber where the dialect does not have it
}

// numbered makes the numbers of a dialect out of the tables of families. all are the tables of all dialects.
func numbered[S ~uint16](all [][]row[S], tables ...[]row[S]) *numbers[S] {
	t := new(numbers[S])
	for n := range t.symbol {
		t.symbol[n], t.number[n], t.number[n+unnamed] = S(n), uint8(n), uint8(n)
	}
	for _, r := range slices.Concat(all...) {
		t.symbol[r.symbol], t.number[r.symbol] = r.symbol+unnamed, noNumber
	}
	t.rows = slices.Concat(tables...)
	for _, r := range t.rows {
		t.symbol[r.number], t.number[r.symbol] = r.symbol, r.number
	}
	return t
}

// of is the symbol of a number.
func (t *numbers[S]) of(n uint8) S { return t.symbol[n] }

// numberOf is the number of a symbol: noNumber and false if there is none.
func (t *numbers[S]) numberOf(s S) (uint8, bool) {
	n := t.write(s)
	return n, n != noNumber || uint8(s) == noNumber
}

// write is the number of a symbol, noNumber if there is none.
func (t *numbers[S]) write(s S) uint8 { return t.number[s&(2*unnamed-1)] }

// symbolName finds the name of a symbol in the tables of families; unknown(0x2a) for none.
func symbolName[S ~uint16](s S, tables ...[]row[S]) string {
	for _, rows := range tables {
		for _, r := range rows {
			if r.symbol == s {
				return r.name
			}
		}
	}
	return fmt.Sprintf("unknown(%#x)", uint8(s))
}

// byName is the inverse, ignoring case.
func (t *numbers[S]) byName(s string) (S, bool) {
	for _, r := range t.rows {
		if strings.EqualFold(r.name, s) {
			return r.symbol, true
		}
	}
	return 0, false
}
