package illumos

import "github.com/pfkeyd/pfkeyd/wire"

// The original is bounded by the memory of its machine, and answers ENOMEM at the end of it. An engine is one process
// among others, so it has bounds of its own, which end in the same way. They are tunables of a module that the original
// has not: pfkeyd:max_sas and so on.

// countStored brings Kernel.stored up to date with what an SA keeps, as long as it is linked, of messages that have no
// bound of their own: the names of its identities.
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
	return int64(k.sas()+n) > k.limit(limSAs) || stored != 0 && int64(k.stored+stored) > k.limit(limIdentities)
}

// queued is the memory that waits in the receive queues of all sockets, in bytes.
func (k *Kernel) queued() int64 {
	messages, bytes := k.e.Queued()
	return int64(bytes) + queuePlace*int64(messages)
}

// queuePlace is what a message takes in a queue beside its own bytes.
const queuePlace = 64

// typicalSA is how many bytes a message that describes an SA has; all who hear it share them.
const typicalSA = 512

// noRoomForDump says whether what waits in the receive queues, with a DUMP of every SA beside it, is more than there
// may be. A DUMP is queued however full the queues of its reader and of promiscuous sockets are, so it is here that
// those who never read are stopped.
func (k *Kernel) noRoomForDump(reader *client) bool {
	each := int64(typicalSA)
	for _, s := range k.e.Sockets() {
		if c := clientOf(s); !c.noLoop && (s.Promisc() || c == reader) {
			each += queuePlace
		}
	}
	return k.queued()+k.pendingBytes()+int64(k.sas()+1)*each+int64(k.stored) > k.limit(limQueued)
}

var noMemory = result{errno: wire.ENOMEM}
