package openbsd

import (
	"bytes"
	"math/bits"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/wire"
)

// The flows that a routing domain may have of one direction and family, and the different masks of them; limits that
// the original leaves to memory. A packet is looked up once for each mask, at worst.
const (
	maxFlows = 1 << 20
	maxMasks = 1 << 12
)

// spdb is the policy database. Its lock is a leaf: packets look flows up under it, and the control lock, too, guards
// what changes.
type spdb struct {
	mu     sync.RWMutex
	tables map[tableID]*flowTable
	flows  atomic.Int64 // all there are
}

// tableID names the flows that a packet may meet.
type tableID struct {
	rdomain int
	dir     wire.Direction
	v6      bool
}

// match finds the flow for a packet, or for the selector of a flow; nil: there is none. It takes no control lock.
func (t *spdb) match(id tableID, s *selector) *Flow {
	if t.flows.Load() == 0 {
		return nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if table := t.tables[id]; table != nil {
		return table.match(s)
	}
	return nil
}

// insert adds a flow; false if there is one of the same selector. The control lock is held.
func (t *spdb) insert(f *Flow) (added bool, errno wire.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tables == nil {
		t.tables = map[tableID]*flowTable{}
	}
	table := t.tables[f.id]
	if table == nil {
		table = &flowTable{}
		t.tables[f.id] = table
	}
	if added, errno = table.insert(f); added {
		t.flows.Add(1)
	}
	return added, errno
}

// remove takes out a flow that is in the database. The control lock is held.
func (t *spdb) remove(f *Flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	table := t.tables[f.id]
	if table.remove(f); table.n == 0 {
		delete(t.tables, f.id)
	}
	t.flows.Add(-1)
}

// all are the flows of a routing domain, in the order of the original's tree. The control lock is held.
func (t *spdb) all(rdomain int) (all []*Flow) {
	for _, v6 := range []bool{false, true} {
		for _, dir := range []wire.Direction{dirIn, dirOut} {
			if table := t.tables[tableID{rdomain, dir, v6}]; table != nil {
				all = table.root.appendFlows(all)
			}
		}
	}
	return all
}

// filter is the flow that an SA is for alone.
type filter struct {
	dir       wire.Direction
	v6        bool
	key, mask selector
}

// A selector is what a flow says of packets, or which bits of that count: source, destination, upper protocol and both
// ports, in network order, one behind the other as in struct sockaddr_encap. Of IPv4 the bytes behind that are zero.
type selector [16 + 16 + 1 + 2 + 2]byte

// selectorOf is that of a packet.
func selectorOf(f spd.Flow) (s selector) {
	n := copy(s[:], f.Src.AsSlice())
	n += copy(s[n:], f.Dst.AsSlice())
	s[n] = f.Proto
	putPort(s[n+1:], f.SrcPort)
	putPort(s[n+3:], f.DstPort)
	return s
}

func putPort(b []byte, port uint16) { b[0], b[1] = byte(port>>8), byte(port) }

// parts reads a selector.
func (s *selector) parts(v6 bool) (f spd.Flow) {
	n := 4
	if v6 {
		n = 16
	}
	f.Src, _ = netip.AddrFromSlice(s[:n])
	f.Dst, _ = netip.AddrFromSlice(s[n : 2*n])
	rest := s[2*n:]
	f.Proto = rest[0]
	f.SrcPort, f.DstPort = uint16(rest[1])<<8|uint16(rest[2]), uint16(rest[3])<<8|uint16(rest[4])
	return f
}

// under is what a mask leaves of a selector.
func (s selector) under(mask *selector) selector {
	for i, m := range mask {
		s[i] &= m
	}
	return s
}

// last is the place behind the last byte that is not zero.
func (s *selector) last() int {
	return len(bytes.TrimRight(s[:], "\x00"))
}

func (s *selector) bit(i int) int { return int(s[i/8]>>(7-i%8)) & 1 }

// compareMasks orders masks as the original's tree does: the longer first, then the larger (rn_lexobetter). What is
// part of another comes behind it, so that of several flows that match a packet the first is the most special, if one
// is more special than all others.
func compareMasks(a, b *selector) int {
	if d := b.last() - a.last(); d != 0 {
		return d
	}
	return bytes.Compare(b[:], a[:])
}

// flowTable has flows as the original's radix tree finds them. Of several that match a packet the tree does not always
// prefer the most special one, if neither of two is more special than the other: it looks first where the packet itself
// would have its place, and only then under one mask after the other.
type flowTable struct {
	root  *node
	n     int
	masks []*maskFlows // in the order of compareMasks
}

// maskFlows are the flows that have one mask.
type maskFlows struct {
	mask  selector
	flows map[selector]*Flow
}

// node is a node of a tree of bits without branches of one way: a branch where two keys differ, or a leaf.
type node struct {
	bit   int       // of a branch
	sides [2]*node  // of a branch: the keys in which the bit is 0, and 1; nil: it is a leaf
	key   *selector // of a leaf
	flows []*Flow   // of a leaf: those of the key, in the order of their masks
}

// leaf is where a key would have its place.
func (n *node) leaf(key *selector) *node {
	for n.sides[0] != nil {
		n = n.sides[key.bit(n.bit)]
	}
	return n
}

// appendFlows appends the flows of a tree in the order of their keys.
func (n *node) appendFlows(all []*Flow) []*Flow {
	if n == nil {
		return all
	}
	for _, side := range n.sides {
		all = side.appendFlows(all)
	}
	return append(all, n.flows...)
}

// match follows rn_match.
func (t *flowTable) match(s *selector) *Flow {
	if t.root == nil {
		return nil
	}
	for _, f := range t.root.leaf(s).flows {
		if s.under(&f.Mask) == f.Key {
			return f
		}
	}
	for _, m := range t.masks {
		if f := m.flows[s.under(&m.mask)]; f != nil {
			return f
		}
	}
	return nil
}

// mask finds the flows of a mask, or where they would have their place.
func (t *flowTable) mask(mask *selector) (place int, found bool) {
	return slices.BinarySearchFunc(t.masks, mask, func(m *maskFlows, mask *selector) int {
		return compareMasks(&m.mask, mask)
	})
}

// insert adds a flow; false if there is one of the same key and mask.
func (t *flowTable) insert(f *Flow) (added bool, errno wire.Errno) {
	i, found := t.mask(&f.Mask)
	switch {
	case found && t.masks[i].flows[f.Key] != nil:
		return false, wire.OK
	case t.n >= maxFlows, !found && len(t.masks) >= maxMasks:
		return false, wire.ENOBUFS
	case !found:
		t.masks = slices.Insert(t.masks, i, &maskFlows{f.Mask, map[selector]*Flow{}})
	}
	t.masks[i].flows[f.Key] = f
	t.n++
	leaf := t.plant(&f.Key)
	at, _ := slices.BinarySearchFunc(leaf.flows, f, func(a, b *Flow) int { return compareMasks(&a.Mask, &b.Mask) })
	leaf.flows = slices.Insert(leaf.flows, at, f)
	return true, wire.OK
}

// plant returns the leaf of a key, which it makes if there is none.
func (t *flowTable) plant(key *selector) *node {
	leaf := &node{key: key}
	if t.root == nil {
		t.root = leaf
		return leaf
	}
	near := t.root.leaf(key)
	bit, differ := firstDifference(near.key, key)
	if !differ {
		return near
	}
	at := &t.root
	for (*at).sides[0] != nil && (*at).bit < bit {
		at = &(*at).sides[key.bit((*at).bit)]
	}
	branch := &node{bit: bit}
	branch.sides[key.bit(bit)], branch.sides[1-key.bit(bit)] = leaf, *at
	*at = branch
	return leaf
}

// firstDifference is the number of the first bit in which two keys differ, counted from the left.
func firstDifference(a, b *selector) (bit int, differ bool) {
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return i*8 + bits.LeadingZeros8(x), true
		}
	}
	return 0, false
}

// remove takes out a flow that is there.
func (t *flowTable) remove(f *Flow) {
	i, _ := t.mask(&f.Mask)
	delete(t.masks[i].flows, f.Key)
	if len(t.masks[i].flows) == 0 {
		t.masks = slices.Delete(t.masks, i, i+1)
	}
	t.n--
	var above **node // the branch that the leaf hangs on
	at := &t.root
	for (*at).sides[0] != nil {
		above, at = at, &(*at).sides[f.Key.bit((*at).bit)]
	}
	leaf := *at
	leaf.flows = slices.DeleteFunc(leaf.flows, func(o *Flow) bool { return o == f })
	switch {
	case len(leaf.flows) > 0:
		leaf.key = &leaf.flows[0].Key // that of a flow that stays
	case above == nil:
		t.root = nil
	default:
		branch := *above
		*above = branch.sides[1-f.Key.bit(branch.bit)]
	}
}
