package illumos

import (
	"net/netip"
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// lifetime is one set of limits: bytes, and durations in seconds. Allocations are stored and never enforced.
type lifetime struct {
	alloc            uint32
	bytes            uint64
	addTime, useTime uint64
}

func (l lifetime) isZero() bool { return l == lifetime{} }

func (l lifetime) wire() wire.Lifetime {
	return wire.Lifetime{Allocations: l.alloc, Bytes: l.bytes, AddTime: l.addTime, UseTime: l.useTime}
}

// identity is an identity extension as it was sent, without its header.
type identity struct {
	typ  uint16
	name string
}

// innerAddrs are the addresses of tunnel mode, masked. They are immutable.
type innerAddrs struct{ src, dst netip.Prefix }

// natAddrs are the addresses of NAT traversal, IPv4 ones; one that was not given is invalid. They are immutable.
type natAddrs struct{ loc, rem netip.AddrPort }

// ports are those of the UDP header, the usual one where none was given.
func (n *natAddrs) ports() ipsec.Ports {
	p := ipsec.Ports{Src: n.loc.Port(), Dst: n.rem.Port()}
	if p.Src == 0 {
		p.Src = ipsec.NATTPort
	}
	if p.Dst == 0 {
		p.Dst = ipsec.NATTPort
	}
	return p
}

// kept are packets that wait on an SA which is not LARVAL.
type kept struct {
	idle   packet.Queue // on an IDLE SA, with what is in them
	doomed packet.Queue // of a LARVAL that a failed UPDATE killed: they end when it is reaped
}

// sa is one security association, ipsa_t. An SA whose addresses are both ours is two of them, one in each table, each
// other's peer.
//
// The control lock guards everything but what says otherwise. The tables and their links have their own rules, see
// table.
type sa struct {
	sadb.SA

	p        *protocol
	spi      wire.SPI
	src      netip.Addr // fixed, like p, spi and dst: an UPDATE keeps the LARVAL's own
	dst      netip.Addr
	in       *table // the table it is linked into, nil if none
	link     [2]link
	told     engine.Told
	outbound bool // the table it is, or was last, linked into is an outbound one

	placed    uint64        // when it was given its place in its bucket, see Kernel.placed
	preserved atomic.Uint64 // the newest DUMP that has been shown it as it was

	conf  atomic.Pointer[config] // what packets read; nil while LARVAL
	flags atomic.Uint32          // written under the SA's lock

	replayWindow  uint8
	auth, encrypt wire.AlgID
	authKey       []byte
	encryptKey    []byte // without salt
	salt          []byte
	authBits      uint16
	encryptBits   uint16

	inner        *innerAddrs // nil: transport mode
	nat          *natAddrs   // what the message brought, whatever the flags; nil: none
	cookie       wire.KMCookie
	srcID, dstID *identity
	stored       int // what it counts for in Kernel.stored
	pairSPI      wire.SPI
	peerSA       atomic.Pointer[sa] // the same SA in the other table

	hard, soft    lifetime
	idleAddTime   uint64 // limits as stored
	idleUseTime   uint64
	idleTime      int64 // the one in force
	addTime       int64
	lastKeepalive int64

	// Guarded by the SA's lock, because packets change them: times in seconds, 0 for none or never.
	hardExpire, softExpire, idleExpire int64
	useTime, lastUse                   int64
	// what its flows must have; written under the lock, nil if anything
	unique    atomic.Pointer[unique]
	window    window
	ivCounter ivCounter
	kept      *kept       // nil if there are none
	orphaned  atomic.Bool // a faulty FLUSH has unlinked it
	taking    bool        // a faulty UPDATE has promoted it and is about to empty its queue

	posted atomic.Uint32 // see postOnce
}

// config is what packets read of an SA's configuration, swapped as a whole.
type config struct {
	transform     *ipsec.Transform
	replay        bool        // the SA has a replay window
	authentic     bool        // packets carry an ICV
	inner         *innerAddrs // nil: transport mode
	nat           *natAddrs   // nil: it is no NAT-T SA
	auth, encrypt wire.AlgID
	encryptBits   uint16
	cookie        wire.KMCookie
	align         int // what ESP pads to
}

func (s *sa) has(flag uint32) bool { return s.flags.Load()&flag != 0 }

// setFlagsLocked sets and clears flags. The SA's lock is held.
func (s *sa) setFlagsLocked(set, clear uint32) { s.flags.Store(s.flags.Load()&^clear | set) }

func (s *sa) setFlags(set, clear uint32) {
	s.Lock()
	defer s.Unlock()
	s.setFlagsLocked(set, clear)
}

func (s *sa) key() sadb.Key { return sadb.Key{Dst: s.dst, SPI: uint32(s.spi), Proto: s.p.proto} }

// usable says whether outbound packets may take it.
func (s *sa) usable() bool {
	st := s.State()
	return st == sadb.Mature || st == sadb.Dying
}

// unique is what a packet must have to be an SA's, each part in its place, and a mask of the parts that count: source
// port in bits 0 to 15, destination port 16 to 31, protocol 32 to 39, inner protocol 40 to 47. It is immutable.
type unique struct{ id, mask uint64 }

func uniqueID(sport, dport uint16, proto, innerProto uint8) uint64 {
	return uint64(sport) | uint64(dport)<<16 | uint64(proto)<<32 | uint64(innerProto)<<40
}

// newUnique makes every part that is not zero count.
func newUnique(sport, dport uint16, proto, innerProto uint8) unique {
	u := unique{id: uniqueID(sport, dport, proto, innerProto)}
	for _, part := range []uint64{0xffff, 0xffff << 16, 0xff << 32, 0xff << 40} {
		if u.id&part != 0 {
			u.mask |= part
		}
	}
	return u
}

func (u unique) selects(id uint64) bool { return id&u.mask == u.id&u.mask }

// uniqueParts are what messages show; all zero if anything is the SA's.
func (s *sa) uniqueParts() (sport, dport uint16, proto, innerProto uint8) {
	u := s.unique.Load()
	if u == nil {
		return 0, 0, 0, 0
	}
	return uint16(u.id), uint16(u.id >> 16), uint8(u.id >> 32), uint8(u.id >> 40)
}

// setUniqueLocked narrows an SA. The SA's lock is held.
func (s *sa) setUniqueLocked(u unique) {
	if u.mask != 0 {
		s.unique.Store(&u)
	}
}

// endHeld ends the packets that waited on an SA which is gone. It runs after the control lock is released.
func (k *Kernel) endHeld(held packet.Queue, c dropCause) {
	if held.Len() == 0 {
		return
	}
	k.e.After(func() {
		for p := held.Pop(); p != nil; p = held.Pop() {
			k.drop(p, c)
		}
	})
}

// kill makes an SA DEAD and unlinks it, as DELETE, FLUSH and the end of a pair do. Its packets end.
func (k *Kernel) kill(s *sa, c dropCause) {
	s.unlink()
	k.bury(s, c)
}

// forgetKeys overwrites the keys that messages show, unless a copy of the SA still has them. Those that packets use are
// overwritten once no packet can use them any more, see [ipsec.Transform.OwnKeys].
func (s *sa) forgetKeys() {
	if s.peer() != nil {
		return
	}
	for _, key := range [][]byte{s.authKey, s.encryptKey, s.salt} {
		clear(key)
	}
}

// tellState tells those who follow the events what state an SA is in.
func (k *Kernel) tellState(s *sa) {
	k.e.TellState(&s.told, s.State(), func() engine.SAName {
		return engine.SAName{Type: s.p.satype, SPI: uint32(s.spi), Src: s.src, Dst: s.dst}
	})
}

// bury makes an SA DEAD that is no longer linked, or never was.
func (k *Kernel) bury(s *sa, c dropCause) {
	k.e.Step("bury", nil)
	s.forgetKeys()
	s.Lock()
	held := k.fault.DieLocked(&s.SA, !s.taking)
	rest := s.takeKeptLocked()
	s.Unlock()
	k.tellState(s)
	k.endHeld(rest.doomed, c)
	k.endHeld(held, c)
	if c == dropLarvalTimeout {
		c = dropIdleTimeout
	}
	k.endHeld(rest.idle, c)
}
