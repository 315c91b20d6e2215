package kame

import (
	"encoding/binary"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Knobs of the packet path, which every heir has.
const (
	dfBit = "net.inet.ipsec.dfbit"
	ecn4  = "net.inet.ipsec.ecn"
	ecn6  = "net.inet6.ipsec6.ecn"
)

// Outbound implements [engine.Packets]. There are no tunnel interfaces here, so that their name means nothing. Where IP
// must cut the packet first, the verdict is about the first piece, and the others are sent beside.
func (k *Kernel) Outbound(p *packet.Packet, _ string) {
	o := k.output(p, p.Data)
	var beside [][]byte
	if o.Via == engine.ViaFrag {
		pieces, ok := cut(p.Data, o.most)
		if !ok {
			k.end(p, drop(packet.BadLength, none, wire.EMSGSIZE))
			return
		}
		o = k.output(p, pieces[0])
		for _, piece := range pieces[1:] {
			if rest := k.output(p, piece); rest.Via != "" && rest.Via != engine.ViaFrag {
				beside = append(beside, rest.Packet)
			}
		}
	}
	if o.Via == "" || o.Via == engine.ViaFrag {
		k.end(p, o)
	} else {
		p.End(packet.Verdict{Kind: packet.Transmitted, Inner: o.Packet})
	}
	for _, pkt := range beside {
		k.e.Emit(pkt)
	}
}

// Output offers a packet to IPsec where IP's output does, and says what becomes of it (ipsec4_output, ipsec6_output).
// It takes no control lock.
func (k *Kernel) Output(pkt []byte) engine.Passage { return k.output(&packet.Packet{}, pkt).Passage }

// via is the output of the IP that a packet has.
func via(v6 bool) string {
	if v6 {
		return engine.ViaIP6
	}
	return engine.ViaIP
}

func (k *Kernel) output(p *packet.Packet, pkt []byte) outcome {
	s := passing{p: p}
	if !s.read(pkt) {
		return drop(packet.BadHeader, none, wire.EINVAL)
	}
	if o, signed := k.sign(&s); !signed {
		return o
	}
	pol := k.policyFor(wire.KAMEDirOut, k.flowOf(&s.Header, s.pkt))
	switch {
	case pol == nil || pol.Type == wire.KAMEPolicyNone:
		return outcome{Passage: engine.Passage{Via: engine.ViaClear, Packet: s.pkt}}
	case pol.Type == wire.KAMEPolicyDiscard, len(pol.Requests) == 0:
		// Protection is wanted, and nobody says which: the originals follow a null pointer.
		return k.drop(&s, packet.PolicyDiscard, CountOutPolicy.family(s.V6), k.page.Packets.Discarded)
	}
	return k.protect(&s, pol)
}

// protect puts a packet through the SAs that a policy wants, one after the other (ipsec4_process_packet,
// ipsec6_process_packet, ipsec_process_done).
func (k *Kernel) protect(s *passing, pol *Policy) outcome {
	page := &k.page.Packets
	s.chain = noChain{}
	if page.Chain != nil {
		s.chain = page.Chain(s.V6, len(s.pkt))
	}
	done := false
	for i := range pol.Requests {
		q := &pol.Requests[i]
		if done {
			k.tally.count(s.p, CountOutBundle.family(s.V6), 1)
		}
		if page.KnobsFirst && k.disabled(q.Proto) {
			return k.drop(s, packet.PolicyDiscard, CountDisabled.of(q.Proto), wire.EHOSTUNREACH)
		}
		sa, n, o := k.ready(s, pol, i)
		switch {
		case o.reason != packet.NoReason || o.Via != "":
			return o
		case sa == nil:
			continue
		}
		p := sa.Protection()
		if q.Mode == wire.ModeTunnel || p.Dst.Is6() != s.V6 || p.Dst != s.Dst && !p.Dst.IsUnspecified() {
			if !k.encapsulate(s, p) {
				return drop(packet.BadLength, none, wire.EMSGSIZE)
			}
		}
		if o := k.transform(s, sa, p, n); o.reason != packet.NoReason {
			return o
		}
		done = true
	}
	if !done && !page.Reinjects {
		return outcome{Passage: engine.Passage{Via: engine.ViaClear, Packet: s.pkt}}
	}
	return outcome{Passage: engine.Passage{Via: via(s.V6), Packet: s.pkt}}
}

// ready finds the SA for the request of a policy in some place, and numbers for the packet; no SA if the packet can go
// without one.
func (k *Kernel) ready(s *passing, pol *Policy, place int) (*SA, numbers, outcome) {
	q := &pol.Requests[place]
	for {
		sa, o := k.supply(s, pol, q)
		if sa == nil {
			return nil, numbers{}, o
		}
		if k.disabled(q.Proto) {
			return nil, numbers{}, k.drop(s, packet.PolicyDiscard, CountDisabled.of(q.Proto), wire.EHOSTUNREACH)
		}
		p := sa.Protection()
		if f := p.NATT; place == 0 && !s.V6 && f != nil && f.Type == wire.KAMENATTESP && f.Frag != 0 &&
			len(s.pkt) > int(f.Frag) {
			return nil, numbers{},
				outcome{Passage: engine.Passage{Via: engine.ViaFrag, Packet: s.pkt}, most: int(f.Frag)}
		}
		switch n, usable, left := sa.assign(p); {
		case !usable: // it has gone in this moment
		case !left:
			return nil, n, k.drop(s, packet.Replayed, CountWrap.of(q.Proto), wire.EINVAL)
		default:
			return sa, n, outcome{}
		}
	}
}

// supply finds the SA that a request wants, and asks key management for one if there is none.
func (k *Kernel) supply(s *passing, pol *Policy, q *PolicyRequest) (*SA, outcome) {
	x := q.index(k.SockaddrFrom(s.Src, 0), k.SockaddrFrom(s.Dst, 0))
	if sa := k.choose(&x); sa != nil {
		return sa, outcome{}
	}
	k.acquire(pol, x)
	required := k.level(q) == wire.KAMELevelRequire
	if required || k.page.Packets.CountsOptional {
		k.tally.count(s.p, CountOutNoSA.family(s.V6), 1)
	}
	if !required {
		return nil, outcome{}
	}
	k.tally.count(s.p, CountOutInvalid.family(s.V6), 1)
	return nil, drop(packet.NoSA, CountOutNoSA.family(s.V6), wire.OK)
}

// encapsulate puts the header of a tunnel in front (ipip_output); false if the packet would be too long. Its
// identification is 0, as in the recordings, where IP had none to give.
func (k *Kernel) encapsulate(s *passing, p *Protection) bool {
	f := ip.Fields{Src: p.Src, Dst: p.Dst, Proto: ip.ProtoIPv4, TTL: ip.TTL, TOS: ip.TOS(s.pkt)}
	if s.V6 {
		f.Proto = ip.ProtoIPv6
	}
	ecn := ecn6
	if p.Dst.Is4() {
		ecn = ecn4
		switch k.Knob(dfBit) {
		case 1:
			f.DF = true
		case 2:
			f.DF = !s.V6 && s.pkt[6]&0x40 != 0
		}
	}
	if k.Knob(ecn) == 0 {
		f.TOS &^= 3
	}
	if ip.TooLong(f.Len()+len(s.pkt), p.Dst.Is6()) {
		return false
	}
	k.tally.count(s.p, CountTunnelOut, 1)
	k.tally.count(s.p, CountTunnelOutBytes, len(s.pkt))
	s.chain.Prepend(f.Len())
	s.read(f.Make(s.pkt))
	return true
}

// transform protects a packet with one SA (esp_output, ah_output, ipcomp_output).
func (k *Kernel) transform(s *passing, sa *SA, p *Protection, n numbers) outcome {
	h := s.Header
	if !h.WalkTransport(s.pkt) {
		return k.drop(s, packet.BadHeader, CountHeader.of(p.Proto), wire.EINVAL)
	}
	size := len(s.pkt) - h.Off
	if p.Proto == ip.ProtoComp {
		return k.compress(s, sa, p, &h)
	}
	k.tally.count(s.p, CountOutput.of(p.Proto), 1)
	if p.Transform == nil {
		return k.drop(s, packet.CryptoFailed, CountCrypto.of(p.Proto), wire.EINVAL)
	}
	seal := ipsec.Sealing{SPI: p.SPI, Seq: n.seq}
	var udp ipsec.Ports
	if p.Proto == ip.ProtoESP {
		_, seal.Align = k.blockOf(p)
		seal.Pad = k.padding(p.Flags)
		if p.NATT != nil && p.NATT.Type != 0 {
			udp = ipsec.Ports{Src: p.NATT.Sport, Dst: p.NATT.Dport}
		}
	}
	var err error
	if seal.IV, err = p.Transform.AppendIV(nil, n.iv, k.e.Rand()); err != nil {
		return k.drop(s, packet.CryptoFailed, CountCrypto.of(p.Proto), wire.EINVAL)
	}
	pkt, err := p.Transform.SealTransport(nil, s.pkt, udp, seal)
	switch err {
	case nil:
	case ipsec.ErrFragment:
		return drop(packet.Fragment, none, wire.EINVAL)
	case ipsec.ErrTooLong:
		return k.drop(s, packet.BadLength, CountTooBig.of(p.Proto), wire.EMSGSIZE)
	default:
		return k.drop(s, packet.CryptoFailed, CountCrypto.of(p.Proto), wire.EINVAL)
	}
	k.tally.count(s.p, CountOutBytes.of(p.Proto), size)
	if p.Proto == ip.ProtoAH {
		k.tally.count(s.p, CountInserted, s.chain.Insert(h.Off, len(pkt)-len(s.pkt)))
		if !s.V6 {
			s.chain.Gather(h.Off)
		}
	} else {
		k.tally.count(s.p, CountInserted, s.chain.Insert(h.Off, p.espHeader()))
	}
	counted := len(pkt)
	if udp != (ipsec.Ports{}) {
		k.tally.count(s.p, CountInserted, s.chain.Insert(h.Off, ip.LenUDP))
		if !k.page.Packets.CountsUDP {
			counted -= ip.LenUDP
		}
	}
	k.record(sa, counted)
	s.read(pkt)
	return outcome{}
}

// espHeader is the length of ESP's header with its IV.
func (p *Protection) espHeader() int {
	n := 8
	if p.Transform.Suite().Old {
		n = 4
	}
	return n + p.Transform.IVLen()
}

// padding is what the flags of an SA want as padding; nil: 1, 2, 3, ...
func (k *Kernel) padding(flags wire.SAFlags) []byte {
	if flags&(wire.KAMEFlagXPRand|wire.KAMEFlagXPZero) == 0 {
		return nil
	}
	pad := make([]byte, 255)
	if flags&wire.KAMEFlagXPZero == 0 {
		k.e.Random(pad)
	}
	return pad
}

// cut cuts an IPv4 packet into pieces of at most so many bytes, as IP does; false if it must not be cut, or cannot be.
func cut(pkt []byte, most int) (pieces [][]byte, ok bool) {
	const df, more = 0x4000, 0x2000
	var h ip.Header
	if h.Parse(pkt) != ip.Fine || binary.BigEndian.Uint16(pkt[6:])&df != 0 {
		return nil, false
	}
	room := (most - h.Off) &^ 7
	if room <= 0 {
		return nil, false
	}
	head, data := pkt[:h.Off], pkt[h.Off:h.End]
	for at := 0; at < len(data); at += room {
		part := data[at:min(at+room, len(data))]
		piece := append(append(make([]byte, 0, len(head)+len(part)), head...), part...)
		field := uint16((h.FragOff + at) / 8)
		if at+room < len(data) || h.More {
			field |= more
		}
		binary.BigEndian.PutUint16(piece[6:], field)
		ip.SetLength(piece)
		pieces = append(pieces, piece)
	}
	return pieces, len(pieces) > 0
}
