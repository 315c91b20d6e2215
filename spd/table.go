package spd

import (
	"math"
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
// order. A rule of either kind with the same priority: the one between hosts is tried first, however old it is, unless the other was the first
// of its kind when the last of its kind was inserted, as in Linux (the places that xfrm_policy_insert_inexact_list hands out, and
// xfrm_policy_eval_candidates compares; rules between hosts have none). The zero value is empty. It is safe for concurrent use; its lock is a leaf.
type Table[R comparable] struct {
	mu    sync.RWMutex
	hosts map[hostPair][]ranked[R] // rules whose two prefixes are whole addresses
	rest  []ranked[R]
}

type hostPair struct{ src, dst netip.Addr }

type ranked[R any] struct {
	Rank
	sel   Selector
	rule  R
	place int // in rest, when a rule was last inserted there
}

// hostPair is where a rule between two single hosts is kept.
func (s Selector) hostPair() (hostPair, bool) {
	return hostPair{s.Src.Addr(), s.Dst.Addr()}, s.Src.IsSingleIP() && s.Dst.IsSingleIP()
}

// Insert adds a rule. One with the same selector that is still there is about to be removed: what comes next to it is put before it.
func (t *Table[R]) Insert(s Selector, at Rank, rule R) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p, ok := s.hostPair(); ok {
		if t.hosts == nil {
			t.hosts = map[hostPair][]ranked[R]{}
		}
		t.hosts[p] = insertRanked(t.hosts[p], ranked[R]{at, s, rule, 0})
		return
	}
	t.rest = insertRanked(t.rest, ranked[R]{at, s, rule, 0})
	for i := range t.rest {
		t.rest[i].place = i
	}
}

func insertRanked[R any](list []ranked[R], r ranked[R]) []ranked[R] {
	i, _ := slices.BinarySearchFunc(list, r.Rank, compareRank)
	if i > 0 && list[i-1].sel == r.sel {
		i--
	}
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

// Remove takes out a rule that was inserted with this selector, and says whether it was there.
func (t *Table[R]) Remove(s Selector, rule R) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, single := s.hostPair()
	list := t.rest
	if single {
		list = t.hosts[p]
	}
	i := slices.IndexFunc(list, func(r ranked[R]) bool { return r.rule == rule })
	if i < 0 {
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

// Find returns the rule that selects f, the first one if there are several.
func (t *Table[R]) Find(f Flow) (rule R, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	best := firstMatch(t.hosts[hostPair{f.Src, f.Dst}], f, math.MaxUint32)
	limit := uint32(math.MaxUint32)
	if best != nil {
		limit = best.Priority
	}
	if other := firstMatch(t.rest, f, limit); other != nil && (best == nil || other.Priority < best.Priority || other.place == 0) {
		best = other
	}
	if best == nil {
		return rule, false
	}
	return best.rule, true
}

// firstMatch finds the first rule that selects f, among those whose priority is not above limit.
func firstMatch[R any](list []ranked[R], f Flow, limit uint32) *ranked[R] {
	for i := range list {
		switch r := &list[i]; {
		case r.Priority > limit:
			return nil
		case r.sel.Matches(f):
			return r
		}
	}
	return nil
}
