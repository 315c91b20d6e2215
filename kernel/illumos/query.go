package illumos

import (
	"bytes"
	"net/netip"
	"slices"

	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// query is what a message says of the SA it is about; ipsa_query_t.
type query struct {
	f        *family
	sa       wire.SA
	src, dst netip.Addr
	srcID    *identity
	dstID    *identity
	cookie   wire.KMCookie
	withSrc  bool
	withDst  bool
}

// formQuery reads a query from a message in which the given extensions must be; sadb_form_query. They are looked for in
// the order DST, SRC, SA, whatever the order of the message.
func (k *Kernel) formQuery(p *protocol, r *request, required ...wire.ExtType) (*query, result) {
	for _, t := range []wire.ExtType{wire.ExtAddressDst, wire.ExtAddressSrc, wire.ExtSA} {
		if slices.Contains(required, t) && !r.has(t) {
			return nil, missing(t)
		}
	}
	q := &query{}
	dst, src := r.address(k, wire.ExtAddressDst), r.address(k, wire.ExtAddressSrc)
	if dst.present() {
		q.dst, q.withDst = dst.addr(), true
	}
	if src.present() {
		q.src, q.withSrc = src.addr(), true
	}
	if q.withSrc && q.withDst && q.src.Is4() != q.dst.Is4() {
		return nil, einval(wire.IllumosDiagAFMismatch)
	}
	switch {
	case q.withDst:
		q.f = p.familyOf(q.dst)
	case q.withSrc:
		q.f = p.familyOf(q.src)
	}
	if !q.withSrc && q.withDst {
		q.src = unspecified(q.dst)
	}
	if r.has(wire.ExtSA) {
		q.sa = k.readSA(r)
	}
	q.srcID, q.dstID = k.readIdentity(r.ext[wire.ExtIdentitySrc]), k.readIdentity(r.ext[wire.ExtIdentityDst])
	if raw := r.ext[wire.IllumosExtXKMCookie]; raw != nil {
		q.cookie = k.readCookie(raw)
	}
	return q, result{}
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// find returns the SA of the query and its partner, if it has one: its peer, the same SA in the other table, or the SA
// it is paired with; get_ipsa_pair. The SA may be DEAD and waiting to be reaped.
func (q *query) find() (s, partner *sa) {
	tables := [2]*table{&q.f.out, &q.f.in}
	if q.sa.Flags&flagInbound != 0 {
		tables[0], tables[1] = tables[1], tables[0]
	}
	for _, t := range tables {
		if s = t.lookup(q.sa.SPI, q.src, q.dst); s != nil {
			return s, s.partner()
		}
	}
	return nil, nil
}

// partner finds the peer or pair of s.
func (s *sa) partner() *sa {
	switch {
	case s.State() == sadb.Larval && !s.in.isOutbound():
		return nil
	case s.peer() != nil:
		return s.peer()
	}
	return s.pair()
}

// peer finds the same SA in the other table.
func (s *sa) peer() *sa {
	if p := s.peerSA.Load(); p != nil && p.in != nil {
		return p
	}
	return nil
}

// pair finds the SA that s is paired with.
func (s *sa) pair() *sa {
	if s.pairSPI == 0 || s.in == nil {
		return nil
	}
	return s.pairTable().lookup(s.pairSPI, s.dst, s.src)
}

// pairTable is where the pair of s is: in the opposite table of the family of s' source.
func (s *sa) pairTable() *table {
	f := s.p.familyOf(s.src)
	if s.in.isOutbound() {
		return &f.in
	}
	return &f.out
}

// readSA reads the SA extension, as far as it goes.
func (k *Kernel) readSA(r *request) wire.SA {
	v, _ := k.d.ParseSA(r.ext[wire.ExtSA])
	return v
}

func (k *Kernel) readIdentity(raw []byte) *identity {
	if raw == nil {
		return nil
	}
	n := min(int(k.d.Order.Uint16(raw))*8, len(raw))
	name, _, _ := bytes.Cut(raw[16:max(16, n)], []byte{0})
	return &identity{typ: k.d.Order.Uint16(raw[4:]), name: string(name)}
}

func (a *identity) equal(b *identity) bool { return a != nil && b != nil && *a == *b }

// readCookie reads a key management cookie. The engine of 2015 keeps 32 bits of it, whatever the protocol.
func (k *Kernel) readCookie(raw []byte) wire.KMCookie {
	return wire.KMCookie{Protocol: k.d.Order.Uint32(raw[4:]), Cookie: uint64(k.d.Order.Uint32(raw[8:]))}
}
