package spd

import (
	"net/netip"
	"slices"
	"sync"
)

// Rank is the place of a rule among others: the smaller Priority is tried first, among equals the smaller Order.
type Rank struct {
	Priority uint32
	Order    uint64
}

// Before tells whether r is tried before o.
func (r Rank) Before(o Rank) bool {
	return r.Priority < o.Priority || r.Priority == o.Priority && r.Order < o.Order
}

// Table holds rules with a selector and a rank each. Rules between two single hosts are found at once, the others are gone through in their
// order. The zero value is empty. It is safe for concurrent use; its lock is a leaf.
type Table[R comparable] struct {
	mu    sync.RWMutex
	hosts map[hostPair][]ranked[R] // rules whose two prefixes are whole addresses
	rest  []ranked[R]
}

type hostPair struct{ src, dst netip.Addr }

type ranked[R any] struct {
	Rank
	sel  Selector
	rule R
}

// hostPair is where a rule between two single hosts is kept.
func (s Selector) hostPair() (hostPair, bool) {
	return hostPair{s.Src.Addr(), s.Dst.Addr()}, s.Src.IsSingleIP() && s.Dst.IsSingleIP()
}

// Insert adds a rule. No two rules of a table have the same rank.
func (t *Table[R]) Insert(s Selector, at Rank, rule R) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p, ok := s.hostPair(); ok {
		if t.hosts == nil {
			t.hosts = map[hostPair][]ranked[R]{}
		}
		t.hosts[p] = insertRanked(t.hosts[p], ranked[R]{at, s, rule})
		return
	}
	t.rest = insertRanked(t.rest, ranked[R]{at, s, rule})
}

func insertRanked[R any](list []ranked[R], r ranked[R]) []ranked[R] {
	i, _ := slices.BinarySearchFunc(list, r.Rank, compareRank)
	return slices.Insert(list, i, r)
}

func compareRank[R any](r ranked[R], at Rank) int {
	switch {
	case r.Before(at):
		return -1
	case at.Before(r.Rank):
		return 1
	}
	return 0
}

// Remove takes out the rule that was inserted with this selector and rank, and says whether it was there.
func (t *Table[R]) Remove(s Selector, at Rank) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, single := s.hostPair()
	list := t.rest
	if single {
		list = t.hosts[p]
	}
	i, ok := slices.BinarySearchFunc(list, at, compareRank)
	if !ok {
		return false
	}
	list = slices.Delete(list, i, i+1)
	switch {
	case !single:
		t.rest = list
	case len(list) == 0:
		delete(t.hosts, p)
	default:
		t.hosts[p] = list
	}
	return true
}

// Find returns the first rule, in the order of their ranks, that selects f.
func (t *Table[R]) Find(f Flow) (rule R, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var best *ranked[R]
	for _, list := range [][]ranked[R]{t.hosts[hostPair{f.Src, f.Dst}], t.rest} {
		for i := range list {
			r := &list[i]
			if best != nil && best.Before(r.Rank) {
				break
			}
			if r.sel.Matches(f) {
				best = r
				break
			}
		}
	}
	if best == nil {
		return rule, false
	}
	return best.rule, true
}
