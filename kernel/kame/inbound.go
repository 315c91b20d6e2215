package kame

import (
	"encoding/binary"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// maxLayers is how many transforms a packet may come in with.
const maxLayers = 16

// Inbound implements [engine.Packets]: what goes to the input of IP again comes here again.
func (k *Kernel) Inbound(p *packet.Packet) {
	var had []Layer
	for pkt := p.Data; ; {
		if o, fine := k.ipInput(p, pkt); !fine {
			k.end(p, o)
			return
		}
		o := k.input(p, pkt, &had)
		switch o.Via {
		case "":
			k.end(p, o)
			return
		case engine.ViaUpper:
			p.End(packet.Verdict{Kind: packet.Delivered, Inner: o.Packet})
			return
		}
		pkt = o.Packet
	}
}

// ipInput looks at what IP looks at before anybody else does (ip_input, ip6_input).
func (k *Kernel) ipInput(p *packet.Packet, pkt []byte) (o outcome, fine bool) {
	s := passing{p: p}
	if !s.read(pkt) {
		return drop(packet.BadHeader, none, wire.OK), false
	}
	if !s.V6 && ip.Checksum(0, s.pkt[:s.Off]) != 0xffff {
		return drop(packet.BadChecksum, none, wire.OK), false
	}
	if s.Fragment() {
		return drop(packet.Fragment, none, wire.OK), false
	}
	return outcome{}, true
}

// Input offers a packet that came in to IPsec, and says what becomes of it: where it comes out, there it stops. It
// takes no control lock.
func (k *Kernel) Input(pkt []byte) engine.Passage {
	var had []Layer
	return k.input(&packet.Packet{}, pkt, &had).Passage
}

// input takes off the transforms that a packet came in with, as long as the original goes on by itself, and asks the
// policy about what has none left. had has the transforms it has been through.
func (k *Kernel) input(p *packet.Packet, pkt []byte, had *[]Layer) outcome {
	s := passing{p: p}
	if !s.read(pkt) {
		return drop(packet.BadHeader, none, wire.OK)
	}
	for {
		if !s.Walk(s.pkt) {
			return drop(packet.BadHeader, none, wire.OK)
		}
		port := uint16(0)
		switch s.Proto {
		case ip.ProtoUDP:
			esp, o := k.fromUDP(&s, had)
			if !esp {
				return o
			}
			port = o.port
		case ip.ProtoESP, ip.ProtoAH, ip.ProtoComp:
		default:
			return k.deliver(&s, *had)
		}
		if len(*had) == maxLayers {
			return drop(packet.TooManyLayers, none, wire.OK)
		}
		o := k.open(&s, port, had)
		if o.reason != packet.NoReason || o.Via != "" {
			return o
		}
	}
}

// fromUDP takes ESP out of a UDP packet, if there is some and a socket that wants it (udp4_espinudp, udp_ipsec_input).
// Otherwise the packet is delivered, or dropped.
func (k *Kernel) fromUDP(s *passing, had *[]Layer) (esp bool, o outcome) {
	udp := s.pkt[s.Off:]
	if len(udp) < ip.LenUDP || !k.encaps.has(binary.BigEndian.Uint16(udp[2:])) {
		return false, k.deliver(s, *had)
	}
	if k.page.Packets.PolicyBeforeUDP {
		if o := k.deliver(s, *had); o.Via == "" {
			return false, o
		}
	}
	data := udp[ip.LenUDP:]
	const marker = 4 // zeros where ESP has its SPI
	switch {
	case len(data) == 1 && data[0] == 0xff:
		return false, drop(packet.Keepalive, none, wire.OK)
	case len(data) <= marker || binary.BigEndian.Uint32(data) == 0:
		return false, k.deliver(s, *had)
	}
	port := binary.BigEndian.Uint16(udp[2:])
	pkt := append(append(make([]byte, 0, len(s.pkt)-ip.LenUDP), s.pkt[:s.Off]...), data...)
	pkt[s.NextOff] = ip.ProtoESP
	ip.SetLength(pkt)
	s.pkt, s.Proto, s.End = pkt, ip.ProtoESP, len(pkt)
	return true, outcome{port: port}
}

// Opened is a packet of which one transform has been taken off.
type Opened struct {
	V6   bool
	Next uint8 // protocol of what is inside
	Mode wire.Mode
	Had  []Layer // with this one, the last
}

// Course is where a packet goes on.
type Course struct {
	Strip bool   // what is inside is a packet of its own, and goes on alone
	Via   string // where it goes, see [engine.Passage]; empty: on to what is inside
	Drop  bool   // nowhere
}

// open takes off one transform (ipsec_common_input), which may be in UDP for a port. It leaves s with what is inside,
// or says what became of it.
func (k *Kernel) open(s *passing, port uint16, had *[]Layer) outcome {
	proto := s.Proto
	k.tally.count(s.p, CountInput.of(proto), 1)
	if k.disabled(proto) {
		return k.drop(s, packet.PolicyDiscard, CountDisabled.of(proto), wire.OK)
	}
	b := s.pkt[s.Off:]
	if len(b) < 8 {
		return k.drop(s, packet.BadLength, CountHeader.of(proto), wire.OK)
	}
	key := sadb.Key{Dst: s.Dst, Proto: proto}
	switch proto {
	case ip.ProtoESP:
		key.SPI = binary.BigEndian.Uint32(b)
	case ip.ProtoAH:
		key.SPI = binary.BigEndian.Uint32(b[4:])
	default:
		key.SPI = uint32(binary.BigEndian.Uint16(b[2:]))
	}
	for {
		sa, o := k.receiver(s, key, port)
		if sa == nil {
			return o
		}
		p := sa.Protection()
		var pkt []byte
		switch proto {
		case ip.ProtoESP:
			pkt, o = k.openESP(s, sa, p)
		case ip.ProtoAH:
			pkt, o = k.openAH(s, sa, p)
		default:
			pkt, o = k.expand(s)
		}
		switch {
		case o.gone: // in this moment, and another may have its place
		case o.reason != packet.NoReason:
			return o
		default:
			return k.goOn(s, sa, p, pkt, had)
		}
	}
}

// receiver finds the SA of a packet. One that is LARVAL, or gone, is as good as none; one that has gone while it was
// looked at may have left its place to another.
func (k *Kernel) receiver(s *passing, key sadb.Key, port uint16) (*SA, outcome) {
	for again := true; again; {
		again = false
		sa, ok := k.inbound.Find(key, func(a *SA) bool {
			p := a.Protection()
			again = again || a.State() == sadb.Dead
			return a.usable() && p != nil && (port == 0 || p.DstPort == 0 || p.DstPort == port)
		})
		if ok {
			return sa, outcome{}
		}
	}
	reason := packet.NoSA
	if a, ok := k.inbound.Find(key, nil); ok && a.State() == sadb.Larval {
		reason = packet.LarvalDropped
	}
	return nil, k.drop(s, reason, CountNoSA.of(key.Proto), wire.OK)
}

// early looks at the state of the SA and at the sequence number, before any cipher runs.
func (k *Kernel) early(s *passing, sa *SA, p *Protection, seq uint32, looks bool) (high uint32, o outcome) {
	sa.Lock()
	defer sa.Unlock()
	if !sa.usable() {
		return 0, outcome{gone: true}
	}
	if !looks {
		return 0, outcome{}
	}
	high, ok := k.page.Packets.Replays.Check(sa, p, seq)
	if !ok {
		return 0, k.drop(s, packet.ReplayEarly, CountReplay.of(p.Proto), wire.OK)
	}
	return high, outcome{}
}

// late looks at the sequence number once more, and accepts it.
func (k *Kernel) late(s *passing, sa *SA, p *Protection, seq uint32) outcome {
	if p.Flags&wire.KAMEFlagXOld != 0 {
		return outcome{}
	}
	sa.Lock()
	ok := k.page.Packets.Replays.Accept(sa, p, seq)
	sa.Unlock()
	if !ok {
		return k.drop(s, packet.Replayed, CountReplay.of(p.Proto), wire.OK)
	}
	return outcome{}
}

// openESP opens ESP (esp_input, esp_input_cb), and returns the packet with what was inside.
func (k *Kernel) openESP(s *passing, sa *SA, p *Protection) ([]byte, outcome) {
	const proto = ip.ProtoESP
	t := p.Transform
	if t == nil {
		return nil, k.drop(s, packet.CryptoFailed, CountCrypto.of(proto), wire.OK)
	}
	wants, _ := k.blockOf(p)
	size := len(s.pkt) - s.Off - p.espHeader() - t.ICVLen()
	if s.Off%4 != 0 || len(s.pkt)%4 != 0 || size <= 0 || size%wants != 0 {
		return nil, k.drop(s, packet.BadLength, CountBadLength.of(proto), wire.OK)
	}
	esp := s.pkt[s.Off:]
	seq := binary.BigEndian.Uint32(esp[4:])
	high, o := k.early(s, sa, p, seq, t.Authenticated() && p.Flags&wire.KAMEFlagXOld == 0)
	if o.gone || o.reason != packet.NoReason {
		return nil, o
	}
	k.tally.count(s.p, CountInBytes.of(proto), size)
	pkt, err := t.OpenESP(append(make([]byte, 0, s.Off+size), s.pkt[:s.Off]...), esp, high)
	switch err {
	case nil:
	case ipsec.ErrICV:
		return nil, k.drop(s, packet.BadICV, CountBadICV.of(proto), wire.OK)
	default:
		return nil, k.drop(s, packet.CryptoFailed, CountCrypto.of(proto), wire.OK)
	}
	if o = k.late(s, sa, p, seq); o.reason != packet.NoReason {
		return nil, o
	}
	k.tally.count(s.p, CountInMiddle, 1)
	plain := pkt[s.Off:]
	_, next, ok := ipsec.Trailer(plain)
	switch {
	case !ok:
		return nil, k.drop(s, packet.BadPadLength, CountBadLength.of(proto), wire.OK)
	case p.Flags&(wire.KAMEFlagXPRand|wire.KAMEFlagXPZero) != wire.KAMEFlagXPRand && !ipsec.CheckLastPad(plain):
		return nil, k.drop(s, packet.BadPadding, CountBadPadding.of(proto), wire.OK)
	case next == ip.ProtoNone: // RFC 4303 section 2.6
		return nil, drop(packet.Dummy, none, wire.OK)
	}
	pkt = pkt[:s.Off+len(ipsec.Payload(plain))]
	pkt[s.NextOff] = next
	ip.SetLength(pkt)
	return pkt, outcome{}
}

// gathered is how many bytes of a packet the original puts into one buffer to look at them: the headers of IP and of an
// upper protocol.
const gathered = 60

// openAH proves that a packet is genuine (ah_input, ah_input_cb), and returns it without AH.
func (k *Kernel) openAH(s *passing, sa *SA, p *Protection) ([]byte, outcome) {
	const proto = ip.ProtoAH
	t := p.Transform
	if t == nil {
		return nil, k.drop(s, packet.CryptoFailed, CountCrypto.of(proto), wire.OK)
	}
	fixed, old := 12, p.Flags&wire.KAMEFlagXOld != 0
	if old {
		fixed = 8
	}
	ah := s.pkt[s.Off:]
	if len(ah) < fixed {
		return nil, k.drop(s, packet.BadLength, CountHeader.of(proto), wire.OK)
	}
	var seq uint32
	if !old {
		seq = binary.BigEndian.Uint32(ah[8:])
	}
	high, o := k.early(s, sa, p, seq, !old)
	if o.gone || o.reason != packet.NoReason {
		return nil, o
	}
	align := 4
	if s.V6 {
		align = 8
	}
	size := (fixed + t.ICVLen() + align - 1) / align * align
	if (int(ah[1])+2)*4 != size || len(ah) < size {
		return nil, k.drop(s, packet.BadLength, CountBadLength.of(proto), wire.OK)
	}
	k.tally.count(s.p, CountInBytes.of(proto), len(ah)-size)
	switch t.VerifyAH(s.pkt, s.Off, high) {
	case nil:
	case ipsec.ErrICV:
		return nil, k.drop(s, packet.BadICV, CountBadICV.of(proto), wire.OK)
	default:
		return nil, k.drop(s, packet.BadHeader, CountHeader.of(proto), wire.OK)
	}
	if o = k.late(s, sa, p, seq); o.reason != packet.NoReason {
		return nil, o
	}
	first := len(s.pkt)
	if !s.V6 {
		first = min(first, max(s.Off, gathered))
	}
	if s.Off+size >= first {
		k.tally.count(s.p, CountInEnd, 1)
	} else {
		k.tally.count(s.p, CountInMiddle, 1)
	}
	next := ah[0]
	pkt := append(append(make([]byte, 0, len(s.pkt)-size), s.pkt[:s.Off]...), ah[size:]...)
	pkt[s.NextOff] = next
	ip.SetLength(pkt)
	return pkt, outcome{}
}

// goOn counts a packet on its SA and sends it on: pkt is what s is without the transform.
func (k *Kernel) goOn(s *passing, sa *SA, p *Protection, pkt []byte, had *[]Layer) outcome {
	if s.Proto == ip.ProtoComp {
		k.tally.count(s.p, CountInMiddle, 1)
	}
	outer := s.pkt
	*had = append(*had, Layer{s.Proto, p.Mode, s.Dst})
	s.pkt, s.Proto, s.End = pkt, pkt[s.NextOff], len(pkt)
	course := k.page.Packets.Opened(&Opened{s.V6, s.Proto, p.Mode, *had})
	bytes := len(pkt)
	if course.Drop {
		k.record(sa, bytes)
		return k.drop(s, packet.BadMode, CountUnsupported.family(s.V6), wire.OK)
	}
	if course.Strip {
		inner, ok := k.strip(s, outer)
		if !ok {
			return drop(packet.BadHeader, none, wire.OK)
		}
		if !k.page.Packets.CountsOuter {
			bytes = len(inner)
		}
		s.pkt = inner
	}
	k.record(sa, bytes)
	if course.Via != "" {
		return outcome{Passage: engine.Passage{Via: course.Via, Packet: s.pkt}}
	}
	return outcome{}
}

// strip takes a packet out of its tunnel (ipip_input). outer is the packet that came in, which may have met congestion.
func (k *Kernel) strip(s *passing, outer []byte) (inner []byte, ok bool) {
	inner, err := ipsec.DecapTunnel(s.pkt[s.Off:], s.Proto)
	if err != nil {
		return nil, false
	}
	k.tally.count(s.p, CountTunnelIn, 1)
	k.tally.count(s.p, CountTunnelInBytes, len(inner))
	k.tally.count(s.p, CountInFront, 1)
	ecn := ecn4
	if s.V6 {
		ecn = ecn6
	}
	const ce = 3
	if tos := ip.TOS(inner); k.Knob(ecn) == 1 && ip.TOS(outer)&ce == ce && tos&ce != 0 {
		ip.SetTOS(inner, tos|ce)
	}
	return inner, true
}

// deliver asks the policy about a packet without a transform (ipsec_in_reject), and checks a TCP signature.
func (k *Kernel) deliver(s *passing, had []Layer) outcome {
	h := s.first()
	switch pol := k.policyFor(wire.KAMEDirIn, k.flowOf(&h, s.pkt)); {
	case pol == nil || pol.Type == wire.KAMEPolicyNone:
	case pol.Type == wire.KAMEPolicyDiscard:
		return k.drop(s, packet.PolicyDiscard, CountInPolicy.family(s.V6), wire.OK)
	case !k.satisfied(pol, had):
		return k.drop(s, packet.PolicyMismatch, CountInPolicy.family(s.V6), wire.OK)
	}
	if s.Proto == ip.ProtoTCP {
		if o, fine := k.checkSignature(s); !fine {
			return o
		}
	}
	return outcome{Passage: engine.Passage{Via: engine.ViaUpper, Packet: s.pkt}}
}

// first is the first header of a packet, read again.
func (s *passing) first() (h ip.Header) {
	h.Parse(s.pkt)
	return h
}

// satisfied tells whether a packet had what a policy requires. IPComp is never required of what comes in.
func (k *Kernel) satisfied(pol *Policy, had []Layer) bool {
	for i := range pol.Requests {
		q := &pol.Requests[i]
		if q.Proto != ip.ProtoComp && k.level(q) == wire.KAMELevelRequire &&
			!k.page.Packets.Satisfies(pol, q, had) {
			return false
		}
	}
	return true
}
