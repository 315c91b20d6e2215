package kame

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// add makes an SA with keys (key_api_add, key_add).
func (k *Kernel) add(r *Request) wire.Errno {
	if !complete(r) {
		return wire.EINVAL
	}
	x := k.indexWithPorts(r)
	s := k.draft(r)
	if errno := k.admit(r, s, &x); errno != wire.OK {
		s.forgetKeys()
		return errno
	}
	k.answered(r, &x)
	k.Answer(r, ToAll, k.Echo(r, k.page.AddEcho))
	return wire.OK
}

// admit puts a new SA with keys into the database, if it may be there.
func (k *Kernel) admit(r *Request, s *SA, x *Index) wire.Errno {
	h, errno := k.heir.Admit(r, s, x)
	if errno != wire.OK {
		return errno
	}
	suite, errno := k.Suite(r, s, x)
	if errno != wire.OK {
		return errno
	}
	if h == nil {
		h = k.HeadFor(x)
	}
	return k.insertReady(s, h, suite)
}

// insertReady puts a new SA with keys into a head; nil: there was no room for one.
func (k *Kernel) insertReady(s *SA, h *Head, suite *ipsec.Suite) wire.Errno {
	if h == nil {
		return wire.ENOBUFS
	}
	s.protection.Store(k.Protect(s, h, suite))
	s.Become(sadb.Mature)
	if !k.Insert(s, h) {
		return wire.ENOBUFS
	}
	return wire.OK
}

// update changes an SA (key_api_update, key_update).
func (k *Kernel) update(r *Request) wire.Errno {
	if !lifetimesPaired(r) || !r.Has(wire.ExtSA, wire.ExtAddressSrc, wire.ExtAddressDst) {
		return wire.EINVAL
	}
	x := k.indexWithPorts(r)
	s := k.draft(r)
	if errno := k.heir.Update(r, s, &x); errno != wire.OK {
		s.forgetKeys()
		return errno
	}
	k.Answer(r, ToAll, k.Echo(r, k.page.AddEcho))
	return wire.OK
}

// complete tells whether a request has what an SA with keys needs.
func complete(r *Request) bool {
	return r.Has(wire.ExtSA, wire.ExtAddressSrc, wire.ExtAddressDst) && lifetimesPaired(r) && HasKeys(r)
}

// HasKeys tells whether a request has the key extension that its protocol cannot do without.
func HasKeys(r *Request) bool {
	switch r.proto {
	case ip.ProtoESP:
		return r.Has(wire.ExtKeyEncrypt)
	case ip.ProtoAH:
		return r.Has(wire.ExtKeyAuth)
	}
	return true
}

// lifetimesPaired tells whether a request has both lifetimes or neither.
func lifetimesPaired(r *Request) bool {
	return r.Has(wire.ExtLifetimeHard) == r.Has(wire.ExtLifetimeSoft)
}

// IdentitiesPaired tells whether a request has two identities, of one type unless any will do, or none.
func (k *Kernel) IdentitiesPaired(r *Request, anyTypes bool) bool {
	src, dst := r.Ext(wire.ExtIdentitySrc), r.Ext(wire.ExtIdentityDst)
	if src == nil || dst == nil {
		return src == nil && dst == nil
	}
	return anyTypes || k.d.Order.Uint16(src[4:]) == k.d.Order.Uint16(dst[4:])
}

// draft is an SA as a request describes it.
func (k *Kernel) draft(r *Request) *SA {
	v, _ := k.d.ParseSA(r.Ext(wire.ExtSA))
	return &SA{SPI: uint32(v.SPI), Seq: uint32(r.Header.Seq), PID: r.Header.PID, Added: k.Uptime(), Shown: v,
		Auth: keyOf(r.Ext(wire.ExtKeyAuth)), Encrypt: keyOf(r.Ext(wire.ExtKeyEncrypt)),
		Hard: k.lifetime(r, wire.ExtLifetimeHard), Soft: k.lifetime(r, wire.ExtLifetimeSoft)}
}

// keyOf is a key's own copy of an extension; nil if there is none.
func keyOf(ext []byte) *Key {
	if ext == nil {
		return nil
	}
	return &Key{slices.Clone(ext)}
}

// lifetime reads a set of limits; nil if there is none.
func (k *Kernel) lifetime(r *Request, t wire.ExtType) *wire.Lifetime {
	raw := r.Ext(t)
	if raw == nil {
		return nil
	}
	v, _ := k.d.ParseLifetime(raw)
	return &v
}

// Suite checks what a draft says of keys and algorithms, and makes what protects packets of it.
func (k *Kernel) Suite(r *Request, s *SA, x *Index) (*ipsec.Suite, wire.Errno) {
	if errno := k.heir.CheckSA(r, s, x); errno != wire.OK {
		return nil, errno
	}
	return k.suite(r.proto, s)
}

// Protect is the protection of an SA that is in a head.
func (k *Kernel) Protect(s *SA, h *Head, suite *ipsec.Suite) *Protection {
	s.Lock()
	s.Replays = Window{Size: s.Window}
	s.Unlock()
	return &Protection{Suite: suite, SPI: s.SPI, Proto: h.Proto, Mode: h.Mode, Src: h.Src.Addr(), Dst: h.Dst.Addr(),
		Encrypt: s.Shown.Encrypt, Flags: s.Shown.Flags, NATT: s.NATT, DstPort: h.Dst.Port(),
		Transform: newTransform(suite)}
}
