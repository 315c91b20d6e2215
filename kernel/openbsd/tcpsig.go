package openbsd

import (
	"runtime"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// signer has the key for the TCP segments between the ends of a packet (gettdbbysrcdst); nil: there is none. In the
// original a socket asks for signatures (TCP_MD5SIG), and the SA is looked for then. Sockets are not seen here, so the
// SA decides. One without a source is for all.
func (k *Kernel) signer(s *passing) *Protection {
	if s.Proto != ip.ProtoTCP || s.Fragment() {
		return nil
	}
	signs := func(sa *SA) bool {
		p := sa.Protection()
		return p != nil && (p.Src == s.Src || !p.Src.IsValid())
	}
	sa := k.tdb.byDst.find(end{s.rdomain, ip.ProtoTCP, s.Dst}, signs)
	if sa == nil {
		return nil
	}
	return sa.Protection()
}

// sign signs a TCP segment that goes out, if there is an SA for it (tcp_signature).
func (k *Kernel) sign(s *passing) outcome {
	if h := s.Header; !h.Walk(s.pkt) || h.Off >= len(s.pkt) {
		return outcome{}
	} else if s.Proto = h.Proto; h.Proto == ip.ProtoTCP {
		p := k.signer(s)
		if p == nil {
			return outcome{}
		}
		pkt, err := ipsec.SignTCP(s.pkt, h.Off, p.TCP.AuthKey)
		runtime.KeepAlive(p.TCP) // its key is overwritten after it
		if err != nil {
			return drop(packet.CryptoFailed, wire.OK)
		}
		s.read(pkt)
	}
	return outcome{}
}

// checkSignature checks that of a TCP segment that came in. Where there is no SA for it, it is TCP's business whether
// it may have one.
func (k *Kernel) checkSignature(s *passing) (o outcome, fine bool) {
	p := k.signer(s)
	if p == nil {
		return outcome{}, true
	}
	err := ipsec.VerifyTCP(s.pkt, s.Off, p.TCP.AuthKey)
	runtime.KeepAlive(p.TCP)
	if err != nil {
		return k.drop(s, packet.BadICV, countBadSignature, wire.OK), false
	}
	k.tally.count(s.p, countGoodSignature, 1)
	return outcome{}, true
}
