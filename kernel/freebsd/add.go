package freebsd

import (
	"math"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Fits implements [kame.Heir] (key_cmpsaidx with CMP_MODE_REQID).
func (h *heir) Fits(g *kame.Head, x *kame.Index) bool {
	return (x.ReqID == 0 || g.ReqID == x.ReqID) && (g.Mode == wire.ModeAny || g.Mode == x.Mode)
}

// Admit implements [kame.Heir]. There is one space of SPIs for all protocols.
func (h *heir) Admit(r *kame.Request, s *kame.SA, x *kame.Index) (*kame.Head, wire.Errno) {
	if x.Proto == ip.ProtoTCP {
		return nil, h.admitTCP(s, x)
	}
	if h.InUse(s.SPI) {
		return nil, wire.EEXIST
	}
	return nil, wire.OK
}

// admitTCP admits an SA for TCP signatures: one for a pair. If its SPI is in use it gets another one without a word.
func (h *heir) admitTCP(s *kame.SA, x *kame.Index) wire.Errno {
	if s.SPI == 0 || h.ofPair(x) != nil {
		return wire.EEXIST
	}
	if h.InUse(s.SPI) {
		var errno wire.Errno
		if s.SPI, errno = h.AnySPI(x.Proto); errno != wire.OK {
			return errno
		}
	}
	return wire.OK
}

// ofPair is an SA of a pair; nil if there is none.
func (h *heir) ofPair(x *kame.Index) *kame.SA {
	for _, g := range h.HeadsOf(x) {
		for _, st := range []sadb.State{sadb.Mature, sadb.Dying, sadb.Larval} {
			for s := range g.List(st) {
				return s
			}
		}
	}
	return nil
}

// flagsKept are those that an SA may have.
const flagsKept = 0xfff

// CheckSA implements [kame.Heir] (key_newsav, key_setsaval).
func (h *heir) CheckSA(r *kame.Request, s *kame.SA, x *kame.Index) wire.Errno {
	auth, encrypt := r.Ext(wire.ExtKeyAuth), r.Ext(wire.ExtKeyEncrypt)
	v := &s.Shown
	bad := v.Flags&^flagsKept != 0 || !h.IdentitiesPaired(r, false) || bare(auth) && v.Auth != wire.AuthNull
	switch r.Proto() {
	case ip.ProtoESP, ip.ProtoAH:
		bad = bad || reserved(r.Proto(), s.SPI) || v.Flags&(wire.KAMEFlagXOld|wire.KAMEFlagXIV4B) != 0 ||
			bare(encrypt) && v.Encrypt != wire.EncNull ||
			r.Proto() == ip.ProtoAH && (encrypt != nil || v.Encrypt != 0)
	case ip.ProtoComp:
		bad = bad || auth != nil || encrypt != nil && !bare(encrypt) || v.Auth != 0 ||
			s.SPI > 0xffff && v.Flags&wire.KAMEFlagXRawCPI == 0
	default:
		bad = bad || h.Knob(kame.TCPMD5) == 0 || encrypt != nil || v.Encrypt != 0 || auth == nil
	}
	if bad {
		return wire.EINVAL
	}
	if r.Proto() == ip.ProtoComp {
		s.Encrypt = nil
	}
	if errno := h.window(r, s); errno != wire.OK {
		return errno
	}
	return h.setNATT(r, s, x)
}

// bare says whether a key extension has no key.
func bare(ext []byte) bool {
	const header = 8
	return len(ext) == header
}

// window reads how many packets the window of replays has.
func (h *heir) window(r *kame.Request, s *kame.SA) wire.Errno {
	if s.Shown.Flags&wire.KAMEFlagXOld == 0 {
		s.Window = 8 * uint32(s.Shown.Replay)
	}
	if raw := r.Ext(wire.FreeBSDExtXSAReplay); raw != nil {
		v, _ := h.Dialect().ParseSAReplay(raw)
		if v.Window > math.MaxUint32-32 {
			return wire.EINVAL
		}
		s.Window = (v.Window + 7) &^ 7
	}
	s.Shown.Replay = uint8(min(s.Window/8, 255))
	return wire.OK
}
