package illumos

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// buckets is the number of hash buckets of each table. Their order, and that of the SAs in them, is the order of a
// DUMP.
const buckets = 256

// family is the SAs of one protocol and one address family, that of the outer destination.
type family struct {
	p        *protocol
	out, in  table
	acquires [buckets]*acquire // newest first; guarded by the lock of the acquire records
}

func (f *family) init(p *protocol) {
	f.p = p
	f.out.byDst = map[netip.Addr]*chain{}
	f.out.m = map[spiDst]*sa{}
	f.out.f, f.in.f = f, f
}

func (p *protocol) familyOf(dst netip.Addr) *family {
	if dst.Is4() {
		return &p.v4
	}
	return &p.v6
}

// table is the outbound or the inbound SAs of a family, in 256 buckets. The control lock guards it; packets find
// inbound SAs through Kernel.inbound, and outbound ones through byDst under the table's own lock, which is a leaf.
type table struct {
	f       *family
	n       int            // how many there are; no two have SPI and destination in common
	m       map[spiDst]*sa // outbound; inbound ones are in Kernel.inbound
	buckets [buckets]chain

	mu    sync.RWMutex
	byDst map[netip.Addr]*chain // outbound: the SAs to a destination, in the order of their bucket; guarded by mu
}

type spiDst struct {
	dst netip.Addr
	spi wire.SPI
}

func (t *table) isOutbound() bool { return t.byDst != nil }

// hashDst is the bucket of a destination in the outbound and acquire tables: the address as the machine's own integer.
// It therefore differs between little and big-endian machines.
func (k *Kernel) hashDst(dst netip.Addr) int {
	if dst.Is4() {
		a := dst.As4()
		return int(k.d.Order.Uint32(a[:]) % buckets)
	}
	a := dst.As16()
	var h uint32
	for i := 0; i < 16; i += 4 {
		h ^= k.d.Order.Uint32(a[i:])
	}
	return int(h % buckets)
}

// hashSPI is the bucket of an SPI in the inbound tables.
func (k *Kernel) hashSPI(spi wire.SPI) int {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(spi))
	return int(k.d.Order.Uint32(b[:]) % buckets)
}

// bucket is the number of the bucket in which an SA belongs.
func (t *table) bucket(s *sa) int {
	if t.isOutbound() {
		return s.p.k.hashDst(s.dst)
	}
	return s.p.k.hashSPI(s.spi)
}

// place links s into its bucket.
func (t *table) place(s *sa) {
	k := s.p.k
	k.placed++
	s.placed = k.placed
	t.buckets[t.bucket(s)].insert(s, linkBucket)
}

// find returns the SA with this SPI and destination whatever its source, nil if there is none.
func (t *table) find(spi wire.SPI, dst netip.Addr) *sa {
	if t.isOutbound() {
		return t.m[spiDst{dst, spi}]
	}
	s, _ := t.f.p.k.inbound.Find(sadb.Key{Dst: dst, SPI: uint32(spi), Proto: t.f.p.proto}, nil)
	return s
}

// lookup is find with a source that must be the SA's, unless either is unspecified; ipsec_getassocbyspi.
func (t *table) lookup(spi wire.SPI, src, dst netip.Addr) *sa {
	if s := t.find(spi, dst); s != nil && (s.src == src || s.src.IsUnspecified() || src.IsUnspecified()) {
		return s
	}
	return nil
}

// insert links s and says whether it could: not if its SPI and destination are there already; sadb_insertassoc.
func (t *table) insert(s *sa) bool {
	if t.find(s.spi, s.dst) != nil {
		return false
	}
	t.n++
	s.in, s.outbound = t, t.isOutbound()
	s.countStored()
	t.place(s)
	if t.isOutbound() {
		t.m[spiDst{s.dst, s.spi}] = s
		t.mu.Lock()
		c := t.byDst[s.dst]
		if c == nil {
			c = &chain{}
			t.byDst[s.dst] = c
		}
		c.insert(s, linkDst)
		t.mu.Unlock()
		return true
	}
	s.p.k.inbound.Insert(s.key(), s)
	return true
}

// moveToFront puts s where a new SA would stand in its bucket. Packets find it meanwhile.
func (s *sa) moveToFront() {
	s.p.k.leavePlace(s)
	s.in.buckets[s.in.bucket(s)].remove(s, linkBucket)
	s.in.place(s)
}

// unlink takes s out of its table, if it is in one.
func (s *sa) unlink() {
	t := s.in
	if t == nil {
		return
	}
	s.p.k.leavePlace(s)
	s.in = nil
	s.countStored()
	t.n--
	t.buckets[t.bucket(s)].remove(s, linkBucket)
	if t.isOutbound() {
		delete(t.m, spiDst{s.dst, s.spi})
		t.mu.Lock()
		c := t.byDst[s.dst]
		c.remove(s, linkDst)
		if c.head == nil {
			delete(t.byDst, s.dst)
		}
		t.mu.Unlock()
		return
	}
	s.p.k.inbound.Remove(s.key(), s)
}

// all yields the SAs in the order of a DUMP. The SA it is at may be unlinked meanwhile.
func (t *table) all(yield func(*sa) bool) {
	for i := range t.buckets {
		for s := t.buckets[i].head; s != nil; {
			next := s.link[linkBucket].next
			if !yield(s) {
				return
			}
			s = next
		}
	}
}

// chain is an ordered list: SAs with a specified source first, then those without, each group newest first.
type chain struct {
	head, tail *sa
	unspec     *sa // the first without a specified source
}

const (
	linkBucket = iota
	linkDst
)

type link struct{ prev, next *sa }

func (c *chain) insert(s *sa, l int) {
	if !s.src.IsUnspecified() {
		c.insertBefore(s, c.head, l)
		return
	}
	c.insertBefore(s, c.unspec, l)
	c.unspec = s
}

// insertBefore links s before at; nil is the end.
func (c *chain) insertBefore(s, at *sa, l int) {
	prev := c.tail
	if at != nil {
		prev = at.link[l].prev
		at.link[l].prev = s
	} else {
		c.tail = s
	}
	if prev != nil {
		prev.link[l].next = s
	} else {
		c.head = s
	}
	s.link[l] = link{prev, at}
}

func (c *chain) remove(s *sa, l int) {
	prev, next := s.link[l].prev, s.link[l].next
	if prev != nil {
		prev.link[l].next = next
	} else {
		c.head = next
	}
	if next != nil {
		next.link[l].prev = prev
	} else {
		c.tail = prev
	}
	if c.unspec == s {
		c.unspec = next
	}
	s.link[l] = link{}
}
