package kame

import (
	"runtime"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// signer has the key for the TCP segments between two ends; nil if there is none. In the originals a socket asks for
// signatures (TCP_MD5SIG), and the SA is looked for then. Sockets are not seen here, so the SA decides.
func (k *Kernel) signer(s *passing) (u *ipsec.Suite) {
	x := Index{Proto: ip.ProtoTCP, Src: k.SockaddrFrom(s.Src, 0), Dst: k.SockaddrFrom(s.Dst, 0)}
	k.Heads(&x, func(h *Head) bool {
		if sa := k.page.Packets.Choose(k, h); sa != nil {
			u = sa.Protection().Suite
		}
		return u == nil
	})
	return u
}

// sign signs a TCP segment that goes out, if there is an SA for it (tcp_ipsec_output, tcp_signature); false if it
// cannot be done.
func (k *Kernel) sign(s *passing) (o outcome, fine bool) {
	h := s.Header
	if !h.Walk(s.pkt) || h.Proto != ip.ProtoTCP || h.Fragment() || k.Knob(TCPMD5) == 0 {
		return outcome{}, true
	}
	u := k.signer(s)
	if u == nil {
		return outcome{}, true
	}
	pkt, err := ipsec.SignTCP(s.pkt, h.Off, u.AuthKey)
	runtime.KeepAlive(u) // its key is overwritten after it
	if err != nil {
		return k.drop(s, packet.CryptoFailed, CountUnsigned, wire.EINVAL), false
	}
	s.read(pkt)
	return outcome{}, true
}

// checkSignature checks that of a TCP segment that came in (tcp_ipsec_input, tcp_signature_check). Where there is no SA
// for it, it is TCP's business whether it may have one.
func (k *Kernel) checkSignature(s *passing) (o outcome, fine bool) {
	if k.Knob(TCPMD5) == 0 {
		return outcome{}, true
	}
	u := k.signer(s)
	if u == nil {
		return outcome{}, true
	}
	err := ipsec.VerifyTCP(s.pkt, s.Off, u.AuthKey)
	runtime.KeepAlive(u) // its key is overwritten after it
	switch err {
	case nil:
		k.tally.count(s.p, CountGoodSignature, 1)
		return outcome{}, true
	case ipsec.ErrUnsigned:
		return k.drop(s, packet.BadICV, CountNoSignature, wire.OK), false
	}
	return k.drop(s, packet.BadICV, CountBadSignature, wire.OK), false
}
