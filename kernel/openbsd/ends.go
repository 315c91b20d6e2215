package openbsd

import (
	"net/netip"
	"sync"
)

// end is what SAs have in common that lead to one peer, or from it.
type end struct {
	rdomain int
	proto   uint8
	addr    netip.Addr
}

// ends are the SAs by one of their ends, the newest first. Its lock is a leaf.
type ends struct {
	mu  sync.RWMutex
	all map[end]*SA // the newest
	// link is where an SA has its neighbours.
	link func(*SA) *neighbours
}

// neighbours of an SA, those that are newer and older.
type neighbours struct{ newer, older *SA }

// replace takes an SA out of where it is and puts another there, or the same one, as the newest, in one step: who looks
// finds one of the two. An SA is nil for none, and an end that is zero is nowhere.
func (e *ends) replace(at end, old *SA, to end, sa *SA) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if old != nil && at != (end{}) {
		e.take(at, old)
	}
	if sa != nil && to != (end{}) {
		e.put(to, sa)
	}
}

// put needs e.mu held, and take likewise.
func (e *ends) put(at end, sa *SA) {
	if e.all == nil {
		e.all = map[end]*SA{}
	}
	first := e.all[at]
	*e.link(sa) = neighbours{older: first}
	if first != nil {
		e.link(first).newer = sa
	}
	e.all[at] = sa
}

func (e *ends) take(at end, sa *SA) {
	n := e.link(sa)
	if n.older != nil {
		e.link(n.older).newer = n.newer
	}
	switch {
	case n.newer != nil:
		e.link(n.newer).older = n.older
	case n.older != nil:
		e.all[at] = n.older
	default:
		delete(e.all, at)
	}
	*n = neighbours{}
}

// find is the newest SA that suits; nil: there is none.
func (e *ends) find(at end, suits func(*SA) bool) *SA {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for sa := e.all[at]; sa != nil; sa = e.link(sa).older {
		if suits(sa) {
			return sa
		}
	}
	return nil
}
