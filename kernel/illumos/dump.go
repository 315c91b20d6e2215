package illumos

import (
	"iter"
	"slices"

	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/wire"
)

const (
	dumpAhead = 256 << 10 // bytes of a DUMP that are made before they are read
	dumpPiece = 64 << 10
	typicalSA = 320 // bytes, of a message that describes an SA; a larger one makes its piece grow
)

// dump is a DUMP that is not yet read to its end. Of a large database only the beginning is made at first, and more as it is read; but nobody
// can tell, because the rest is made before anything else happens.
type dump struct {
	reader *client
	next   func() (struct{}, bool) // makes messages until the reader has enough for now; false: that was the last
	stop   func()
}

// startDump describes every SA of the consumers, keys included, to whoever asks.
func (k *Kernel) startDump(over []*protocol, r *request) {
	for _, p := range over {
		k.counters.add(p, keysockIn, 1)
	}
	d := &dump{reader: r.sender}
	d.next, d.stop = iter.Pull(k.dumpAll(over, r))
	k.dumps = append(k.dumps, d)
	k.dumping.Store(true)
	k.step(d)
}

// step lets a dump go on for a while. The control lock is held.
func (k *Kernel) step(d *dump) {
	k.inDump = true
	_, more := d.next()
	k.inDump = false
	if more {
		return
	}
	d.stop()
	k.dumps = slices.DeleteFunc(k.dumps, func(other *dump) bool { return other == d })
	k.dumping.Store(len(k.dumps) > 0)
}

// settle makes the rest of every dump, because something is about to happen. The control lock is held.
func (k *Kernel) settle() {
	for len(k.dumps) > 0 {
		k.step(k.dumps[0])
	}
}

// settleFirst has the rest of every dump made before a packet changes what it shows. One packet asks for all; nobody waits.
func (k *Kernel) settleFirst() {
	if k.dumping.Load() && k.dumping.CompareAndSwap(true, false) {
		k.e.Post(k.settle)
	}
}

// Reading implements [engine.Kernel].
func (k *Kernel) Reading(s *engine.Socket) {
	for _, d := range k.dumps {
		if d.reader.s == s && s.Queued() < dumpAhead/2 {
			k.step(d)
			return
		}
	}
}

// dumpAll makes the messages: outbound SAs, then those inbound that have no copy there, by bucket; with X_EDUMP, SAs that have not been used for
// longer than its timeout are left out; sadb_dump. It pauses where the reader has enough for now.
func (k *Kernel) dumpAll(over []*protocol, r *request) iter.Seq[struct{}] {
	var timeout uint64
	if raw := r.ext[wire.IllumosExtXEDump]; raw != nil {
		v, _ := k.d.ParseEDump(raw)
		timeout = v.Timeout
	}
	now := k.now()
	return func(pause func(struct{}) bool) {
		// Messages share pieces of memory, so that a large database costs few of them. Each piece is twice as large as the one before: a
		// message that waits unread keeps all of its piece, and a DUMP of one SA must not keep the largest.
		var piece []byte
		size := typicalSA
		for s := range k.dumped(over) {
			if timeout != 0 && s.idleFor(now) > timeout {
				continue
			}
			if cap(piece)-len(piece) < typicalSA {
				piece = make([]byte, 0, size)
				size = min(2*size, dumpPiece)
			}
			start := len(piece)
			piece = k.appendSA(piece, r.hdr, s, true)
			k.passUp(piece[start:len(piece):len(piece)], r.sender, fromConsumer)
			if r.sender.s.Queued() >= dumpAhead && !pause(struct{}{}) {
				return
			}
		}
		h := r.hdr
		h.Errno, h.Seq, h.Len = 0, 0, wire.HeaderLen/8
		k.passUp(k.d.AppendHeader(nil, h), r.sender, fromConsumer)
	}
}

// dumped yields the SAs of a DUMP in its order.
func (k *Kernel) dumped(over []*protocol) iter.Seq[*sa] {
	return func(yield func(*sa) bool) {
		for _, p := range over {
			for _, f := range p.families() {
				for _, t := range []*table{&f.out, &f.in} {
					for s := range t.all {
						if !t.isOutbound() && s.peerSA.Load() != nil {
							continue
						}
						if !yield(s) {
							return
						}
					}
				}
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
