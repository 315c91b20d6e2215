package freebsd

import (
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Update implements [kame.Heir] (key_update): the SA is found by its SPI alone. A LARVAL one gets its keys; of one that
// has keys, lifetimes, ends and NAT-T change.
func (h *heir) Update(r *kame.Request, d *kame.SA, x *kame.Index) wire.Errno {
	s := h.newest(d.SPI)
	switch {
	case s == nil || s.PID != d.PID:
		return wire.EINVAL
	case !s.Head.SamePair(x) || !h.Fits(s.Head, x):
		return wire.ESRCH
	case s.State() == sadb.Larval:
		return h.mature(r, s, d, x)
	case r.HasAny(wire.ExtKeyAuth, wire.ExtKeyEncrypt):
		return wire.EINVAL
	}
	h.SetLifetimes(s, d.Hard, d.Soft)
	if errno := h.move(r, s, x); errno != wire.OK {
		return errno
	}
	if s.State() == sadb.Dying {
		h.Become(s, sadb.Mature, nil)
	}
	return wire.OK
}

// mature gives a LARVAL SA what a draft says. If that fails its algorithms and flags are shown all the same.
func (h *heir) mature(r *kame.Request, s, d *kame.SA, x *kame.Index) wire.Errno {
	if !kame.HasKeys(r) || !h.IdentitiesPaired(r, false) {
		return wire.EINVAL
	}
	suite, errno := h.Suite(r, d, x)
	if errno != wire.OK {
		s.Shown.Auth, s.Shown.Encrypt, s.Shown.Flags = d.Shown.Auth, d.Shown.Encrypt, d.Shown.Flags
		return errno
	}
	s.Shown, s.Auth, s.Encrypt, s.Window, s.NATT, s.Added = d.Shown, d.Auth, d.Encrypt, d.Window, d.NATT, d.Added
	h.SetLifetimes(s, d.Hard, d.Soft)
	h.Become(s, sadb.Mature, h.Protect(s, s.Head, suite))
	return wire.OK
}

// nattExts are the extensions that say where the UDP encapsulation is.
var nattExts = []wire.ExtType{wire.KAMEExtXNATTType, wire.KAMEExtXNATTSPort, wire.KAMEExtXNATTDPort}

// setNATT reads the NAT-T extensions of an ADD (key_setnatt). Where they are not all there, and for another protocol
// than ESP, they are left alone.
func (h *heir) setNATT(r *kame.Request, s *kame.SA, x *kame.Index) (errno wire.Errno) {
	if r.Proto() == ip.ProtoESP && r.Has(nattExts...) {
		s.NATT, errno = h.natt(r, x)
	}
	return errno
}

// natt reads the NAT-T extensions. An original address that is the SA's own is none.
func (h *heir) natt(r *kame.Request, x *kame.Index) (*kame.NATT, wire.Errno) {
	n := h.ReadNATT(r)
	if n.Frag = kame.NeverCut; n.Type != wire.KAMENATTESP || n.Sport == 0 || n.Dport == 0 {
		return nil, wire.EINVAL
	}
	for _, o := range []struct {
		ext wire.ExtType
		own *kame.Sockaddr
		to  *kame.Sockaddr
	}{{wire.KAMEExtXNATTOA, &x.Src, &n.OAI}, {wire.KAMEExtXNATTOAR, &x.Dst, &n.OAR}} {
		raw := r.Ext(o.ext)
		if raw == nil {
			continue
		}
		a := kame.SockaddrOf(raw)
		if uint16(a.Family()) != h.Dialect().AFInet || !a.Addr().Is4() {
			return nil, wire.EINVAL
		}
		if a.Addr() != o.own.Addr() {
			*o.to = a
		}
	}
	return n, wire.OK
}

// move gives an SA with keys other ends and ports (key_updateaddresses).
func (h *heir) move(r *kame.Request, s *kame.SA, x *kame.Index) wire.Errno {
	src, dst := r.Ext(wire.FreeBSDExtXNewAddressSrc), r.Ext(wire.FreeBSDExtXNewAddressDst)
	moves := src != nil || dst != nil
	n := s.NATT
	switch {
	case r.Has(nattExts...):
		if r.Proto() != ip.ProtoESP {
			return wire.EINVAL
		}
		var errno wire.Errno
		if n, errno = h.natt(r, x); errno != wire.OK {
			return errno
		}
	case r.Has(wire.KAMEExtXNATTType), !moves && n != nil:
		return wire.EINVAL
	case moves:
		n = nil
	}
	to := s.Head.Index
	if src != nil {
		to.Src = kame.SockaddrOf(src).WithPort(0)
	}
	if dst != nil {
		to.Dst = kame.SockaddrOf(dst).WithPort(0)
	}
	if to.Src.Family() != to.Dst.Family() || !to.Src.Addr().IsValid() || !to.Dst.Addr().IsValid() {
		return wire.EINVAL
	}
	if !h.Move(s, &to, n) {
		return wire.ENOBUFS
	}
	return wire.OK
}
