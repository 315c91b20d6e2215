package xfrm

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// stateTable is the SA database. The control lock guards it; packets find inbound SAs through bySPI, and those for
// their flows through flows.
type stateTable struct {
	n     int
	all   list
	bySPI sadb.Index[*sa]

	mu    sync.RWMutex // a leaf
	flows chains       // guarded by mu
	grown uint32       // how often the original's table has grown; guarded by mu

	buckets buckets
	larvals chains         // LARVAL ones without an SPI
	bySeq   map[uint32]*sa // those made by an ACQUIRE, as long as they are LARVAL
}

func (t *stateTable) init(order binary.ByteOrder) {
	t.all.init()
	t.buckets.init(order)
	t.flows = chains{}
	t.larvals = chains{}
	t.bySeq = map[uint32]*sa{}
}

// flowKey is what an SA must have to be one for a template.
type flowKey struct {
	dst, src netip.Addr
	reqID    uint32
	proto    uint8
	mode     transform.Mode
}

func (s *sa) flowKey() flowKey { return flowKey{s.Dst, s.Src, s.ReqID, s.Proto, s.Mode} }

// chains has the newest SA with each flowKey, from which one of an SA's links leads to the older ones. The original has
// them in another order, see before.
type chains map[flowKey]*sa

// before tells whether the original, which goes through the SAs with the same ends in the order of its table, comes to
// the newer of two first. So it does until the table grows.
func (t *stateTable) before(newer *sa) bool { return (t.grown-newer.grown)%2 == 0 }

// flowLink is an SA's place in its chain of flows, and in that of the LARVAL ones.
type flowLink struct {
	flow, larval link
	inLarvals    bool
}

type link struct{ prev, next *sa }

func flowOf(s *sa) *link   { return &s.flows.flow }
func larvalOf(s *sa) *link { return &s.flows.larval }

func (c chains) push(s *sa, of func(*sa) *link) {
	key := s.flowKey()
	head := c[key]
	*of(s) = link{next: head}
	if head != nil {
		of(head).prev = s
	}
	c[key] = s
}

func (c chains) pull(s *sa, of func(*sa) *link) {
	l := of(s)
	if l.next != nil {
		of(l.next).prev = l.prev
	}
	switch {
	case l.prev != nil:
		of(l.prev).next = l.next
	case l.next != nil:
		c[s.flowKey()] = l.next
	default:
		delete(c, s.flowKey())
	}
	*l = link{}
}

// find returns the SA with this name; nil if there is none. SPI 0 is never found.
func (t *stateTable) find(name sadb.Key) *sa {
	if name.SPI == 0 {
		return nil
	}
	s, _ := t.bySPI.Find(name, nil)
	return s
}

// findLarval returns the LARVAL SA without SPI for a flowKey that the original comes to first.
func (t *stateTable) findLarval(key flowKey) (first *sa) {
	for s := t.larvals[key]; s != nil; s = larvalOf(s).next {
		first = t.first(first, s)
	}
	return first
}

// first is that of two SAs with the same ends to which the original comes first; newer may be nil.
func (t *stateTable) first(newer, older *sa) *sa {
	if newer != nil && t.before(newer) {
		return newer
	}
	return older
}

// findAcquired returns the LARVAL SA of the ACQUIRE with this number.
func (t *stateTable) findAcquired(seq uint32) *sa {
	if seq == 0 {
		return nil
	}
	return t.bySeq[seq]
}

// insert puts an SA into the table, as the newest, and sets its timer to a first look after so long.
func (x *Transforms) insert(s *sa, first time.Duration) {
	t := &x.states
	now := x.e.Now()
	s.inserted = now.Unix()
	t.n++
	s.all.s = s
	t.all.pushFront(&s.all)
	grows := t.buckets.add(s, t.n)
	if grows {
		t.buckets.grow(&t.all)
	}
	t.mu.Lock()
	s.grown = t.grown
	t.flows.push(s, flowOf)
	if grows {
		t.grown++
	}
	t.mu.Unlock()
	if s.SPI != 0 {
		t.bySPI.Insert(s.Key(), s)
	}
	if s.State() == sadb.Larval && s.SPI == 0 {
		t.larvals.push(s, larvalOf)
		s.flows.inLarvals = true
	}
	if timed(s.limits) {
		x.setTimer(s, now.Add(first))
	}
	x.tellState(s)
}

// tellState tells those who follow the events what state an SA is in. One that has no SPI yet is an ACQUIRE.
func (x *Transforms) tellState(s *sa) {
	if s.SPI == 0 {
		return
	}
	x.e.TellState(&s.told, min(s.State(), sadb.Dead), func() engine.SAName {
		return engine.SAName{Proto: s.Proto, SPI: s.SPI, Src: s.Src, Dst: s.Dst}
	})
}

// notLarval takes an SA out of those that wait for keys.
func (t *stateTable) notLarval(s *sa) {
	if s.flows.inLarvals {
		s.flows.inLarvals = false
		t.larvals.pull(s, larvalOf)
	}
}

// giveSPI gives a LARVAL SA its SPI.
func (t *stateTable) giveSPI(s *sa, spi uint32) {
	t.notLarval(s)
	s.SPI = spi
	t.bySPI.Insert(s.Key(), s)
}

// remove makes an SA DEAD and takes it out; false if it is out already.
func (x *Transforms) remove(s *sa) bool {
	if !s.linked() {
		return false
	}
	t := &x.states
	s.Become(sadb.Dead) // a LARVAL SA holds no packets here
	x.tellState(s)
	t.n--
	t.buckets.remove(s)
	t.all.remove(&s.all)
	t.mu.Lock()
	t.flows.pull(s, flowOf)
	t.mu.Unlock()
	t.notLarval(s)
	if s.SPI != 0 {
		t.bySPI.Remove(s.Key(), s)
	}
	if t.bySeq[s.MsgSeq] == s {
		delete(t.bySeq, s.MsgSeq)
	}
	x.timers.Stop(&s.timer)
	x.e.After(s.forgetKeys) // whoever is told of its end is shown them
	return true
}

// list is a ring of SAs or policies, newest first, in which the places of unfinished DUMPs stand too.
type list struct{ root node }

// node is a member of a list: an SA, a policy, or the place of a DUMP, which is neither.
type node struct {
	prev, next *node
	s          *sa
	p          *policy
}

func (l *list) init() { l.root.prev, l.root.next = &l.root, &l.root }

func (l *list) pushFront(n *node) { insertAfter(&l.root, n) }

func insertAfter(at, n *node) {
	n.prev, n.next = at, at.next
	at.next.prev, at.next = n, n
}

func (l *list) remove(n *node) {
	n.prev.next, n.next.prev = n.next, n.prev
	n.prev, n.next = nil, nil
}

// each goes over the members from one on, which may be removed while it is visited; nil: from the newest. It ends at
// the first that f does not want to go on from, and returns that one.
func (l *list) each(from *node, f func(*node) bool) *node {
	if from == nil {
		from = l.root.next
	}
	for n := from; n != &l.root; {
		next := n.next
		if (n.s != nil || n.p != nil) && !f(n) {
			return n
		}
		n = next
	}
	return nil
}
