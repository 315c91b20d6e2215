package openbsd

import (
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// describe has the answer describe an SA.
func (r *request) describe(s *SA) {
	r.described = r.k.appendSA(make([]byte, 0, s.room()), s)
	r.answer(r.described)
}

// forget overwrites what describes an SA: there are keys in it.
func (r *request) forget() { clear(r.described) }

// room is at least as many bytes as describe an SA: a slice that had to grow would leave keys behind.
func (s *SA) room() int {
	const all = 1024 // but for keys and names
	n := all + len(s.Auth) + len(s.Encrypt)
	if s.IDs != nil {
		n += len(s.IDs.local.name) + len(s.IDs.remote.name)
	}
	return n
}

// appendSA appends all extensions that describe an SA, in the order of sysctl(8) (pfkeyv2_get).
func (k *Kernel) appendSA(b []byte, s *SA) []byte {
	s.Lock()
	defer s.Unlock()
	b = k.d.AppendSA(b, s.shown())
	b = k.d.AppendLifetime(b, wire.ExtLifetimeCurrent, s.current())
	if s.soft.any() {
		b = k.d.AppendLifetime(b, wire.ExtLifetimeSoft, s.soft.inForce())
	}
	if s.hard.any() {
		b = k.d.AppendLifetime(b, wire.ExtLifetimeHard, s.hard.Lifetime)
	}
	if s.lastUse != 0 {
		b = k.d.AppendLifetime(b, wire.OpenBSDExtXLifetimeLastUse, wire.Lifetime{UseTime: uint64(s.lastUse)})
	}
	b = k.appendEnds(b, s)
	if s.IDs != nil {
		src, dst := s.IDs.local, s.IDs.remote
		if s.Swapped {
			src, dst = dst, src
		}
		b = k.appendIdentity(b, wire.ExtIdentitySrc, src)
		b = k.appendIdentity(b, wire.ExtIdentityDst, dst)
	}
	b = k.appendKey(b, wire.ExtKeyAuth, s.Auth)
	b = k.appendKey(b, wire.ExtKeyEncrypt, s.Encrypt)
	if f := s.Filter; f != nil {
		b = k.appendFlow(b, wire.OpenBSDFlowUse, f.dir, f.v6, &f.key, &f.mask)
	}
	if n := s.next.Load(); n != nil {
		b = k.d.AppendSecondSA(b, n.shown())
		b = k.appendAddress(b, wire.OpenBSDExtXDst2, n.Dst)
		b = k.d.AppendFlowProtocol(b, wire.OpenBSDExtXSAType2, wire.FlowProtocol{Value: n.SAType})
	}
	if s.UDPPort != 0 {
		b = k.d.AppendNATTPort(b, wire.OpenBSDExtXUDPEncap, wire.NATTPort{Port: s.UDPPort})
	}
	b = k.d.AppendReplayValue(b, wire.ReplayValue{Replay64: s.replay.count})
	if s.RDomain != s.After {
		b = k.d.AppendRDomain(b, wire.RDomain{Domain: uint16(s.RDomain), After: uint16(s.After)})
	}
	if s.Tag != nil {
		b = k.d.AppendTag(b, *s.Tag)
	}
	if s.Tap != 0 {
		b = k.d.AppendWord(b, wire.OpenBSDExtXTap, wire.Word{Value: s.Tap})
	}
	if s.Iface != nil {
		b = k.d.AppendIface(b, *s.Iface)
	}
	return k.d.AppendCounter(b, s.counter)
}

// shown is the SA extension (export_sa).
func (s *SA) shown() wire.SA {
	v := s.Shown
	v.SPI, v.State = wire.SPI(s.SPI), wire.StateMature
	if s.State() == sadb.Larval {
		v.State = wire.StateLarval
	}
	return v
}

// current is what has come of the SA until now. Its lock is held.
func (s *SA) current() wire.Lifetime {
	return wire.Lifetime{Allocations: s.allocations, Bytes: s.bytes, AddTime: uint64(s.Added),
		UseTime: uint64(s.firstUse)}
}

// appendEnds appends both addresses; that of a source that is not known has none.
func (k *Kernel) appendEnds(b []byte, s *SA) []byte {
	b = k.appendAddress(b, wire.ExtAddressSrc, s.Src)
	return k.appendAddress(b, wire.ExtAddressDst, s.Dst)
}

func (k *Kernel) appendKey(b []byte, t wire.ExtType, key []byte) []byte {
	if key == nil {
		return b
	}
	return k.d.AppendKey(b, t, wire.Key{Bits: uint16(8 * len(key)), Data: key})
}
