package sadb

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Key is what a packet says of the SA it belongs to.
type Key struct {
	Dst   netip.Addr
	SPI   uint32 // host order
	Proto uint8  // IP protocol number, 50 ESP or 51 AH
}

// hash mixes the parts that differ: SPIs are random numbers or count up, and many SAs may go to one address or with one
// SPI to many.
func (k Key) hash() uint64 {
	a := k.Dst.As16()
	h := uint64(k.SPI)<<8 | uint64(k.Proto)
	h = (h ^ binary.NativeEndian.Uint64(a[8:])) * 0x9e3779b97f4a7c15
	h = (h ^ h>>32 ^ binary.NativeEndian.Uint64(a[:8])) * 0xbf58476d1ce4e5b9
	return h ^ h>>32
}

// Index finds SAs by [Key] for packets, without any lock: whoever changes it makes new nodes and links them in by one
// store. Several SAs may share a key (BSD kernels tell them apart by source); they are found newest first. The zero
// value is empty. It is safe for concurrent use; writers take a lock among themselves, which is a leaf.
type Index[S comparable] struct {
	table atomic.Pointer[[]bucket[S]] // its length is a power of two; nil: empty

	mu sync.Mutex // guards writing
	n  int        // nodes there are; guarded by mu
}

type bucket[S comparable] struct{ head atomic.Pointer[node[S]] }

// node is immutable once it can be reached.
type node[S comparable] struct {
	next *node[S]
	key  Key
	s    S
}

const smallestIndex = 64

// Insert adds s under k, before those already there.
func (x *Index[S]) Insert(k Key, s S) {
	x.mu.Lock()
	defer x.mu.Unlock()
	t := x.table.Load()
	if t == nil || x.n >= len(*t) {
		t = x.growLocked(t)
	}
	b := at(*t, k)
	b.head.Store(&node[S]{b.head.Load(), k, s})
	x.n++
}

func at[S comparable](t []bucket[S], k Key) *bucket[S] { return &t[k.hash()&uint64(len(t)-1)] }

// growLocked moves everything into a table of twice the size. Packets go on in the old one meanwhile, where all of it
// stays.
func (x *Index[S]) growLocked(old *[]bucket[S]) *[]bucket[S] {
	size := smallestIndex
	if old != nil {
		size = 2 * len(*old)
	}
	t := make([]bucket[S], size)
	if old != nil {
		for i := range *old {
			copyChain(t, (*old)[i].head.Load())
		}
	}
	x.table.Store(&t)
	return &t
}

// copyChain adds the nodes of a chain to a table, the last one first, so that their order stays.
func copyChain[S comparable](t []bucket[S], n *node[S]) {
	var all []*node[S]
	for ; n != nil; n = n.next {
		all = append(all, n)
	}
	for i := len(all) - 1; i >= 0; i-- {
		b := at(t, all[i].key)
		b.head.Store(&node[S]{b.head.Load(), all[i].key, all[i].s})
	}
}

// Remove takes s out from under k and says whether it was there.
func (x *Index[S]) Remove(k Key, s S) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	t := x.table.Load()
	if t == nil {
		return false
	}
	b := at(*t, k)
	head := b.head.Load()
	for n := head; n != nil; n = n.next {
		if n.key == k && n.s == s {
			b.head.Store(without(head, n))
			x.n--
			return true
		}
	}
	return false
}

// without is a chain without one of its nodes: those before it are made anew, those behind it are shared.
func without[S comparable](head, gone *node[S]) *node[S] {
	if head == gone {
		return gone.next
	}
	return &node[S]{without(head.next, gone), head.key, head.s}
}

// Find returns the newest SA under k that suits; nil takes the first. It takes no lock and allocates nothing.
func (x *Index[S]) Find(k Key, suits func(S) bool) (s S, ok bool) {
	t := x.table.Load()
	if t == nil {
		return s, false
	}
	for n := at(*t, k).head.Load(); n != nil; n = n.next {
		if n.key == k && (suits == nil || suits(n.s)) {
			return n.s, true
		}
	}
	return s, false
}
