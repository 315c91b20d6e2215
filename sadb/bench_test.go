package sadb_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// BenchmarkOfferContended has every core offer packets to one LARVAL SA, each in the place of the one before.
func BenchmarkOfferContended(b *testing.B) {
	var l packet.Ledger
	s := new(sadb.SA)
	var ids atomic.Uint64
	pool := sync.Pool{New: func() any { return new(packet.Packet) }}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p := pool.Get().(*packet.Packet)
			*p = packet.Packet{ID: ids.Add(1)} // it has ended
			l.Inject(p)
			_, evicted := s.Offer(p, 1)
			if evicted != nil {
				evicted.End(packet.Verdict{Kind: packet.Dropped, Reason: packet.LarvalReplaced})
				pool.Put(evicted)
			}
		}
	})
}

// BenchmarkFindContended has every core find SAs while one inserts and removes.
func BenchmarkFindContended(b *testing.B) {
	var x sadb.Index[*sadb.SA]
	key := func(i int) sadb.Key { return sadb.Key{SPI: uint32(i), Proto: 50} }
	for i := range 1000 {
		x.Insert(key(i), new(sadb.SA))
	}
	var over atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		s := new(sadb.SA)
		for !over.Load() {
			x.Insert(key(5000), s)
			x.Remove(key(5000), s)
		}
	})
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, ok := x.Find(key(i%1000), nil); !ok {
				b.Error("an SA was not found")
				return
			}
		}
	})
	over.Store(true)
	wg.Wait()
}
