package xfrm

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// buckets is the shape of the original's hash table of SAs by their ends and request id, without the SAs in it: how
// many there are in each bucket. It matters because the table grows, and every time it does, each bucket's list is
// turned round: of two SAs that serve a flow equally well the older one is found from then on, until it grows again
// (xfrm_hash_resize). The original grows in a worker that runs once the program that added the SA lets it; here it has
// run when the next message or packet comes. The control lock guards it.
type buckets struct {
	used   []uint32
	little bool // the machine's byte order
}

const (
	fewestBuckets = 8
	mostBuckets   = 1 << 20
)

func (b *buckets) init(order binary.ByteOrder) {
	*b = buckets{make([]uint32, fewestBuckets), order.Uint16([]byte{1, 0}) == 1}
}

// add counts an SA, and says whether the table, which has n now, grows because of it: it shares its bucket, and there
// are at least as many SAs as buckets (xfrm_hash_grow_check).
func (b *buckets) add(s *sa, n int) (grows bool) {
	u := &b.used[b.hash(s)]
	*u++
	return *u > 1 && len(b.used) < mostBuckets && n >= len(b.used)
}

func (b *buckets) remove(s *sa) { b.used[b.hash(s)]-- }

// grow doubles the table, in which these SAs are.
func (b *buckets) grow(all *list) {
	b.used = make([]uint32, 2*len(b.used))
	all.each(nil, func(n *node) bool {
		b.used[b.hash(n.s)]++
		return true
	})
}

// hash is the bucket of an SA (__xfrm_dst_hash).
func (b *buckets) hash(s *sa) uint32 {
	const inet, inet6 = 2, 10
	h := s.ReqID
	if s.V6() {
		h ^= inet6 ^ b.jhash(s.Dst) ^ b.jhash(s.Src)
	} else {
		dst, src := s.Dst.As4(), s.Src.As4()
		h ^= inet ^ b.swap(b.swap(binary.BigEndian.Uint32(dst[:]))+b.swap(binary.BigEndian.Uint32(src[:])))
	}
	return (h ^ h>>16) & uint32(len(b.used)-1)
}

// swap is what the machine makes of a number in network order, and back.
func (b *buckets) swap(v uint32) uint32 {
	if b.little {
		return bits.ReverseBytes32(v)
	}
	return v
}

// jhash is Bob Jenkins' hash lookup3 of the four words of an IPv6 address, as the original seeds it.
func (b *buckets) jhash(addr netip.Addr) uint32 {
	const words, seed = 4, 0xdeadbeef
	a16 := addr.As16()
	word := func(i int) uint32 { return b.swap(binary.BigEndian.Uint32(a16[4*i:])) }
	rot := bits.RotateLeft32
	x, y, z := uint32(seed+4*words), uint32(seed+4*words), uint32(seed+4*words)
	x, y, z = x+word(0), y+word(1), z+word(2)
	x, z = x-z^rot(z, 4), z+y
	y, x = y-x^rot(x, 6), x+z
	z, y = z-y^rot(y, 8), y+x
	x, z = x-z^rot(z, 16), z+y
	y, x = y-x^rot(x, 19), x+z
	z, y = z-y^rot(y, 4), y+x
	x += word(3)
	z = z ^ y - rot(y, 14)
	x = x ^ z - rot(z, 11)
	y = y ^ x - rot(x, 25)
	z = z ^ y - rot(y, 16)
	x = x ^ z - rot(z, 4)
	y = y ^ x - rot(x, 14)
	return z ^ y - rot(y, 24)
}
