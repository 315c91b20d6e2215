package linux

import (
	"math"
	"net/netip"
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/spd"
	"github.com/pfkeyd/pfkeyd/wire"
)

// sa is one security association, a transform state.
//
// The control lock guards everything but what says otherwise.
type sa struct {
	sadb.SA

	// Fixed once it is in the table, but for a LARVAL's SPI.
	proto    uint8
	mode     mode
	replay   uint8
	src, dst netip.Addr
	spi      wire.SPI
	reqID    uint32
	seq      uint32    // of the message that made it, or of its ACQUIRE
	sel      *selector // nil: everything of its own family

	auth, encrypt, compress uint8
	authBits, encryptBits   uint16
	keys                    []byte // that of authentication, and behind it that of encryption
	flags                   uint32 // those that the kernel keeps

	// encap is nil without NAT-T. It is not changed but replaced, under the SA's lock, and packets read it.
	encap atomic.Pointer[encap]
	// opener is what protects and opens packets, made for the first one; see transform.
	opener atomic.Pointer[ipsec.Transform]

	addTime, inserted int64  // seconds of the wall clock
	grown             uint32 // what stateTable.grown was when it was inserted

	all   node // in the order of a DUMP
	flows flowLink
	timer engine.Timer

	// Guarded by the SA's lock, because packets read or change them.
	limits  limits
	useTime int64 // 0: never
	window  window
}

func (s *sa) authKey() []byte    { return s.keys[:keyLen(s.authBits)] }
func (s *sa) encryptKey() []byte { return s.keys[keyLen(s.authBits):] }

// keyLen is how many bytes so many bits are.
func keyLen(bits uint16) int { return (int(bits) + 7) / 8 }

// transform is what protects and opens the SA's packets, which has keys; nil if there is none, see newTransform.
func (s *sa) transform() *ipsec.Transform {
	if t := s.opener.Load(); t != nil {
		return t
	}
	s.Lock() // against forgetKeys
	defer s.Unlock()
	if s.opener.Load() == nil && s.State() != sadb.Dead {
		s.opener.Store(newTransform(s))
	}
	return s.opener.Load()
}

// forgetKeys overwrites the keys of an SA that is DEAD, or was never in the database. Those that packets use are
// overwritten once no packet can use them any more, see [ipsec.Transform.OwnKeys].
func (s *sa) forgetKeys() {
	s.Lock()
	defer s.Unlock()
	clear(s.keys)
}

// encap is UDP encapsulation.
type encap struct {
	typ          uint8
	sport, dport uint16
}

// selector is which flows an SA is for. Addresses are raw, an IPv4 one in the first 4 bytes: the original's union of
// both families shows through in messages. It is immutable.
type selector struct {
	src, dst         [16]byte
	srcBits, dstBits uint8
	proto            uint8
	v6               bool
	sport, dport     uint16 // 0: any
}

// raw is an address as a selector has it.
func raw(a netip.Addr) (b [16]byte) {
	if a.Is4() {
		v4 := a.As4()
		copy(b[:], v4[:])
		return b
	}
	return a.As16()
}

// rawEqual compares two addresses as addresses of one family.
func rawEqual(a, b [16]byte, v6 bool) bool {
	if v6 {
		return a == b
	}
	return [4]byte(a[:4]) == [4]byte(b[:4])
}

// rawAddr is the address of a family that stands in b.
func rawAddr(b [16]byte, v6 bool) netip.Addr {
	if v6 {
		return netip.AddrFrom16(b)
	}
	return netip.AddrFrom4([4]byte(b[:4]))
}

// rawPrefix tells whether the first n bits are the same.
func rawPrefix(a, b [16]byte, n uint8) bool {
	bytes := int(n) / 8
	if bytes >= len(a) {
		return a == b
	}
	if string(a[:bytes]) != string(b[:bytes]) {
		return false
	}
	return (a[bytes]^b[bytes])>>(8-n%8) == 0 || n%8 == 0
}

// fullBits is the prefix length of a whole address.
func fullBits(a netip.Addr) uint8 { return uint8(a.BitLen()) }

func (s *sa) v6() bool { return s.dst.Is6() }

// linked tells whether it is in the database.
func (s *sa) linked() bool { return s.all.next != nil }

// wildcard is the unspecified address of a family.
func wildcard(v6 bool) netip.Addr {
	if v6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// selects tells whether the SA may be used for a flow.
func (s *sa) selects(f spd.Flow) bool {
	v6 := f.Dst.Is6()
	l := s.sel
	if l == nil {
		return s.v6() == v6
	}
	return l.v6 == v6 && rawPrefix(raw(f.Src), l.src, l.srcBits) && rawPrefix(raw(f.Dst), l.dst, l.dstBits) &&
		(l.proto == 0 || l.proto == f.Proto) && (l.sport == 0 || l.sport == f.SrcPort) &&
		(l.dport == 0 || l.dport == f.DstPort)
}

// proxy is the source of the SA's selector, if messages show it.
func (s *sa) proxy() (l selector, ok bool) {
	if s.sel != nil {
		l = *s.sel
	}
	return l, !rawEqual(l.src, raw(s.src), s.v6())
}

// usable says whether packets may take it.
func (s *sa) usable() bool {
	st := s.State()
	return st == sadb.Mature || st == sadb.Dying
}

func (s *sa) key() sadb.Key { return sadb.Key{Dst: s.dst, SPI: uint32(s.spi), Proto: s.proto} }

// unlimited is a limit that is none.
const unlimited = math.MaxUint64

// limits are the lifetimes of an SA or a policy. Times are seconds, 0 for none; packets and bytes are unlimited if
// there is no limit.
type limits struct{ soft, hard lifetime }

type lifetime struct{ packets, bytes, addTime, useTime uint64 }

var noLimits = limits{soft: lifetime{packets: unlimited, bytes: unlimited}, hard: lifetime{packets: unlimited,
	bytes: unlimited}}

// limit reads a limit of a message, and says it in one.
func limit(v uint64) uint64 {
	if v == 0 {
		return unlimited
	}
	return v
}

func unlimit(v uint64) uint64 {
	if v == unlimited {
		return 0
	}
	return v
}

// limitsOf reads the lifetimes of a request.
func (k *Kernel) limitsOf(r *request) limits {
	l := noLimits
	for t, to := range map[wire.ExtType]*lifetime{wire.ExtLifetimeHard: &l.hard, wire.ExtLifetimeSoft: &l.soft} {
		if r.has(t) {
			v, _ := k.d.ParseLifetime(r.ext[t])
			*to = lifetime{limit(uint64(v.Allocations)), limit(v.Bytes), v.AddTime, v.UseTime}
		}
	}
	return l
}

func (l lifetime) wire() wire.Lifetime {
	return wire.Lifetime{Allocations: uint32(unlimit(l.packets)), Bytes: unlimit(l.bytes), AddTime: l.addTime,
		UseTime: l.useTime}
}

// timed tells whether any time limit is set.
func (l limits) timed() bool {
	return l.soft.addTime|l.soft.useTime|l.hard.addTime|l.hard.useTime != 0
}
