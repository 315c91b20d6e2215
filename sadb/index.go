package sadb

import (
	"net/netip"
	"slices"
	"sync"
)

// Key is what a packet says of the SA it belongs to.
type Key struct {
	Dst   netip.Addr
	SPI   uint32 // host order
	Proto uint8  // IP protocol number, 50 ESP or 51 AH
}

const shards = 64

// Index finds SAs by [Key] for packets, without the control lock. Several SAs may share a key (BSD kernels tell them apart by
// source); they are kept in the order of insertion, newest first. The zero value is empty. It is safe for concurrent use; each
// shard has its own lock, which is a leaf.
type Index[S comparable] struct {
	shard [shards]struct {
		mu sync.RWMutex
		m  map[Key]entry[S] // guarded by mu
		_  [24]byte
	}
}

// entry is almost always one SA; a slice for it alone would cost more than the SA's key.
type entry[S comparable] struct {
	first S
	rest  *[]S // nil if there are none
}

func shardOf(k Key) uint32 { return k.SPI * 0x9e3779b1 >> 26 }

// Insert adds s under k, before those already there.
func (x *Index[S]) Insert(k Key, s S) {
	sh := &x.shard[shardOf(k)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.m == nil {
		sh.m = make(map[Key]entry[S])
	}
	e, ok := sh.m[k]
	if ok {
		e.rest = pointerTo(append([]S{e.first}, e.others()...))
	}
	e.first = s
	sh.m[k] = e
}

func (e entry[S]) others() []S {
	if e.rest == nil {
		return nil
	}
	return *e.rest
}

// pointerTo is nil for an empty list.
func pointerTo[S any](list []S) *[]S {
	if len(list) == 0 {
		return nil
	}
	return &list
}

// Remove takes s out from under k and says whether it was there.
func (x *Index[S]) Remove(k Key, s S) bool {
	sh := &x.shard[shardOf(k)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e, ok := sh.m[k]
	if !ok {
		return false
	}
	all := append([]S{e.first}, e.others()...)
	i := slices.Index(all, s)
	switch {
	case i < 0:
		return false
	case len(all) == 1:
		delete(sh.m, k)
	default:
		all = slices.Delete(all, i, i+1)
		sh.m[k] = entry[S]{all[0], pointerTo(all[1:])}
	}
	return true
}

// Find returns the newest SA under k that suits. suits runs under the shard's lock and must take none; nil takes the first.
func (x *Index[S]) Find(k Key, suits func(S) bool) (s S, ok bool) {
	sh := &x.shard[shardOf(k)]
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	e, ok := sh.m[k]
	if !ok {
		return s, false
	}
	if suits == nil || suits(e.first) {
		return e.first, true
	}
	for _, r := range e.others() {
		if suits(r) {
			return r, true
		}
	}
	return s, false
}
