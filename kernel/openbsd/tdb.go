package openbsd

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// maxSAs is a limit that the original leaves to memory.
const maxSAs = 1 << 20

// tdb is the SA database. The control lock guards what changes it; packets look SAs up without it.
type tdb struct {
	byName sync.Map // of saID to *SA
	all    []*SA    // in no order; an SA knows its place

	byDst, bySrc ends
	generation   atomic.Uint64 // of what these two find

	key [8]byte // by which a DUMP orders SAs
}

// saID is what names an SA.
type saID struct {
	rdomain int
	dst     netip.Addr
	proto   uint8
	spi     uint32
}

func (s *SA) id() saID { return saID{s.RDomain, s.Dst, s.Proto, s.SPI} }

func (t *tdb) init(random func([]byte)) {
	random(t.key[:])
	t.byDst.link = func(s *SA) *neighbours { return &s.byDst }
	t.bySrc.link = func(s *SA) *neighbours { return &s.bySrc }
}

// find is the SA of a name (gettdb); nil: there is none. It takes no lock.
func (t *tdb) find(id saID) *SA {
	if s, ok := t.byName.Load(id); ok {
		return s.(*SA)
	}
	return nil
}

// insert adds an SA (puttdb). There is none of its name.
func (t *tdb) insert(s *SA) {
	t.byName.Store(s.id(), s)
	s.place = len(t.all)
	t.all = append(t.all, s)
	if s.Iface == nil {
		t.byDst.insert(end{s.RDomain, s.Proto, s.Dst}, s)
		t.bySrc.insert(end{s.RDomain, s.Proto, s.Src}, s)
	}
	t.generation.Add(1)
}

// remove takes an SA out (tdb_unlink).
func (t *tdb) remove(s *SA) {
	t.byName.Delete(s.id())
	last := t.all[len(t.all)-1]
	t.all[s.place], last.place = last, s.place
	t.all[len(t.all)-1] = nil
	t.all = t.all[:len(t.all)-1]
	if s.Iface == nil {
		t.byDst.remove(end{s.RDomain, s.Proto, s.Dst}, s)
		t.bySrc.remove(end{s.RDomain, s.Proto, s.Src}, s)
	}
	t.generation.Add(1)
}

// order is where a DUMP has an SA: the original has a hash with a random key.
func (t *tdb) order(s *SA) uint64 {
	const prime = 1099511628211
	h := binary.LittleEndian.Uint64(t.key[:]) ^ 14695981039346656037
	a := s.Dst.As16()
	for _, b := range append(binary.LittleEndian.AppendUint32(a[:], s.SPI), s.Proto) {
		h = (h ^ uint64(b)) * prime
	}
	return h
}

// kill has an SA end (tdb_delete): it is taken out, its timers stop, and nothing is linked with it any more. Its keys
// are overwritten. The control lock is held. false: it was DEAD already.
func (k *Kernel) kill(s *SA) bool {
	if from, _ := s.Become(sadb.Dead); from == sadb.Dead {
		return false
	}
	k.tdb.remove(s)
	for _, t := range []*engine.Timer{&s.addTimers.hard, &s.addTimers.soft, &s.useTimers.hard, &s.useTimers.soft} {
		k.timers.Stop(t)
	}
	s.unlink()
	clear(s.Auth)
	clear(s.Encrypt)
	return true
}

// unlink takes an SA out of its group.
func (s *SA) unlink() {
	if n := s.next.Swap(nil); n != nil {
		n.before.CompareAndSwap(s, nil)
	}
	if b := s.before.Swap(nil); b != nil {
		b.next.CompareAndSwap(s, nil)
	}
}
