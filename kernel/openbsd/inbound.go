package openbsd

import (
	"encoding/binary"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Inbound implements [engine.Packets]: what comes out of a tunnel goes to the input of IP again, and comes here again.
func (k *Kernel) Inbound(p *packet.Packet) {
	s := passing{p: p}
	for pkt := p.Data; ; {
		if o, fine := ipInput(&s, pkt); !fine {
			o.end(p)
			return
		}
		o := k.input(&s)
		if o.Via == engine.ViaInput && len(s.done) > maxLayers {
			o = drop(packet.TooManyLayers, wire.OK)
		} else if o.Via == engine.ViaInput {
			var fine bool
			if pkt, o, fine = k.strip(&s); fine {
				continue
			}
		} else if o.Via != "" {
			if bad, fine := k.checkSignature(&s); !fine {
				o = bad
			}
		}
		if o.Via == "" {
			o.end(p)
		} else {
			p.End(packet.Verdict{Kind: packet.Delivered, Inner: s.pkt})
		}
		return
	}
}

// ipInput looks at what IP looks at before anybody else does (ip_input_if, ip6_input_if).
func ipInput(s *passing, pkt []byte) (o outcome, fine bool) {
	if !s.read(pkt) {
		return drop(packet.BadHeader, wire.OK), false
	}
	if !s.V6 && ip.Checksum(0, s.pkt[:s.Off]) != 0xffff {
		return drop(packet.BadChecksum, wire.OK), false
	}
	if s.Fragment() {
		return drop(packet.Fragment, wire.OK), false
	}
	return outcome{}, true
}

// Input offers a packet that came in to IPsec, and says what becomes of it: where it comes out, there it stops. It
// takes no control lock.
func (k *Kernel) Input(rdomain int, pkt []byte) engine.Passage {
	s := passing{p: &packet.Packet{}, rdomain: rdomain}
	if !s.read(pkt) {
		return engine.Passage{}
	}
	return k.input(&s).Passage
}

// input takes off the SAs that a packet came in with, as long as the original goes on by itself, and asks the flows
// about what has none left.
func (k *Kernel) input(s *passing) outcome {
	for range maxLayers {
		if !s.Walk(s.pkt) {
			return drop(packet.BadHeader, wire.OK)
		}
		inUDP := false
		switch s.Proto {
		case ip.ProtoUDP:
			esp, o := k.fromUDP(s)
			if !esp {
				return o
			}
			inUDP = true
		case ip.ProtoESP, ip.ProtoAH, ip.ProtoComp:
			if !k.permitted(s.Proto) { // it is for raw sockets
				return s.passed(engine.ViaUpper)
			}
		case ip.ProtoIPv4, ip.ProtoIPv6:
			if s.opened {
				return s.passed(engine.ViaInput)
			}
			return k.arrive(s)
		default:
			return k.arrive(s)
		}
		if o := k.open(s, inUDP); o.Via == "" && o.reason != packet.NoReason {
			return o
		}
	}
	return drop(packet.TooManyLayers, wire.OK)
}

// arrive asks the flows about a packet that has no SA left.
func (k *Kernel) arrive(s *passing) outcome {
	if _, o := k.lookup(s, dirIn); o.reason != packet.NoReason {
		return o
	}
	if s.opened {
		return s.passed(engine.ViaUpper)
	}
	return s.passed(engine.ViaClear)
}

// fromUDP takes ESP out of a UDP packet, if there is some (udp_input). Otherwise the packet is delivered, or dropped.
func (k *Kernel) fromUDP(s *passing) (esp bool, o outcome) {
	udp := s.pkt[s.Off:]
	port := k.encapPort()
	if len(udp) < ip.LenUDP || port == 0 || binary.BigEndian.Uint16(udp[2:]) != port {
		return false, k.arrive(s)
	}
	const marker = 4 // zeros where ESP has its SPI
	switch data := udp[ip.LenUDP:]; {
	case len(data) < marker:
		return false, drop(packet.Keepalive, wire.OK)
	case binary.BigEndian.Uint32(data) == 0:
		return false, k.arrive(s)
	}
	k.tally.count(s.p, countUDPIn, 1)
	s.replace(s.pkt[:s.Off], ip.ProtoESP, udp[ip.LenUDP:])
	return true, outcome{}
}

// replace makes a packet of its headers, the protocol that follows them, and what that is. The headers end where s
// stands.
func (s *passing) replace(headers []byte, next uint8, payload []byte) {
	pkt := append(append(make([]byte, 0, len(headers)+len(payload)), headers...), payload...)
	pkt[s.NextOff] = next
	ip.SetLength(pkt)
	s.pkt, s.Proto, s.End = pkt, next, len(pkt)
}

// open takes off one SA (ipsec_common_input), and leaves s with what is inside.
func (k *Kernel) open(s *passing, inUDP bool) (o outcome) {
	proto := s.Proto
	k.tally.count(s.p, countPacketsIn, 1)
	k.tally.count(s.p, countAllIn, len(s.pkt))
	k.tally.count(s.p, countInput.of(proto), 1)
	var sa *SA
	defer func() {
		if o.reason == packet.NoReason {
			return
		}
		k.tally.count(s.p, countDropsIn, 1)
		if sa != nil {
			sa.Lock()
			sa.counter.InDrops++
			sa.Unlock()
		}
	}()
	if proto == ip.ProtoComp && s.expanded() {
		return k.drop(s, packet.TooManyLayers, countPolicy.of(proto), wire.OK)
	}
	b := s.pkt[s.Off:]
	if len(b) < 8 {
		return k.drop(s, packet.BadLength, countHeader.of(proto), wire.OK)
	}
	sa = k.tdb.find(saID{s.rdomain, s.Dst, proto, spiOf(proto, b)})
	if sa == nil {
		return k.drop(s, packet.NoSA, countNoSA.of(proto), wire.OK)
	}
	p := sa.Protection()
	switch {
	case p == nil:
		return k.drop(s, packet.LarvalDropped, countInvalid.of(proto), wire.OK)
	case inUDP && p.Flags&wire.OpenBSDFlagXUDPEncap == 0:
		return k.drop(s, packet.EncapMismatch, countUDPInvalid, wire.OK)
	case !inUDP && p.Flags&wire.OpenBSDFlagXUDPEncap != 0:
		return k.drop(s, packet.EncapMismatch, countUDPNeeded, wire.OK)
	}
	k.use(sa)
	sa.Lock()
	sa.counter.InPackets++
	sa.counter.InBytes += uint64(len(s.pkt))
	sa.Unlock()
	switch proto {
	case ip.ProtoESP:
		o = k.openESP(s, sa, p)
	case ip.ProtoAH:
		o = k.openAH(s, sa, p)
	default:
		o = k.expand(s, sa)
	}
	if o.reason != packet.NoReason {
		return o
	}
	return k.opened(s, sa, p)
}

// spiOf is the SPI in a header of ESP or AH, or the CPI of IPComp.
func spiOf(proto uint8, b []byte) uint32 {
	switch proto {
	case ip.ProtoESP:
		return binary.BigEndian.Uint32(b)
	case ip.ProtoAH:
		return binary.BigEndian.Uint32(b[4:])
	}
	return uint32(binary.BigEndian.Uint16(b[2:]))
}

// expanded tells whether the packet has come out of IPComp already.
func (s *passing) expanded() bool {
	for _, sa := range s.done {
		if sa.Proto == ip.ProtoComp {
			return true
		}
	}
	return false
}

// opened ends the way of a packet through an SA (ipsec_common_input_cb).
func (k *Kernel) opened(s *passing, sa *SA, p *Protection) outcome {
	if p.Flags&wire.OpenBSDFlagXUDPEncap != 0 && p.Flags&wire.OpenBSDFlagXTunnel == 0 && !s.fixChecksum() {
		return k.drop(s, packet.BadLength, countHeader.of(sa.Proto), wire.OK)
	}
	k.tally.count(s.p, countDecompressed, len(s.pkt))
	sa.Lock()
	sa.lastUse = k.e.Now().Unix()
	sa.counter.InDecompressed += uint64(len(s.pkt))
	sa.Unlock()
	s.rdomain = sa.After
	s.opened, s.proven = true, s.proven || sa.Proto != ip.ProtoComp
	s.done = append(s.done, sa)
	if p.Iface { // packets come in only through the interface that it belongs to
		return drop(packet.SelectorMismatch, wire.OK)
	}
	return outcome{}
}

// fixChecksum makes the checksum of UDP or TCP right, which a NAT has spoilt (RFC 3948 section 3.1.2); false if the
// header is cut.
func (s *passing) fixChecksum() bool {
	const lenTCP, sumTCP, sumUDP = 20, 16, 6
	rest := s.pkt[s.Off:]
	switch s.Proto {
	case ip.ProtoUDP:
		if len(rest) < ip.LenUDP {
			return false
		}
		rest[sumUDP], rest[sumUDP+1] = 0, 0
		if s.V6 {
			ip.SetUDPChecksum(s.pkt, s.Off)
		}
	case ip.ProtoTCP:
		if len(rest) < lenTCP {
			return false
		}
		ip.SetChecksum(s.pkt, s.Off, s.Off+sumTCP, ip.ProtoTCP)
	}
	return true
}

// replays looks at the sequence number of a packet that came in. A packet that is genuine is noted.
func (k *Kernel) replays(s *passing, sa *SA, p *Protection, seq uint32, genuine bool) (high uint32, o outcome) {
	if p.Window == 0 {
		return 0, outcome{}
	}
	sa.Lock()
	high, is := sa.replay.look(seq, p.Flags&wire.OpenBSDFlagXESN != 0)
	if is == fresh && genuine {
		sa.replay.accept(seq, high)
	}
	sa.Unlock()
	reason := packet.ReplayEarly
	if genuine {
		reason = packet.Replayed
	}
	switch is {
	case fresh:
		return high, outcome{}
	case none:
		return 0, k.drop(s, reason, countWrap.of(sa.Proto), wire.OK)
	}
	return 0, k.drop(s, reason, countReplay.of(sa.Proto), wire.OK)
}

// received counts the payload of a packet that came in, on which limits of bytes depend.
func (k *Kernel) received(s *passing, sa *SA, bytes int) outcome {
	k.tally.count(s.p, countInBytes.of(sa.Proto), bytes)
	sa.Lock()
	sa.counter.InBytes += uint64(bytes)
	sa.Unlock()
	if !k.spend(s, sa, bytes) {
		return drop(packet.BytesExpired, wire.OK)
	}
	return outcome{}
}

// openESP opens ESP (esp_input).
func (k *Kernel) openESP(s *passing, sa *SA, p *Protection) outcome {
	const proto = ip.ProtoESP
	t := p.Transform
	if t == nil {
		return k.drop(s, packet.CryptoFailed, countNoCrypto, wire.OK)
	}
	size := len(s.pkt) - s.Off - 8 - t.IVLen() - t.ICVLen()
	if size <= 0 || size%blockOf(t.Suite()) != 0 {
		return k.drop(s, packet.BadLength, countLength.of(proto), wire.OK)
	}
	esp := s.pkt[s.Off:]
	seq := binary.BigEndian.Uint32(esp[4:])
	high, o := k.replays(s, sa, p, seq, false)
	if o.reason != packet.NoReason {
		return o
	}
	if o = k.received(s, sa, size); o.reason != packet.NoReason {
		return o
	}
	pkt, err := t.OpenESP(append(make([]byte, 0, s.Off+size), s.pkt[:s.Off]...), esp, high)
	switch err {
	case nil:
	case ipsec.ErrICV:
		return k.drop(s, packet.BadICV, countBadAuth.of(proto), wire.OK)
	default:
		return k.drop(s, packet.CryptoFailed, countNoCrypto, wire.OK)
	}
	if _, o = k.replays(s, sa, p, seq, true); o.reason != packet.NoReason {
		return o
	}
	plain := pkt[s.Off:]
	_, next, ok := ipsec.Trailer(plain)
	switch {
	case !ok:
		return k.drop(s, packet.BadPadLength, countLength.of(proto), wire.OK)
	case !ipsec.CheckLastPad(plain):
		return k.drop(s, packet.BadPadding, countBadEncryption.of(proto), wire.OK)
	}
	s.replace(pkt[:s.Off], next, ipsec.Payload(plain))
	return outcome{}
}

// openAH proves that a packet is genuine, and takes AH off (ah_input).
func (k *Kernel) openAH(s *passing, sa *SA, p *Protection) outcome {
	const proto = ip.ProtoAH
	t := p.Transform
	ah := s.pkt[s.Off:]
	if len(ah) < ahFixed {
		return k.drop(s, packet.BadLength, countHeader.of(proto), wire.OK)
	}
	seq := binary.BigEndian.Uint32(ah[8:])
	high, o := k.replays(s, sa, p, seq, false)
	if o.reason != packet.NoReason {
		return o
	}
	size := ahFixed + t.ICVLen()
	if (int(ah[1])+2)*4 != size || len(ah) < size {
		return k.drop(s, packet.BadLength, countLength.of(proto), wire.OK)
	}
	if o = k.received(s, sa, len(ah)-int(ah[1])*4); o.reason != packet.NoReason {
		return o
	}
	switch t.VerifyAH(s.pkt, s.Off, high) {
	case nil:
	case ipsec.ErrICV:
		return k.drop(s, packet.BadICV, countBadAuth.of(proto), wire.OK)
	default:
		return k.drop(s, packet.BadHeader, countHeader.of(proto), wire.OK)
	}
	if _, o = k.replays(s, sa, p, seq, true); o.reason != packet.NoReason {
		return o
	}
	s.replace(s.pkt[:s.Off], ah[0], ah[size:])
	return outcome{}
}

// ahFixed is the length of AH before the ICV, in bytes.
const ahFixed = 12

// blockOf is what the encrypted part of ESP must be a multiple of, in bytes.
func blockOf(u *ipsec.Suite) int {
	switch u.Cipher {
	case nil:
		return 1
	case ipsec.NULL:
		return 4
	case ipsec.AESCTR:
		return 16
	}
	return u.Cipher.Block
}

// strip takes a packet out of its tunnel (ipip_input_if).
func (k *Kernel) strip(s *passing) (inner []byte, o outcome, fine bool) {
	tos := ip.TOS(s.pkt)
	inner, err := ipsec.DecapTunnel(s.pkt[s.Off:], s.Proto)
	if err != nil || !s.proven {
		return nil, drop(packet.BadHeader, wire.OK), false
	}
	const ce = 3 // congestion experienced (RFC 3168)
	if tos&ce == ce {
		switch in := ip.TOS(inner); {
		case in&ce != 0:
			ip.SetTOS(inner, in|ce)
		case s.Proto == ip.ProtoIPv6: // it cannot be told
			return nil, drop(packet.BadHeader, wire.OK), false
		}
	}
	return inner, outcome{}, true
}
