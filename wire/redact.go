package wire

import "slices"

// Redact returns a copy of msg, of the same length, in which the bytes of keys are zero, for traces that others may
// read.
//
// What nobody can vouch for is zero as well: the content of extensions of unknown types and, where the framing may have
// gone wrong, everything up to the end. That is behind a malformed extension or one that cannot be in its place, and
// where something inside an extension looks like the header of a key.
func (d *Dialect) Redact(msg []byte) []byte {
	out := slices.Clone(msg)
	valid := d.Validate(msg) == nil
	var seen uint64
	for x, err := range d.Walk(msg) {
		r := d.ext(x.Type)
		end := x.Offset + len(x.Raw)
		from := min(x.Offset+extHeaderLen, len(msg))
		if r.secret() {
			from = min(x.Offset+keyLen, len(msg))
		}
		switch {
		case err != nil, d.mayHoldKey(msg, x, valid), r != nil && d.checkExt(x) != nil, r != nil &&
			seen&r.bit() != 0:
			clear(out[from:])
			return out
		case r == nil, r.secret():
			clear(out[from:end])
		}
		seen |= r.bit()
	}
	return out
}
