package openbsd

import (
	"net/netip"
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// SA is one security association, struct tdb. The control lock guards it but for what says otherwise. It is LARVAL all
// its life, or never: an UPDATE that gives it keys replaces it.
type SA struct {
	sadb.SA

	RDomain int    // routing domain of its packets; never changes
	After   int    // routing domain of what comes out of them; never changes
	Proto   uint8  // IP protocol; never changes
	SPI     uint32 // never changes

	SAType   uint8      // its number, as messages show it; 0: LARVAL
	Src, Dst netip.Addr // Src may be invalid: none
	Shown    wire.SA    // what messages say of it; its SPI and state are not used
	Auth     []byte     // keys; nil: none
	Encrypt  []byte
	IDs      *identities // nil: none
	Swapped  bool        // they came in an UPDATE, which has them the other way round
	Filter   *filter     // the flow that it is for alone; nil: any
	UDPPort  uint16      // of the peer, host order; 0: that of the knob
	Tag      *wire.Tag   // mark for pf(4); nil: none
	Tap      uint32      // number of the enc(4) interface
	Iface    *wire.Iface // sec(4) interface that it belongs to; nil: none
	Added    int64       // Unix time
	told     engine.Told

	addTimers, useTimers struct{ hard, soft engine.Timer }

	// What packets read; nil as long as the SA is LARVAL.
	protection atomic.Pointer[Protection]
	// The SAs that it is linked with (X_GRPSPIS): next protects what this one has protected, before is the other way
	// round.
	next, before atomic.Pointer[SA]

	byDst, bySrc neighbours // their tables' locks guard them
	hidden       *SA        // an older one of the same name; nil: none
	filed        filed

	// The SA's lock guards what packets change.
	replay            replay
	counter           wire.Counter
	hard, soft        limits
	allocations       uint32 // as an ADD has said
	bytes             uint64
	spent             bool  // its bytes: it is about to be ended
	firstUse, lastUse int64 // Unix time; 0: never
}

// limits are the hard or the soft limits of an SA. Those that are armed are in force: a soft one that has been reached
// is not, and messages show it as 0. Those of allocations are shown, and never reached: the original counts none.
type limits struct {
	wire.Lifetime
	armed struct{ bytes, add, use, allocations bool }
}

// any tells whether there is a limit at all, in force or not.
func (l *limits) any() bool { return l.Lifetime != wire.Lifetime{} }

// Protection is how an SA protects packets. It never changes: what an UPDATE changes is a new one. Packets read it
// without a lock.
type Protection struct {
	Src, Dst  netip.Addr
	Flags     wire.SAFlags
	Window    uint8  // of replays; only whether it is 0 counts
	UDPPort   uint16 // of the peer, host order; 0: that of the knob
	IDs       *identities
	Filter    *filter
	Iface     bool             // it belongs to a sec(4) interface
	Transform *ipsec.Transform // seals and opens packets of ESP and AH; nil: nothing does
	TCP       *ipsec.Suite     // has the key of TCP signatures; nil: none
}

// Protection is how the SA protects packets; nil for one that is LARVAL. No lock is needed.
func (s *SA) Protection() *Protection { return s.protection.Load() }
