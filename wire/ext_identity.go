package wire

import "bytes"

const identityLen = 16

// Identity is one of the identity extensions (RFC 2367 section 2.3.5).
type Identity struct {
	Type     uint16 // IdentPrefix, ...
	Reserved uint16
	ID       uint64
	Name     string // without the NUL that ends it on the wire
}

// AppendIdentity appends an identity extension of type t to b: 16 bytes, and unless Name is empty Name, a NUL and zeros
// up to a word. A Name that would make the extension longer than MaxLen is cut.
func (d *Dialect) AppendIdentity(b []byte, t ExtType, v Identity) []byte {
	start := len(b)
	b, p := d.newExt(b, t, identityLen)
	d.put16(p[4:], v.Type)
	d.put16(p[6:], v.Reserved)
	d.put64(p[8:], v.ID)
	if v.Name != "" {
		b = append(b, v.Name[:min(len(v.Name), MaxLen-identityLen-1)]...)
		b = append(b, 0)
	}
	return d.endExt(b, start)
}

// ParseIdentity reads an identity extension of any type. Name ends at the first NUL, or at the end of the extension if
// there is none; it is a copy.
func (d *Dialect) ParseIdentity(raw []byte) (Identity, error) {
	if err := d.need(raw, identityLen); err != nil {
		return Identity{}, err
	}
	s := raw[identityLen:]
	if i := bytes.IndexByte(s, 0); i >= 0 {
		s = s[:i]
	}
	return Identity{Type: d.u16(raw[4:]), Reserved: d.u16(raw[6:]), ID: d.u64(raw[8:]), Name: string(s)}, nil
}
