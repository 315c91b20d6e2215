package xfrm

import (
	"net/netip"
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// sa is one security association, a transform state.
//
// The control lock guards everything but what says otherwise.
type sa struct {
	sadb.SA
	transform.Config // fixed once it is in the table, but for a LARVAL's SPI

	// encap is nil without NAT-T. It is not changed but replaced, under the SA's lock, and packets read it.
	encap atomic.Pointer[transform.Encap]
	// opener is what protects and opens packets, made for the first one; see transform.
	opener atomic.Pointer[ipsec.Transform]

	addTime, inserted int64 // seconds of the wall clock
	told              engine.Told
	grown             uint32 // what stateTable.grown was when it was inserted

	all   node // in the order of a DUMP
	flows flowLink
	timer engine.Timer

	// Guarded by the SA's lock, because packets read or change them.
	limits  transform.Limits
	useTime int64 // 0: never
	window  window
}

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
	clear(s.Keys)
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

// linked tells whether it is in the database.
func (s *sa) linked() bool { return s.all.next != nil }

// selects tells whether the SA may be used for a flow.
func (s *sa) selects(f spd.Flow) bool {
	v6 := f.Dst.Is6()
	l := s.Sel
	if l == nil {
		return s.V6() == v6
	}
	return l.V6 == v6 && rawPrefix(transform.Raw(f.Src), l.Src, l.SrcBits) &&
		rawPrefix(transform.Raw(f.Dst), l.Dst, l.DstBits) &&
		(l.Proto == 0 || l.Proto == f.Proto) &&
		(l.Sport == 0 || l.Sport == f.SrcPort) && (l.Dport == 0 || l.Dport == f.DstPort)
}

// usable says whether packets may take it.
func (s *sa) usable() bool {
	st := s.State()
	return st == sadb.Mature || st == sadb.Dying
}

// usageLocked is how much the SA has been used. Its lock is held.
func (s *sa) usageLocked() transform.Usage {
	return transform.Usage{Packets: s.Packets, Bytes: s.Bytes, AddTime: s.addTime, UseTime: s.useTime}
}

// describe puts down what the SA is now.
func (s *sa) describe(to *transform.State) {
	to.Config, to.Encap = s.Config, s.encap.Load()
	s.Lock()
	to.Phase, to.Limits, to.Usage = min(s.State(), sadb.Dead), s.limits, s.usageLocked()
	s.Unlock()
}

// tell tells the key manager what has become of an SA.
func (x *Transforms) tell(c transform.Change, s *sa, by transform.By) {
	s.describe(&x.told)
	x.manager.StateChanged(c, &x.told, by)
}
