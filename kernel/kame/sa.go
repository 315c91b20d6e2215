package kame

import (
	"net/netip"
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// SA is one security association, struct secasvar. The control lock guards it but for what says otherwise.
type SA struct {
	sadb.SA

	Head     *Head
	SPI      uint32
	Seq, PID uint32         // of the GETSPI or the ADD that made it
	Shown    wire.SA        // what messages say of it; its SPI and state are not used
	Auth     *Key           // nil: none
	Encrypt  *Key           // nil: none
	Hard     *wire.Lifetime // nil: none
	Soft     *wire.Lifetime // nil: none
	NATT     *NATT          // nil: none
	Window   uint32         // of replays, in packets
	Added    int64          // uptime

	// protection is what packets read; nil as long as the SA is LARVAL.
	protection atomic.Pointer[Protection]
	// The SA's lock guards what packets change.
	Replays Window   // sequence numbers that came in
	ivs     uint64   // IVs that have been used
	used    int64    // uptime of the first use or the last one, whichever the heir keeps; 0: never
	watch   Deadline // what packets look at

	told   engine.Told
	number uint64 // the order of making
	turn   int64  // the order of getting keys; 0: none yet; changed under heads.mu

	prev, next         *SA // in the list of its head
	in                 *saList
	newerSPI, olderSPI *SA // with the same SPI

	timer   engine.Timer
	flagged atomic.Bool // a packet has asked for the next pass to look at it
}

// Key is a key: the extension that has brought it, as a copy.
type Key struct{ ext []byte }

// Bits is how many bits the key says that it has, which may be more than there are.
func (k *Key) Bits(d *wire.Dialect) int { return int(d.Order.Uint16(k.ext[4:])) }

// Data is all bytes behind the header, with those that fill the last word.
func (k *Key) Data() []byte { return wire.KeyArea(k.ext) }

// Ext is the whole extension as it came.
func (k *Key) Ext() []byte { return k.ext }

// Protection is how an SA protects packets. It never changes: what an UPDATE changes is a new one. Packets read it
// without a lock.
type Protection struct {
	Suite    *ipsec.Suite // nil: IPComp; of TCP signatures it has only the key
	SPI      uint32
	Proto    uint8
	Mode     wire.Mode
	Src, Dst netip.Addr
	Encrypt  wire.AlgID // for IPComp the compression
	Flags    wire.SAFlags
	NATT     *NATT // nil: none

	DstPort uint16 // of a NAT, which the head has; 0: none

	Transform *ipsec.Transform // seals and opens packets of ESP and AH; nil: nothing does
}

// Protection is how the SA protects packets; nil for one that has no keys. No lock is needed.
func (s *SA) Protection() *Protection { return s.protection.Load() }

// usable says whether packets may take it. No lock is needed.
func (s *SA) usable() bool {
	st := s.State()
	return st == sadb.Mature || st == sadb.Dying
}

// key is what packets find it by.
func (s *SA) key() sadb.Key {
	return sadb.Key{Dst: s.Head.Dst.Addr(), SPI: s.SPI, Proto: s.Head.Proto}
}

// Usage is how much an SA has been used.
type Usage struct {
	sadb.Traffic
	Used int64 // uptime; 0: never
}

// Usage reads it at this moment.
func (s *SA) Usage() Usage {
	s.Lock()
	defer s.Unlock()
	return Usage{s.Traffic, s.used}
}

// forgetKeys overwrites the keys of an SA that is DEAD, or never was in the database.
func (s *SA) forgetKeys() {
	for _, k := range []*Key{s.Auth, s.Encrypt} {
		if k != nil {
			clear(k.Data())
		}
	}
}
