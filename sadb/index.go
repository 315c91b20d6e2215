package sadb

import (
	"net/netip"
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
	rest  []S
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
		e.rest = append([]S{e.first}, e.rest...)
	}
	e.first = s
	sh.m[k] = e
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
	if e.first == s {
		if len(e.rest) == 0 {
			delete(sh.m, k)
			return true
		}
		e.first, e.rest = e.rest[0], append([]S(nil), e.rest[1:]...)
		sh.m[k] = e
		return true
	}
	for i, r := range e.rest {
		if r == s {
			e.rest = append(append([]S(nil), e.rest[:i]...), e.rest[i+1:]...)
			sh.m[k] = e
			return true
		}
	}
	return false
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
	for _, r := range e.rest {
		if suits(r) {
			return r, true
		}
	}
	return s, false
}
