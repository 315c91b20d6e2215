package netbsd

import (
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Fits implements [kame.Heir] (key_saidx_match with CMP_REQID). The mode is not compared.
func (h *heir) Fits(g *kame.Head, x *kame.Index) bool {
	if x.ReqID != 0 && g.ReqID != x.ReqID {
		return false
	}
	if x.Mode != wire.ModeTransport && x.Mode != wire.ModeTunnel {
		return true
	}
	return portsAgree(g.Src.Port(), x.Src.Port()) && portsAgree(g.Dst.Port(), x.Dst.Port())
}

func portsAgree(a, b uint16) bool { return a == 0 || b == 0 || a == b }

// Admit implements [kame.Heir]. A head that is made stays, whatever comes of the SA.
func (h *heir) Admit(r *kame.Request, s *kame.SA, x *kame.Index) (*kame.Head, wire.Errno) {
	g := h.HeadFor(x)
	if g == nil {
		return nil, wire.ENOBUFS
	}
	s.Head = g
	if !h.IdentitiesPaired(r, h.Knob(differentTypes) != 0) {
		return nil, wire.EINVAL
	}
	if h.InHead(g, s.SPI, alive...) != nil {
		return nil, wire.EEXIST
	}
	return g, wire.OK
}

// tcpSPI is the SPI that every SA for TCP signatures has.
const tcpSPI = 0x1000

// CheckSA implements [kame.Heir] (key_newsav, key_setsaval, and the checks of key_mature that remained in each
// transform).
func (h *heir) CheckSA(r *kame.Request, s *kame.SA, x *kame.Index) wire.Errno {
	const header = 8
	auth, encrypt := r.Ext(wire.ExtKeyAuth), r.Ext(wire.ExtKeyEncrypt)
	bare := func(ext []byte) bool { return len(ext) == header }
	v := &s.Shown
	bad := bare(auth) && v.Auth != wire.AuthNull
	switch r.Proto() {
	case ip.ProtoESP:
		bad = bad || s.SPI <= 255 || bare(encrypt) && v.Encrypt != wire.EncNull || v.Flags&wire.KAMEFlagXIV4B != 0 ||
			v.Flags&wire.KAMEFlagXOld != 0 && v.Flags&wire.KAMEFlagXDeriv != 0
	case ip.ProtoAH:
		bad = bad || s.SPI <= 255 || encrypt != nil || v.Encrypt != 0 || v.Flags&wire.KAMEFlagXDeriv != 0
	case ip.ProtoComp:
		bad = bad || auth != nil || encrypt != nil && !bare(encrypt) || v.Auth != 0 ||
			s.SPI > 0xffff && v.Flags&wire.KAMEFlagXRawCPI == 0
	default:
		bad = bad || h.Knob(kame.TCPMD5) == 0 || encrypt != nil || s.SPI != tcpSPI
	}
	if bad {
		return wire.EINVAL
	}
	if r.Proto() == ip.ProtoComp {
		s.Encrypt = nil
	}
	s.Window = 8 * uint32(v.Replay)
	if v.Flags&wire.KAMEFlagXOld != 0 {
		v.Replay, s.Window = 0, 0
	}
	if s.NATT = h.ReadNATT(r); s.NATT != nil {
		h.SetPorts(s.Head, s.NATT.Sport, s.NATT.Dport)
	}
	return wire.OK
}
