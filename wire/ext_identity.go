package wire

import (
	"bytes"
	"fmt"
)

const identityLen = 16

// Identity is one of the identity extensions (RFC 2367 section 2.3.5).
type Identity struct {
	Type     IdentType
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

var shapeIdentity = &shape{role: RoleIdentity, kind: "identity", fields: []field{
	f("identtype", 2, asIdent, "how the name is written").in("3.7", only(0, 1, 2, 3)),
	reserved(2),
	f("id", 8, nil, "user id, when the name is a user's"),
}, tail: func(p *teller) {
	s := p.msg[p.off:p.end]
	if i := bytes.IndexByte(s, 0); i >= 0 {
		s = s[:i+1]
	}
	if b := p.take(len(s)); len(b) > 0 {
		p.value(b, "identity", text(string(bytes.TrimSuffix(b, []byte{0}))), "the name")
	}
}, brief: func(d *Dialect, r *extRow, raw []byte) string {
	v, _ := d.ParseIdentity(raw)
	return fmt.Sprintf("%s=%s:%s", r.short, d.IdentName(v.Type), text(v.Name))
}, sockaddrs: func(d *Dialect, raw []byte, visit func([]byte)) {
	// KAME's type addr has one in the place of a name.
	if len(raw) >= identityLen && d.IdentName(d.u16(raw[4:])) == "addr" {
		d.eachSockaddr(raw[identityLen:], 1, visit)
	}
}}
