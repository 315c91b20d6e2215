package pfkeytest

import (
	"math/rand/v2"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Seal protects inner, an IP packet, as whoever sends through sa does, so that [Host.Inject] can hand the host what its
// peer would send. Algorithms, mode and UDP encapsulation are those that sa says in the dialect of the host's kernel;
// the kernel need not have sa, or not yet.
//
// The sequence number is the next one of this SPI and destination; the first is 1. The same bytes injected twice are a
// replay; packets sealed first and injected last come out of order. An SA with which inner cannot be sealed fails the
// test.
func (h *Host) Seal(sa pfkey.SA, inner []byte) []byte {
	h.t.Helper()
	sealed, err := h.seals.seal(h, &sa, inner)
	if err != nil {
		h.t.Fatalf("%v", err)
	}
	return sealed
}

// seals are the packets that a host's test has sealed: how many by which SA, and the source of their IVs. It is another
// one than the kernel's, so that sealing changes nothing of what that chooses.
type seals struct {
	random random
	last   map[sealer]uint64 // guarded by random.mu
}

// A sealer is an SA by the names that its packets carry.
type sealer struct {
	typ wire.SAType
	spi wire.SPI
	dst netip.Addr
}

func newSeals(seed [32]byte) seals {
	return seals{random: random{source: rand.NewChaCha8(seed)}, last: map[sealer]uint64{}}
}

func (s *seals) seal(h *Host, sa *pfkey.SA, inner []byte) ([]byte, error) {
	by := sealer{sa.Type, sa.SPI, sa.Dst.Addr}
	s.random.mu.Lock()
	s.last[by]++
	seq := s.last[by]
	s.random.mu.Unlock()
	return h.face.Seal(sa, inner, seq, &s.random)
}
