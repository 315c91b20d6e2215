package sadb_test

import (
	"net/netip"
	"sync"
	"testing"

	"github.com/pfkeyd/pfkeyd/sadb"
)

func key(spi uint32) sadb.Key {
	return sadb.Key{Dst: netip.MustParseAddr("192.0.2.1"), SPI: spi, Proto: 50}
}

func TestIndex(t *testing.T) {
	var x sadb.Index[*int]
	a, b, c := new(int), new(int), new(int)
	if _, ok := x.Find(key(1), nil); ok {
		t.Error("an empty index found something")
	}
	for _, s := range []*int{a, b, c} {
		x.Insert(key(1), s)
	}
	x.Insert(key(2), a)
	if s, ok := x.Find(key(1), nil); !ok || s != c {
		t.Error("Find did not return the newest")
	}
	if s, ok := x.Find(key(1), func(s *int) bool { return s == a }); !ok || s != a {
		t.Error("Find did not look at all of them")
	}
	if _, ok := x.Find(key(1), func(*int) bool { return false }); ok {
		t.Error("Find returned what does not suit")
	}
	for _, s := range []*int{b, c, a} {
		if !x.Remove(key(1), s) {
			t.Error("Remove did not find one that is there")
		}
		if x.Remove(key(1), s) {
			t.Error("Remove found one that is not there any more")
		}
	}
	if _, ok := x.Find(key(1), nil); ok {
		t.Error("something is left")
	}
	if s, ok := x.Find(key(2), nil); !ok || s != a {
		t.Error("another key was touched")
	}
}

func TestIndexTellsKeysApart(t *testing.T) {
	var x sadb.Index[*int]
	s := new(int)
	x.Insert(key(7), s)
	for _, k := range []sadb.Key{
		{Dst: netip.MustParseAddr("192.0.2.1"), SPI: 7, Proto: 51},
		{Dst: netip.MustParseAddr("192.0.2.2"), SPI: 7, Proto: 50},
		{Dst: netip.MustParseAddr("::ffff:192.0.2.1"), SPI: 7, Proto: 50},
		{Dst: netip.MustParseAddr("192.0.2.1"), SPI: 8, Proto: 50},
	} {
		if _, ok := x.Find(k, nil); ok {
			t.Errorf("%+v was found under another key", k)
		}
	}
}

func TestIndexConcurrently(t *testing.T) {
	var x sadb.Index[*int]
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range uint32(1000) {
				spi := i*4 + uint32(g)
				s := new(int)
				x.Insert(key(spi), s)
				if got, ok := x.Find(key(spi), nil); !ok || got != s {
					t.Errorf("SPI %d: inserted and not found", spi)
				}
				x.Remove(key(spi), s)
			}
		})
	}
	wg.Wait()
}
