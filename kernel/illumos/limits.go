package illumos

import "github.com/pfkeyd/pfkeyd/wire"

// The original is bounded by the memory of its machine, and answers ENOMEM at the end of it. An engine is one process among others, so it has
// bounds of its own, which end in the same way. They are tunables of a module that the original has not: pfkeyd:max_sas and so on.

// countStored brings Kernel.stored up to date with what an SA keeps, as long as it is linked, of messages that have no bound of their own: the names
// of its identities.
func (s *sa) countStored() {
	n := 0
	if s.in != nil {
		for _, id := range []*identity{s.srcID, s.dstID} {
			if id != nil {
				n += len(id.name)
			}
		}
	}
	s.p.k.stored += n - s.stored
	s.stored = n
}

// sas is how many SAs there are, copies included.
func (k *Kernel) sas() (n int) {
	for _, p := range k.consumers() {
		for _, f := range p.families() {
			n += f.out.n + f.in.n
		}
	}
	return n
}

// noRoomFor says whether n more SAs with so many bytes of identities are more than there may be.
func (k *Kernel) noRoomFor(n, stored int) bool {
	return k.sas()+n > k.tun.limit(limSAs) || stored != 0 && k.stored+stored > k.tun.limit(limIdentities)
}

// noRoomForDump says whether what waits in the receive queues, with a DUMP of every SA beside it, is more than there may be. A DUMP is queued
// however full the queue of its reader is, so it is here that one who never reads is stopped.
func (k *Kernel) noRoomForDump() bool {
	queued := 0
	for _, s := range k.e.Sockets() {
		queued += s.Queued()
	}
	const typical = 512 // bytes, of a message that describes an SA
	return queued+k.sas()*typical+k.stored > k.tun.limit(limQueued)
}

var noMemory = result{errno: wire.ENOMEM}
