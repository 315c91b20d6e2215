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
const maxSAs = 1 << 22

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

// filed is where an SA is in the database.
type filed struct {
	id       saID
	dst, src end    // zero: nowhere, as packets must not find it
	place    int    // among all
	order    uint64 // of a DUMP
}

// file finds out where an SA belongs.
func (t *tdb) file(s *SA) filed {
	f := filed{id: saID{s.RDomain, s.Dst, s.Proto, s.SPI}}
	f.order = t.order(f.id)
	if s.Iface == nil {
		f.dst, f.src = end{s.RDomain, s.Proto, s.Dst}, end{s.RDomain, s.Proto, s.Src}
	}
	return f
}

// insert adds an SA (puttdb).
func (t *tdb) insert(s *SA) {
	s.filed = t.file(s)
	s.filed.place = len(t.all)
	t.all = append(t.all, s)
	t.name(s)
	t.byDst.replace(end{}, nil, s.filed.dst, s)
	t.bySrc.replace(end{}, nil, s.filed.src, s)
	t.generation.Add(1)
}

// name has an SA found by its name. It hides another that has it, which only an UPDATE of the destination leads to.
func (t *tdb) name(s *SA) {
	old, _ := t.byName.Swap(s.filed.id, s)
	s.hidden, _ = old.(*SA)
}

// unname has what an SA has hidden found by a name that was its own.
func (t *tdb) unname(id saID, hidden *SA) {
	if hidden != nil {
		t.byName.Store(id, hidden)
		return
	}
	t.byName.Delete(id)
}

// remove takes an SA out (tdb_unlink).
func (t *tdb) remove(s *SA) {
	if first := t.find(s.filed.id); first == s {
		t.unname(s.filed.id, s.hidden)
	} else {
		for first.hidden != s {
			first = first.hidden
		}
		first.hidden = s.hidden
	}
	s.hidden = nil
	last := t.all[len(t.all)-1]
	t.all[s.filed.place], last.filed.place = last, s.filed.place
	t.all[len(t.all)-1] = nil
	t.all = t.all[:len(t.all)-1]
	t.byDst.replace(s.filed.dst, s, end{}, nil)
	t.bySrc.replace(s.filed.src, s, end{}, nil)
	t.generation.Add(1)
}

// replace puts an SA into the place of another that find has found: a new one of its name, or the same one, of which
// an UPDATE has changed the ends. Packets find one of the two at every moment.
func (t *tdb) replace(old, s *SA) {
	was, hidden := old.filed, old.hidden
	s.filed = t.file(s)
	s.filed.place = was.place
	t.all[was.place] = s
	if s.filed.id == was.id {
		s.hidden = hidden
		t.byName.Store(was.id, s)
	} else {
		t.name(s)
		t.unname(was.id, hidden)
	}
	t.byDst.replace(was.dst, old, s.filed.dst, s)
	t.bySrc.replace(was.src, old, s.filed.src, s)
	t.generation.Add(1)
}

// order is where a DUMP has an SA: the original has a hash with a random key.
func (t *tdb) order(id saID) uint64 {
	const prime = 1099511628211
	h := binary.LittleEndian.Uint64(t.key[:]) ^ 14695981039346656037
	a := id.dst.As16()
	for _, b := range append(binary.LittleEndian.AppendUint32(a[:], id.spi), id.proto) {
		h = (h ^ uint64(b)) * prime
	}
	return h
}

// kill takes an SA out of the database and has it end (tdb_delete). The control lock is held. false: it was DEAD
// already.
func (k *Kernel) kill(s *SA) bool {
	if s.State() == sadb.Dead {
		return false
	}
	k.tdb.remove(s)
	k.end(s)
	return true
}

// end has an SA end that is in the database no more: its timers stop, nothing is linked with it, and its keys are
// overwritten.
func (k *Kernel) end(s *SA) {
	s.Become(sadb.Dead)
	k.tellState(s)
	for _, t := range []*engine.Timer{&s.addTimers.hard, &s.addTimers.soft, &s.useTimers.hard, &s.useTimers.soft} {
		k.timers.Stop(t)
	}
	s.unlink()
	s.forgetKeys()
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
