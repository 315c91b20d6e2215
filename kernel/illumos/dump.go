package illumos

import (
	"github.com/pfkeyd/pfkeyd/wire"
)

const (
	dumpPiece = 64 << 10
	largestSA = 2 << 10 // most SAs are much smaller; a larger one makes its piece grow
)

// dump describes every SA of a consumer, keys included, to whoever asks: outbound, then those inbound that have no copy there, by
// bucket. With X_EDUMP, SAs that have not been used for longer than its timeout are left out; sadb_dump.
func (k *Kernel) dump(p *protocol, r *request) {
	var timeout uint64
	if raw := r.ext[wire.IllumosExtXEDump]; raw != nil {
		v, _ := k.d.ParseEDump(raw)
		timeout = v.Timeout
	}
	h := r.hdr
	now := k.now()
	// Messages share pieces of memory, so that a large database costs few of them.
	var piece []byte
	for _, f := range p.families() {
		for _, t := range []*table{&f.out, &f.in} {
			for s := range t.all {
				if !t.isOutbound() && s.peerSA.Load() != nil {
					continue
				}
				if timeout != 0 && s.idleFor(now) > timeout {
					continue
				}
				if cap(piece)-len(piece) < largestSA {
					piece = make([]byte, 0, dumpPiece)
				}
				start := len(piece)
				piece = k.appendSA(piece, h, s, true)
				k.passUp(piece[start:len(piece):len(piece)], r.sender, fromConsumer)
			}
		}
	}
}

// idleFor is how many seconds ago the SA was last used.
func (s *sa) idleFor(now int64) uint64 {
	s.Lock()
	defer s.Unlock()
	return uint64(now - s.lastUse)
}
