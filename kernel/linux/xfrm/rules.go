package xfrm

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"sync"

	"github.com/pfkeyd/pfkeyd/internal/spd"
)

// rank is where a policy is among others: the smaller priority is tried first, among equals the smaller order.
type rank struct {
	priority uint32
	order    uint64
}

func (r rank) compare(o rank) int {
	return cmp.Or(cmp.Compare(r.priority, o.priority), cmp.Compare(r.order, o.order))
}

// rules are the policies of one direction as packets look for them. Policies between two single hosts are found at
// once, the others are gone through in their order. Of one of either kind with the same priority the one between hosts
// is tried first, however old it is, unless the other was the first of its kind when the last of its kind was inserted
// (the places that xfrm_policy_insert_inexact_list hands out, and xfrm_policy_eval_candidates compares; policies
// between hosts have none). The zero value is empty. It is safe for concurrent use; its lock is a leaf, and guards the
// place of each policy in it.
type rules struct {
	mu    sync.RWMutex
	hosts map[hostPair][]*policy // those whose two prefixes are whole addresses
	rest  []*policy
}

type hostPair struct{ src, dst netip.Addr }

// hostsOf is where a policy between two single hosts is kept.
func hostsOf(s spd.Selector) (hostPair, bool) {
	return hostPair{s.Src.Addr(), s.Dst.Addr()}, s.Src.IsSingleIP() && s.Dst.IsSingleIP()
}

// insert adds a policy. One with the same selector that is still there is about to be removed: what comes next to it is
// put before it.
func (r *rules) insert(p *policy) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if pair, ok := hostsOf(p.sel); ok {
		if r.hosts == nil {
			r.hosts = map[hostPair][]*policy{}
		}
		r.hosts[pair] = insertRanked(r.hosts[pair], p)
		return
	}
	r.rest = insertRanked(r.rest, p)
	for i, o := range r.rest {
		o.place = i
	}
}

func insertRanked(list []*policy, p *policy) []*policy {
	i, _ := slices.BinarySearchFunc(list, p.rank, func(o *policy, at rank) int { return o.rank.compare(at) })
	if i > 0 && list[i-1].sel == p.sel {
		i--
	}
	return slices.Insert(list, i, p)
}

// remove takes out a policy, which must be there.
func (r *rules) remove(p *policy) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pair, single := hostsOf(p.sel)
	if !single {
		r.rest = without(r.rest, p)
		return
	}
	if r.hosts[pair] = without(r.hosts[pair], p); len(r.hosts[pair]) == 0 {
		delete(r.hosts, pair)
	}
}

func without(list []*policy, p *policy) []*policy {
	i := slices.Index(list, p)
	return slices.Delete(list, i, i+1)
}

// find returns the policy that selects f, the first one if there are several; nil if there is none.
func (r *rules) find(f spd.Flow) *policy {
	r.mu.RLock()
	defer r.mu.RUnlock()
	best := firstMatch(r.hosts[hostPair{f.Src, f.Dst}], f, math.MaxUint32)
	limit := uint32(math.MaxUint32)
	if best != nil {
		limit = best.rank.priority
	}
	if other := firstMatch(r.rest, f, limit); other != nil && (best == nil || other.rank.priority < limit ||
		other.place == 0) {
		best = other
	}
	return best
}

// firstMatch finds the first policy that selects f, among those whose priority is not above limit.
func firstMatch(list []*policy, f spd.Flow, limit uint32) *policy {
	for _, p := range list {
		switch {
		case p.rank.priority > limit:
			return nil
		case p.sel.Matches(f):
			return p
		}
	}
	return nil
}
