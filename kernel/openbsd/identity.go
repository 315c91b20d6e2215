package openbsd

import "github.com/pfkeyd/pfkeyd/wire"

// identity is one end's, as its extension has brought it.
type identity struct {
	kind uint16
	name string // with the zeros that fill the last word
}

// identities are those of both ends of an SA or a flow, as the host sees it.
type identities struct{ local, remote identity }

const identityLen = 16 // without the name, bytes

// identitiesIn are those of a request; nil unless both are there and have a type (import_identities).
func (k *Kernel) identitiesIn(r *request, swapped bool) *identities {
	src, dst := r.ext(wire.ExtIdentitySrc), r.ext(wire.ExtIdentityDst)
	if src == nil || dst == nil || k.d.Order.Uint16(src[4:]) == 0 || k.d.Order.Uint16(dst[4:]) == 0 {
		return nil
	}
	read := func(raw []byte) identity { return identity{k.d.Order.Uint16(raw[4:]), string(raw[identityLen:])} }
	if swapped {
		src, dst = dst, src
	}
	return &identities{read(src), read(dst)}
}

// appendIdentity appends the extension of an identity.
func (k *Kernel) appendIdentity(b []byte, t wire.ExtType, i identity) []byte {
	start := len(b)
	b = append(append(b, make([]byte, identityLen)...), i.name...)
	k.d.PutExtHeader(b[start:], t, identityLen+len(i.name))
	k.d.Order.PutUint16(b[start+4:], i.kind)
	return b
}
