package openbsd

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Outbound implements [engine.Packets]. There are no tunnel interfaces here, so that their name means nothing. What is
// protected goes to the output of IP again, where flows are asked about it once more: an SA that it went through
// already is not used twice (ip_output_ipsec_lookup).
func (k *Kernel) Outbound(p *packet.Packet, _ string) {
	s := passing{p: p}
	if !s.read(p.Data) {
		o := drop(packet.BadHeader, wire.OK)
		o.end(p)
		return
	}
	o := k.sign(&s)
	for o.reason == packet.NoReason {
		if len(s.done) > maxLayers {
			o = drop(packet.TooManyLayers, wire.OK)
			break
		}
		var sa *SA
		if sa, o = k.lookup(&s, dirOut); sa == nil || slices.Contains(s.done, sa) {
			break
		}
		if o = k.process(&s, sa); o.reason != packet.NoReason {
			k.tally.count(p, countDropsOut, 1)
			if o.counter == "" {
				o.counter = counterNames[countDropsOut]
			}
			sa.Lock()
			sa.counter.OutDrops++
			sa.Unlock()
		}
	}
	if o.reason != packet.NoReason {
		o.end(p)
		return
	}
	p.End(packet.Verdict{Kind: packet.Transmitted, Inner: s.pkt})
}

// Output offers a packet to IPsec where IP's output does, and says what becomes of it: where it is protected once,
// there it stops. It takes no control lock.
func (k *Kernel) Output(rdomain int, pkt []byte) engine.Passage {
	s := passing{p: &packet.Packet{}, rdomain: rdomain}
	if !s.read(pkt) {
		return engine.Passage{Errno: wire.EINVAL}
	}
	sa, o := k.lookup(&s, dirOut)
	switch {
	case o.reason != packet.NoReason:
		return o.Passage
	case sa == nil:
		return s.passed(engine.ViaClear).Passage
	}
	if o = k.process(&s, sa); o.reason != packet.NoReason {
		return o.Passage
	}
	if s.V6 {
		return s.passed(engine.ViaIP6).Passage
	}
	return s.passed(engine.ViaIP).Passage
}

// process puts a packet through an SA and those that are linked behind it (ipsp_process_packet, ipsp_process_done).
func (k *Kernel) process(s *passing, sa *SA) outcome {
	var first []*SA                   // of this chain
	fail := func(o outcome) outcome { // what the SAs before have protected cannot be sent
		for _, sa := range first {
			if sa.Proto != ip.ProtoIPv4 {
				k.tally.count(s.p, countOutFail.of(sa.Proto), 1)
			}
		}
		return o
	}
	for ; sa != nil; sa = sa.next.Load() {
		if len(first) == maxLayers {
			return fail(drop(packet.TooManyLayers, wire.EMSGSIZE))
		}
		transformed, o := k.protect(s, sa)
		if o.reason != packet.NoReason {
			return fail(o)
		}
		if transformed {
			first = append(first, sa)
		}
		if o = k.protected(s, sa); o.reason != packet.NoReason {
			return fail(o)
		}
	}
	return outcome{}
}

// protect puts a packet through one SA (ipsp_process_packet). transformed tells that something was done to it.
func (k *Kernel) protect(s *passing, sa *SA) (transformed bool, o outcome) {
	p := sa.Protection()
	switch {
	case !k.permitted(sa.Proto):
		return false, drop(packet.PolicyDiscard, wire.EHOSTUNREACH)
	case p == nil:
		return false, drop(packet.LarvalDropped, wire.ENXIO)
	}
	k.use(sa)
	if p.Dst.Is6() != s.V6 || p.Flags&wire.OpenBSDFlagXTunnel != 0 || sa.Proto == ip.ProtoIPv4 ||
		!p.Dst.IsUnspecified() && p.Dst != s.Dst {
		if o = encapsulate(s, p); o.reason != packet.NoReason {
			return false, o
		}
		if sa.Proto == ip.ProtoIPv4 {
			sa.Lock()
			sa.bytes += uint64(len(s.pkt) - s.Off)
			sa.Unlock()
		}
	}
	if sa.Proto == ip.ProtoIPv4 {
		return false, outcome{}
	}
	h := s.Header
	if !h.WalkTransport(s.pkt) {
		return false, drop(packet.BadHeader, wire.EINVAL)
	}
	k.tally.count(s.p, countUncompressed, len(s.pkt))
	sa.Lock()
	sa.counter.OutUncompressed += uint64(len(s.pkt))
	sa.Unlock()
	if sa.Proto == ip.ProtoComp {
		return k.compress(s, sa, &h)
	}
	return true, k.seal(s, sa, p, &h)
}

// encapsulate puts the header of a tunnel in front (ipip_output).
func encapsulate(s *passing, p *Protection) outcome {
	if !p.Src.IsValid() || p.Src.Is6() != p.Dst.Is6() || p.Src.IsUnspecified() || p.Dst.IsUnspecified() {
		return drop(packet.NoRoute, wire.EINVAL)
	}
	f := ip.Fields{Src: p.Src, Dst: p.Dst, Proto: ip.ProtoIPv4, TTL: ip.TTL, TOS: ip.TOS(s.pkt)}
	if s.V6 {
		f.Proto = ip.ProtoIPv6
	}
	const ce, ect0 = 3, 2
	if f.TOS&ce == ce { // RFC 3168 section 9.1.1
		f.TOS = f.TOS&^ce | ect0
	}
	f.DF = !s.V6 && p.Dst.Is4() && s.pkt[6]&0x40 != 0
	if ip.TooLong(f.Len()+len(s.pkt), p.Dst.Is6()) {
		return drop(packet.BadLength, wire.EMSGSIZE)
	}
	s.read(f.Make(s.pkt))
	return outcome{}
}

// seal protects a packet with ESP or AH (esp_output, ah_output), h being its headers up to what is protected.
func (k *Kernel) seal(s *passing, sa *SA, p *Protection, h *ip.Header) outcome {
	t := p.Transform
	k.tally.count(s.p, countOutput.of(sa.Proto), 1)
	if t == nil {
		return k.drop(s, packet.CryptoFailed, countNoCrypto, wire.EINVAL)
	}
	seal := ipsec.Sealing{SPI: sa.SPI}
	size := len(s.pkt) - h.Off
	grown := ahFixed + t.ICVLen()
	if sa.Proto == ip.ProtoESP {
		seal.Align = AlignESP(t.Suite())
		grown = 8 + t.IVLen() + (size+2+max(seal.Align, 4)-1)/max(seal.Align, 4)*max(seal.Align, 4) - size + t.ICVLen()
	} else {
		seal.Align = AlignAH
	}
	if len(s.pkt)+grown > ip.MaxLen {
		return k.drop(s, packet.BadLength, countTooBig.of(sa.Proto), wire.EMSGSIZE)
	}
	k.tally.count(s.p, countOutBytes.of(sa.Proto), size)
	if !k.spend(s, sa, size) {
		return drop(packet.BytesExpired, wire.EINVAL)
	}
	sa.Lock()
	seal.Seq = sa.replay.count
	sa.replay.count++
	sa.Unlock()
	var err error
	if seal.IV, err = t.AppendIV(nil, seal.Seq, k.e.Rand()); err == nil {
		var pkt []byte
		if pkt, err = t.SealTransport(nil, s.pkt, ipsec.Ports{}, seal); err == nil {
			s.read(pkt)
			return outcome{}
		}
	}
	if err == ipsec.ErrFragment {
		return drop(packet.Fragment, wire.EINVAL)
	}
	return k.drop(s, packet.CryptoFailed, countNoCrypto, wire.EINVAL)
}

// AlignAH is what the length of an AH header is a multiple of, in bytes.
const AlignAH = 4

// AlignESP is what the payload of ESP with a suite is a multiple of, in bytes.
func AlignESP(s *ipsec.Suite) int { return max(blockOf(s), 4) }

// protected ends the way of a packet through an SA (ipsp_process_done).
func (k *Kernel) protected(s *passing, sa *SA) outcome {
	now := k.e.Now().Unix()
	sa.Lock()
	sa.lastUse = now
	sa.Unlock()
	if p := sa.Protection(); p.Flags&wire.OpenBSDFlagXUDPEncap != 0 {
		if o := k.putInUDP(s, p); o.reason != packet.NoReason {
			return o
		}
	}
	k.tally.count(s.p, countPacketsOut, 1)
	k.tally.count(s.p, countAllOut, len(s.pkt))
	sa.Lock()
	sa.counter.OutPackets++
	sa.counter.OutBytes += uint64(len(s.pkt))
	sa.Unlock()
	s.done = append(s.done, sa)
	s.rdomain = sa.After
	return outcome{}
}

// putInUDP puts UDP around a packet, behind the first header.
func (k *Kernel) putInUDP(s *passing, p *Protection) outcome {
	port := k.encapPort()
	if port == 0 {
		return drop(packet.EncapMismatch, wire.ENXIO)
	}
	to := port
	if p.UDPPort != 0 {
		to = p.UDPPort
	}
	var h ip.Header
	h.Parse(s.pkt)
	n := len(s.pkt) - h.Off + ip.LenUDP
	if ip.TooLong(h.Off+n, h.V6) || n > ip.MaxLen {
		return drop(packet.BadLength, wire.EMSGSIZE)
	}
	pkt := append(append(make([]byte, 0, h.Off+n), s.pkt[:h.Off]...), make([]byte, ip.LenUDP)...)
	ip.PutUDP(pkt[h.Off:], port, to, n)
	pkt = append(pkt, s.pkt[h.Off:]...)
	pkt[h.NextOff] = ip.ProtoUDP
	ip.SetLength(pkt)
	if h.V6 {
		ip.SetUDPChecksum(pkt, h.Off)
	}
	k.tally.count(s.p, countUDPOut, 1)
	s.read(pkt)
	return outcome{}
}
