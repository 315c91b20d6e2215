package openbsd

import (
	"cmp"
	"slices"

	"github.com/pfkeyd/pfkeyd/wire"
)

// dump handles DUMP. The last SA of all has the number 0, if it is of the type that is asked for. Of none there is no
// answer, and what finds no room is lost.
func (k *Kernel) dump(r *request) wire.Errno {
	r.silent()
	all := k.inOrder(r.rdomain)
	for i, s := range all {
		if t := r.satype(); t != 0 && t != s.SAType {
			continue
		}
		h := r.header
		if i == len(all)-1 {
			h.Seq = 0
		}
		k.answerOne(r, k.describe(h, k.ascending(k.appendSA(nil, s))))
	}
	return wire.OK
}

// inOrder are the SAs of a routing domain in the order of the original's hash.
func (k *Kernel) inOrder(rdomain int) (all []*SA) {
	for _, s := range k.tdb.all {
		if s.RDomain == rdomain {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *SA) int {
		return cmp.Or(cmp.Compare(k.tdb.order(a), k.tdb.order(b)), a.Dst.Compare(b.Dst), cmp.Compare(a.SPI, b.SPI))
	})
	return all
}

// describe is a message of a header and extensions, one behind the other.
func (k *Kernel) describe(h wire.Header, raw []byte) []byte {
	b := k.d.AppendHeader(make([]byte, 0, wire.HeaderLen+len(raw)), h)
	b = append(b, raw...)
	clear(raw) // there are keys in it
	return k.d.Finish(b)
}
