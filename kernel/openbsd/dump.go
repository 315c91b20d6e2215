package openbsd

import (
	"cmp"
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
		if t := r.satype(); t != 0 && t != s.SAType {
			continue
		}
		if !k.anyRoom(r.client) {
			break
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

// shortestSA is the least length of a message that describes an SA: LARVAL, without limits or addresses.
const shortestSA = wire.HeaderLen + 16 + 32 + 2*addressLen + 16 + 72

// anyRoom tells whether anybody who hears of SAs could take one more message.
func (k *Kernel) anyRoom(asker *client) bool {
	if asker.fits(shortestSA) {
		return true
	}
	return k.e.Promiscuous() > 0 && slices.ContainsFunc(k.e.Sockets(), func(s *engine.Socket) bool {
		return s.Promisc() && s.Endpoint().(*client).fits(wire.HeaderLen+shortestSA)
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
