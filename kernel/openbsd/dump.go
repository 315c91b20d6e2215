package openbsd

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/wire"
)

// maxQueued is what DUMPs may count for that wait in all sockets, a limit that the original leaves to memory.
const maxQueued = 1 << 30

// dump handles DUMP. The last SA of all has the number 0, if it is of the type that is asked for. Of none there is no
// answer, and what finds no room is lost. Where memory ends, the answer is that of other messages.
func (k *Kernel) dump(r *request) wire.Errno {
	if _, queued := k.e.Queued(); queued > maxQueued {
		return wire.OK
	}
	r.silent()
	all := k.inOrder(r.rdomain)
	for i, s := range all {
		if t := r.satype(); t != 0 && t != s.SAType || !k.anyRoom(r.client, s.least()) {
			continue
		}
		h := r.header
		if i == len(all)-1 {
			h.Seq = 0
		}
		item := request{k: k, msg: k.d.AppendHeader(nil, h)}
		item.describe(s)
		k.answerOne(r, k.compose(&item))
		item.forget()
	}
	return wire.OK
}

// least is a length that no message is below that describes the SA.
func (s *SA) least() int {
	n := wire.HeaderLen + 16 + 32 + 16 + 72 // SA, LIFETIME_CURRENT, X_REPLAY, X_COUNTER
	for _, a := range []netip.Addr{s.Src, s.Dst} {
		n += addressLen + len(a.AsSlice())
	}
	return n + len(s.Auth) + len(s.Encrypt)
}

// anyRoom tells whether anybody who hears of SAs could take a message of n bytes: those that nobody can take need not
// be made.
func (k *Kernel) anyRoom(asker *client, n int) bool {
	if asker.fits(n) {
		return true
	}
	return k.e.Promiscuous() > 0 && slices.ContainsFunc(k.e.Sockets(), func(s *engine.Socket) bool {
		return s.Promisc() && s.Endpoint().(*client).fits(wire.HeaderLen+n)
	})
}

// inOrder are the SAs of a routing domain in the order of the original's hash.
func (k *Kernel) inOrder(rdomain int) (all []*SA) {
	for _, s := range k.tdb.all {
		if s.RDomain == rdomain {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *SA) int {
		return cmp.Or(cmp.Compare(a.filed.order, b.filed.order), a.Dst.Compare(b.Dst), cmp.Compare(a.SPI, b.SPI),
			cmp.Compare(a.Proto, b.Proto))
	})
	return all
}
