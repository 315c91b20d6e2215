package kame

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Index is what the SAs of a head have in common, struct secasindex.
type Index struct {
	Proto    uint8 // IP protocol
	Mode     wire.Mode
	ReqID    uint32
	Src, Dst Sockaddr // ports are those of a NAT, where the heir keeps them here
}

// pair is protocol and ends without ports.
type pair struct {
	proto              uint8
	src, dst           netip.Addr
	srcScope, dstScope [4]byte
}

func (x *Index) pair() pair {
	return pair{x.Proto, x.Src.Addr(), x.Dst.Addr(), x.Src.scope(), x.Dst.scope()}
}

// Head is SAs with one [Index], struct secashead. The control lock guards it; packets read the lists under heads.mu.
type Head struct {
	Index
	bucket int
	number uint64 // the order of making
	lists  [sadb.Dead]saList
	sas    int  // how many
	gone   bool // it is out of the database
	listed bool // in [Kernel].empty

	newer, older *Head // in its bucket
}

// SamePair tells whether a head is for the protocol and the ends of an index.
func (h *Head) SamePair(x *Index) bool { return h.pair() == x.pair() }

// List goes over the SAs of a state, the oldest first. The control lock is held, or [Kernel.Heads] is running. The SA
// that it has come to may leave the list.
func (h *Head) List(state sadb.State) func(yield func(*SA) bool) {
	return func(yield func(*SA) bool) {
		for s := h.lists[state].first; s != nil; {
			next := s.next
			if !yield(s) {
				return
			}
			s = next
		}
	}
}

// Newest is the newest SA of a state; nil if there is none. The control lock is held, or [Kernel.Heads] is running.
func (h *Head) Newest(state sadb.State) *SA { return h.lists[state].last }

// Oldest is the oldest SA of a state; nil if there is none. The control lock is held, or [Kernel.Heads] is running.
func (h *Head) Oldest(state sadb.State) *SA { return h.lists[state].first }

// Alive are the SAs of a head that have keys, the one first that got them last.
func (h *Head) Alive() []*SA {
	all := slices.AppendSeq(slices.Collect(h.List(sadb.Mature)), h.List(sadb.Dying))
	slices.SortFunc(all, func(a, b *SA) int { return cmp.Compare(b.turn, a.turn) })
	return all
}

// saList is the SAs of a head in one state, oldest first.
type saList struct{ first, last *SA }

func (l *saList) push(s *SA) {
	s.in, s.prev, s.next = l, l.last, nil
	if l.last != nil {
		l.last.next = s
	} else {
		l.first = s
	}
	l.last = s
}

func (l *saList) pull(s *SA) {
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		l.first = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		l.last = s.prev
	}
	s.in, s.prev, s.next = nil, nil, nil
}

// heads are all heads there are, with their SAs. The control lock guards them. Who changes byPair or a list holds mu,
// too, which is a leaf; packets hold mu for reading.
type heads struct {
	mu     sync.RWMutex
	byPair map[pair][]*Head // newest first

	buckets []*Head        // the newest one in each
	bySPI   map[uint32]*SA // the newest one with each
	count   int            // heads there are
	made    uint64         // heads that were made
	sas     int            // SAs there are
	numbers uint64         // SAs that were made
	turns   int64          // SAs that got keys
	moved   int64          // SAs that have moved to another head, with a minus
}

// Limits that the originals leave to memory.
const (
	maxSAs   = 4 << 20
	maxHeads = 4 << 20
)

func (t *heads) init(buckets int) {
	t.byPair, t.bySPI, t.buckets = map[pair][]*Head{}, map[uint32]*SA{}, make([]*Head, buckets)
}

// all goes over all heads: the buckets one after the other, in each the newest head first. The head that it has come to
// may go.
func (t *heads) all(yield func(*Head) bool) {
	for _, h := range t.buckets {
		for h != nil {
			older := h.older
			if !yield(h) {
				return
			}
			h = older
		}
	}
}

// Heads goes over the heads for a protocol and its ends, newest first, until f returns false. It takes the lock of the
// heads: f takes none and keeps no head. For packets; under the control lock there is [Kernel.HeadsOf].
func (k *Kernel) Heads(x *Index, f func(*Head) bool) {
	k.db.mu.RLock()
	defer k.db.mu.RUnlock()
	for _, h := range k.db.byPair[x.pair()] {
		if !f(h) {
			return
		}
	}
}

// HeadsOf are the heads for a protocol and its ends, newest first. The control lock is held.
func (k *Kernel) HeadsOf(x *Index) []*Head { return k.db.byPair[x.pair()] }

// FindHead is the newest head that the heir takes for one of this index; nil if there is none.
func (k *Kernel) FindHead(x *Index) *Head {
	for _, h := range k.HeadsOf(x) {
		if k.heir.Fits(h, x) {
			return h
		}
	}
	return nil
}

// HeadFor is the head that an SA with this index goes to, made if need be (key_getsah, key_newsah); nil if there is no
// room for it.
func (k *Kernel) HeadFor(x *Index) *Head {
	if h := k.FindHead(x); h != nil {
		return h
	}
	t := &k.db
	if t.count >= maxHeads {
		return nil
	}
	t.made++
	t.count++
	h := &Head{Index: *x, number: t.made, bucket: k.heir.Bucket(x)}
	if h.older = t.buckets[h.bucket]; h.older != nil {
		h.older.newer = h
	}
	t.buckets[h.bucket] = h
	p := x.pair()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byPair[p] = slices.Insert(t.byPair[p], 0, h)
	return h
}

// dropHead takes out a head without SAs.
func (k *Kernel) dropHead(h *Head) {
	t := &k.db
	t.count--
	h.gone = true
	if h.newer != nil {
		h.newer.older = h.older
	} else {
		t.buckets[h.bucket] = h.older
	}
	if h.older != nil {
		h.older.newer = h.newer
	}
	p := h.pair()
	t.mu.Lock()
	defer t.mu.Unlock()
	left := slices.DeleteFunc(t.byPair[p], func(g *Head) bool { return g == h })
	if len(left) == 0 {
		delete(t.byPair, p)
		return
	}
	t.byPair[p] = left
}

// leave notes that a head may have no SA any more, where such heads go.
func (k *Kernel) leave(h *Head) {
	if k.page.EmptyHeadsGo && h.sas == 0 && !h.listed {
		h.listed = true
		k.empty = append(k.empty, h)
	}
}

// dropEmpty takes out heads that still have no SA. One may be out already.
func (k *Kernel) dropEmpty(hs []*Head) {
	for _, h := range hs {
		if h.sas == 0 && !h.gone {
			k.dropHead(h)
		}
	}
}

// SameSPI goes over the SAs with an SPI, whatever their protocol and ends, newest first.
func (k *Kernel) SameSPI(spi uint32) func(yield func(*SA) bool) {
	return func(yield func(*SA) bool) {
		for s := k.db.bySPI[spi]; s != nil && yield(s); s = s.olderSPI {
		}
	}
}

// InHead is the SA of a head with an SPI, the first in the order of states that are given and then by age; nil if there
// is none.
func (k *Kernel) InHead(h *Head, spi uint32, states ...sadb.State) (found *SA) {
	const few = 16
	best := len(states)
	look := func(s *SA) {
		i := slices.Index(states, s.State())
		if s.SPI == spi && i >= 0 && (i < best || i == best && Older(s, found) < 0) {
			best, found = i, s
		}
	}
	if h.sas <= few {
		for _, st := range states {
			for s := range h.List(st) {
				look(s)
			}
		}
		return found
	}
	for s := range k.SameSPI(spi) {
		if s.Head == h {
			look(s)
		}
	}
	return found
}

// Insert puts an SA with its SPI into a head, as the newest in its state; false if there is no room, or no head.
func (k *Kernel) Insert(s *SA, h *Head) bool {
	t := &k.db
	if h == nil || t.sas >= maxSAs {
		return false
	}
	t.sas++
	t.numbers++
	h.sas++
	s.Head, s.number = h, t.numbers
	if s.olderSPI = t.bySPI[s.SPI]; s.olderSPI != nil {
		s.olderSPI.newerSPI = s
	}
	t.bySPI[s.SPI] = s
	t.mu.Lock()
	if s.State() != sadb.Larval {
		t.giveTurn(s)
	}
	h.lists[s.State()].push(s)
	t.mu.Unlock()
	k.inbound.Insert(s.key(), s)
	k.setTimer(s)
	k.tellState(s)
	return true
}

// tellState tells those who follow the events what state an SA is in.
func (k *Kernel) tellState(s *SA) {
	k.e.TellState(&s.told, s.State(), func() engine.SAName {
		h := s.Head
		return engine.SAName{Type: k.saTypeOf(h.Proto), SPI: s.SPI, Src: h.Src.Addr(), Dst: h.Dst.Addr()}
	})
}

// Become moves an SA in the database to another state, there as the newest. protection is what packets use from now on,
// nil to leave it.
func (k *Kernel) Become(s *SA, to sadb.State, protection *Protection) {
	k.enter(s, to, protection)
	k.db.mu.Lock()
	if s.turn == 0 {
		k.db.giveTurn(s)
	}
	s.in.pull(s)
	s.Head.lists[to].push(s)
	k.db.mu.Unlock()
	k.setTimer(s)
	k.tellState(s)
}

// enter changes the state of an SA, and what packets use if that is new, at once.
func (k *Kernel) enter(s *SA, to sadb.State, protection *Protection) {
	s.Lock()
	defer s.Unlock()
	if protection != nil {
		s.protection.Store(protection)
	}
	s.BecomeLocked(to) // no packet waits here
}

// Kill ends an SA without a word. Its keys are overwritten once whoever hears of its end has been told.
func (k *Kernel) Kill(s *SA) {
	k.unlink(s)
	k.leave(s.Head)
}

// unlink is Kill but for the head. The SA leaves its places before it dies, so that a packet that finds it dead knows
// that it is not to be found any more.
func (k *Kernel) unlink(s *SA) {
	t := &k.db
	t.sas--
	s.Head.sas--
	switch {
	case s.newerSPI != nil:
		s.newerSPI.olderSPI = s.olderSPI
	case s.olderSPI != nil:
		t.bySPI[s.SPI] = s.olderSPI
	default:
		delete(t.bySPI, s.SPI)
	}
	if s.olderSPI != nil {
		s.olderSPI.newerSPI = s.newerSPI
	}
	t.mu.Lock()
	s.in.pull(s)
	t.mu.Unlock()
	k.inbound.Remove(s.key(), s)
	k.timers.Stop(&s.timer)
	delete(k.flagged, s) // there may be no pass for long, as in an engine whose clock stands still
	k.enter(s, sadb.Dead, nil)
	k.tellState(s)
	k.e.After(s.forgetKeys)
}

// Replace puts a new SA with keys into the head of an old one, and ends that.
func (k *Kernel) Replace(old, s *SA, suite *ipsec.Suite) wire.Errno {
	s.told.Inherit(&old.told)
	if errno := k.insertReady(s, old.Head, suite); errno != wire.OK { // first, so that packets always find one of them
		old.told.Inherit(&s.told)
		return errno
	}
	k.unlink(old)
	return wire.OK
}

// SetLifetimes changes the limits of an SA in the database.
func (k *Kernel) SetLifetimes(s *SA, hard, soft *wire.Lifetime) {
	s.Hard, s.Soft = hard, soft
	k.setTimer(s)
}

// Move gives an SA with keys other ends and UDP encapsulation. With other ends it goes to the head for them, behind all
// that are there; false if there is no room for it.
func (k *Kernel) Move(s *SA, to *Index, n *NATT) bool {
	h, old := s.Head, s.Head
	if to.pair() != h.pair() {
		if h = k.HeadFor(to); h == nil {
			return false
		}
	}
	p := *s.Protection()
	p.Src, p.Dst, p.NATT = h.Src.Addr(), h.Dst.Addr(), n
	s.NATT = n
	s.protection.Store(&p)
	if h == old {
		return true
	}
	from := s.key()
	k.db.mu.Lock()
	s.in.pull(s)
	s.Head = h
	h.lists[s.State()].push(s)
	k.db.moved--
	s.turn = k.db.moved
	k.db.mu.Unlock()
	old.sas--
	h.sas++
	k.inbound.Insert(s.key(), s)
	k.inbound.Remove(from, s)
	k.leave(old)
	return true
}

// SetPorts gives a head the ports of a NAT, and so all of its SAs that are behind one.
func (k *Kernel) SetPorts(h *Head, sport, dport uint16) {
	if h.Src.Port() == sport && h.Dst.Port() == dport {
		return
	}
	k.db.mu.Lock()
	h.Src, h.Dst = h.Src.WithPort(sport), h.Dst.WithPort(dport)
	k.db.mu.Unlock()
	for _, s := range h.Alive() {
		if s.NATT != nil {
			n := *s.NATT
			n.Sport, n.Dport = sport, dport
			p := *s.Protection()
			s.NATT, p.NATT = &n, &n
			s.protection.Store(&p)
		}
	}
}

// giveTurn notes that an SA has got its keys. mu is held.
func (t *heads) giveTurn(s *SA) {
	t.turns++
	s.turn = t.turns
}

// Older compares two SAs of a head by when they were made, or got their keys if both have some; the older one first.
// The control lock is held, or [Kernel.Heads] is running.
func Older(a, b *SA) int {
	if a.turn != 0 && b.turn != 0 {
		return cmp.Compare(a.turn, b.turn)
	}
	return cmp.Compare(a.number, b.number)
}

// appendSAs puts the SAs of a head into the order of a DUMP.
func (k *Kernel) appendSAs(all []*SA, h *Head) []*SA {
	for _, states := range k.page.Order {
		from := len(all)
		for _, st := range states {
			all = slices.AppendSeq(all, h.List(st))
		}
		if len(states) > 1 {
			slices.SortFunc(all[from:], Older)
		}
		if k.page.NewestFirst {
			slices.Reverse(all[from:])
		}
	}
	return all
}

// CompareSAs is the order of a DUMP of all SAs.
func (k *Kernel) CompareSAs(a, b *SA) int {
	switch {
	case a.Head.bucket != b.Head.bucket:
		return a.Head.bucket - b.Head.bucket
	case a.Head != b.Head:
		return cmp.Compare(b.Head.number, a.Head.number)
	}
	place := func(s *SA) int {
		return slices.IndexFunc(k.page.Order, func(sts []sadb.State) bool { return slices.Contains(sts, s.State()) })
	}
	if i, j := place(a), place(b); i != j {
		return i - j
	}
	if k.page.NewestFirst {
		return Older(b, a)
	}
	return Older(a, b)
}
