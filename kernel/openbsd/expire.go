package openbsd

import (
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// expireByUser handles an EXPIRE of a program: everybody hears it, and that is all.
func (k *Kernel) expireByUser(*request) wire.Errno { return wire.OK }

// acquireByUser handles an ACQUIRE of a program likewise.
func (k *Kernel) acquireByUser(*request) wire.Errno { return wire.OK }

// timeout ends an SA whose time is over (tdb_timeout). A LARVAL one goes without a word.
func (k *Kernel) timeout(s *SA) {
	if s.State() == sadb.Larval {
		k.kill(s)
		return
	}
	k.tally.Add(int(countExpired), 1)
	k.expireHard(s)
}

// expireHard ends an SA that has reached a hard limit.
func (k *Kernel) expireHard(s *SA) {
	if s.State() != sadb.Dead {
		k.tellExpire(s, wire.ExtLifetimeHard)
		k.kill(s)
	}
}

// expireSoft tells of an SA that has reached a soft limit, which is in force no more.
func (k *Kernel) expireSoft(s *SA) {
	if s.State() != sadb.Dead {
		k.tellExpire(s, wire.ExtLifetimeSoft)
	}
}

// tellExpire tells everybody that an SA has reached a limit (pfkeyv2_expire).
func (k *Kernel) tellExpire(s *SA, t wire.ExtType) {
	typ := k.d.SAType(s.SAType)
	s.Lock()
	b := k.d.AppendHeader(make([]byte, 0, 192), wire.Header{Version: wire.Version, Type: wire.MsgExpire, SAType: typ,
		Seq: wire.Seq(k.nextSeq())})
	b = k.d.AppendSA(b, s.shown())
	b = k.d.AppendLifetime(b, wire.ExtLifetimeCurrent, s.current())
	limits := s.hard.Lifetime
	if t == wire.ExtLifetimeSoft {
		limits = s.soft.inForce()
	}
	b = k.d.AppendLifetime(b, t, limits)
	s.Unlock()
	b = k.d.Finish(k.appendEnds(b, s))
	if s.After != s.RDomain {
		k.tellAll(s.RDomain, append([]byte(nil), b...))
	}
	k.tellAll(s.After, b)
}
