package illumos

import (
	"bytes"
	"encoding/binary"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// larvalPackets is how many packets wait on a LARVAL SA: the newest.
const larvalPackets = 1

// Inbound implements [engine.Packets]: IP looks at the packet, and then IPsec.
func (k *Kernel) Inbound(p *packet.Packet) {
	var h ip.Header
	if cause := ipInput(&h, p.Data); cause != noDrop {
		k.drop(p, cause)
		return
	}
	if h.Fragment() {
		k.drop(p, dropFragment)
		return
	}
	in := ipsec.Inbound{Src: h.Src, Dst: h.Dst, Proto: ipsec.Proto(h.Proto), Off: h.Off, End: h.End, NextOff: h.NextOff}
	k.inboundIPsec(p, &in, in.Find(p.Data), false)
}

// InboundIPsec is what IPsec does with a packet that IP has handed to it. Recordings of the original begin here. What
// is neither ESP nor AH is none of IPsec's business and goes on as it is.
func (k *Kernel) InboundIPsec(p *packet.Packet) { k.inboundPacket(p, false) }

// inboundAgain drives a packet that has waited on a LARVAL SA. IP has let it through once, and does not look whether
// UDP and SA fit each other again.
func (k *Kernel) inboundAgain(p *packet.Packet) { k.inboundPacket(p, true) }

// inboundPacket drives a packet that comes without what IP has found in its headers.
func (k *Kernel) inboundPacket(p *packet.Packet, again bool) {
	var in ipsec.Inbound
	k.inboundIPsec(p, &in, in.Parse(p.Data), again)
}

// inboundIPsec drives a packet of which in and err tell what was found.
func (k *Kernel) inboundIPsec(p *packet.Packet, in *ipsec.Inbound, err error, again bool) {
	if err != nil {
		err = k.parseAgain(p.Data, in, err)
	}
	switch {
	case err == ipsec.ErrProtocol, err == ipsec.ErrNonESP:
		p.End(packet.Verdict{Kind: packet.Delivered, Inner: p.Data})
		return
	case err == ipsec.ErrKeepalive:
		k.drop(p, dropNATTKeepalive)
		return
	case err == ipsec.ErrFragment:
		k.drop(p, dropFragment)
		return
	case err != nil && in.Off == 0:
		k.drop(p, dropBadHeader)
		return
	}
	proto := k.esp
	if in.Proto == ipsec.AH {
		proto = k.ah
	}
	k.count(p, proto, inRequests)
	short := err != nil // too short for its own header; the SPI may be there
	if short && !proto.isESP() && in.End-in.Off < 8 {
		k.dropInbound(proto, p, dropBadLength)
		return
	}
	s, ok := k.inbound.Find(sadb.Key{Dst: in.Dst, SPI: in.SPI, Proto: proto.proto}, func(s *sa) bool {
		return s.src == in.Src || s.src.IsUnspecified()
	})
	if !ok {
		k.noSA(proto, p)
		return
	}
	state, back := s.State(), false
	if state == sadb.Larval {
		k.e.Step("store", p)
		seen, out := k.fault.Offer(&s.SA, p, larvalPackets)
		k.e.Step("stored", p)
		if out == p {
			k.drop(p, dropNoMemory)
			return
		}
		if out != nil {
			k.drop(out, dropLarvalReplace)
		}
		if seen == sadb.Larval {
			p.Report()
			k.reclaim(s)
			return
		}
		state, back = seen, true
	}
	if !k.usableInbound(s, state, back) {
		k.noSA(proto, p)
		return
	}
	k.preserveFor(s)
	switch {
	case short:
		k.dropInbound(proto, p, dropBadLength)
	case proto.isESP() && !again && (s.conf.Load().nat != nil) != (in.UDPOff != 0):
		k.dropFor(proto, p, dropNoSA) // for this there is no counter of a failed lookup
	case proto.isESP():
		k.inboundESP(s, p, in)
	default:
		k.inboundAH(s, p, in)
	}
}

// parseAgain looks once more at a packet that has met err. IP's own length has been compared with the packet before it
// comes here in the original, so one that lies is no business of IPsec: the packet ends where its bytes do.
func (k *Kernel) parseAgain(pkt []byte, in *ipsec.Inbound, err error) error {
	if err == ipsec.ErrTotalLen {
		pkt = bytes.Clone(pkt[:min(len(pkt), ip.MaxLen)])
		ip.SetLength(pkt)
		err = in.Parse(pkt)
	}
	if b := pkt[min(in.Off, len(pkt)):]; err == ipsec.ErrShort && in.Proto == ipsec.AH && len(b) >= 8 {
		in.SPI = binary.BigEndian.Uint32(b[4:])
	}
	return err
}

// usableInbound says whether a packet may go on with an SA in a state. Under the fault one that the queue has handed
// back is not looked at: it goes on with whatever has become of the SA, unless that has no keys at all.
func (k *Kernel) usableInbound(s *sa, state sadb.State, back bool) bool {
	if back && k.fault == sadb.LarvalWindow {
		return s.conf.Load() != nil
	}
	return state == sadb.Mature || state == sadb.Dying || state == stateIdle
}

// reclaim frees what a faulty store has put onto an SA that is dead and gone, as the last reference to it does in the
// original.
func (k *Kernel) reclaim(s *sa) {
	if k.fault == sadb.NoFault || s.State() != sadb.Dead && !s.orphaned.Load() {
		return
	}
	held := k.fault.Take(&s.SA)
	for p := held.Pop(); p != nil; p = held.Pop() {
		k.drop(p, dropLarvalTimeout)
	}
}

// noSA ends a packet for whose SPI and destination there is no SA that could open it.
func (k *Kernel) noSA(proto *protocol, p *packet.Packet) {
	k.count(p, proto, lookupFailure)
	k.dropInbound(proto, p, dropNoSA)
}

// dropInbound ends an inbound packet and counts it for IP.
func (k *Kernel) dropInbound(proto *protocol, p *packet.Packet, c dropCause) {
	k.count(p, proto, inDiscards)
	k.dropFor(proto, p, c)
}

// inboundESP opens an ESP packet: a look at the window, the cipher, the window again, the limits, the padding. Only
// numbers that an ICV vouches for are marked in the window, but those that it cannot hold are refused on any SA that
// has one.
func (k *Kernel) inboundESP(s *sa, p *packet.Packet, in *ipsec.Inbound) {
	c := s.conf.Load()
	if c.replay && !k.peek(s, p, in.Seq) {
		return
	}
	// The plaintext is put where it will stand in the inner packet of transport mode, behind the headers that stay.
	headers := in.HeaderEnd()
	room := p.Room
	if cap(room) < headers+in.End-in.Off {
		room = make([]byte, headers+in.End-in.Off)
	}
	opened, err := c.transform.OpenESP(room[:headers], in.ESP(p.Data), 0)
	if err == ipsec.ErrShort && c.authentic && in.End-in.Off >= 8+c.transform.IVLen()+c.transform.ICVLen() {
		err = ipsec.ErrICV // nothing but an ICV is there, and it is looked at first
	}
	switch err {
	case nil:
		k.count(p, s.p, cryptoSync)
	case ipsec.ErrICV:
		k.count(p, s.p, cryptoSync)
		k.count(p, s.p, badAuth)
		k.dropInbound(s.p, p, dropBadAuth)
		return
	default:
		k.count(p, s.p, cryptoFailures)
		k.dropInbound(s.p, p, dropCryptoFailed)
		return
	}
	if !k.accept(s, p, in.Seq, espCharge(c, in), c.authentic) {
		return
	}
	if c.nat != nil && in.UDPOff != 0 && c.authentic {
		k.renumber(s, in.SrcPort)
	}
	plain := opened[headers:]
	_, next, ok := ipsec.Trailer(plain)
	if !ok {
		k.count(p, s.p, badDecrypt)
		k.dropInbound(s.p, p, dropBadPadLen)
		return
	}
	switch check := s.p.tun(tunPaddingCheck); {
	case check == 1 && !ipsec.CheckLastPad(plain), check == 2 && !ipsec.CheckPadding(plain):
		k.count(p, s.p, badPadding)
		k.dropInbound(s.p, p, dropBadPadding)
		return
	}
	k.deliver(s, c, p, in, room, ipsec.Payload(plain), next)
}

// espCharge is what an ESP packet counts for: what was encrypted, with the IV, and the ICV of a combined cipher; of a
// packet that is not encrypted, everything before the ICV.
func espCharge(c *config, in *ipsec.Inbound) int {
	n := in.End - in.Off
	suite := c.transform.Suite()
	if suite.Cipher != ipsec.NULL {
		n -= 8
	}
	if !suite.Cipher.AEAD() {
		n -= c.transform.ICVLen()
	}
	return n
}

// inboundAH checks an AH packet.
func (k *Kernel) inboundAH(s *sa, p *packet.Packet, in *ipsec.Inbound) {
	c := s.conf.Load()
	if c.replay && !k.peek(s, p, in.Seq) {
		return
	}
	if ah := ipsec.ParseAH(p.Data, in); ah.Len > in.End-in.Off {
		k.dropInbound(s.p, p, dropNoMem) // no longer header can be pulled together
		return
	}
	switch err := c.transform.VerifyAH(p.Data[:in.End], in.Off, 0); err {
	case nil:
		k.count(p, s.p, cryptoSync)
	case ipsec.ErrICV:
		k.count(p, s.p, cryptoSync)
		k.count(p, s.p, badAuth)
		k.dropInbound(s.p, p, dropBadAuth)
		return
	default:
		k.dropInbound(s.p, p, dropBadLength)
		return
	}
	if !k.accept(s, p, in.Seq, in.End, true) {
		return
	}
	room := p.Room
	if cap(room) < in.End {
		room = make([]byte, in.End)
	}
	// What the header has beyond the ICV is left in the packet.
	k.deliver(s, c, p, in, room, p.Data[in.Off+ipsec.AHLen(c.transform.ICVLen(), 4):in.End], p.Data[in.Off])
}

// peek looks at the replay window before any cipher is run, and drops what cannot be good.
func (k *Kernel) peek(s *sa, p *packet.Packet, seq uint32) bool {
	s.Lock()
	good, exhausted := s.window.peek(seq)
	s.Unlock()
	if good {
		return true
	}
	if exhausted {
		k.useUp(s)
	}
	k.count(p, s.p, replayEarlyFailures)
	k.dropInbound(s.p, p, dropEarlyReplay)
	return false
}

// accept takes a packet that has proved genuine into the SA's books, all under its lock: the state is looked at once
// more, the sequence number is marked, the SA counts as used, and the packet's bytes are charged.
func (k *Kernel) accept(s *sa, p *packet.Packet, seq uint32, n int, authentic bool) bool {
	if authentic {
		k.count(p, s.p, goodAuth)
	}
	now := k.now()
	k.e.Step("accept", p)
	s.Lock()
	switch {
	case s.State() == sadb.Dead && k.fault != sadb.LarvalWindow:
		s.Unlock()
		k.noSA(s.p, p)
		return false
	case authentic && !s.window.accept(seq):
		s.Unlock()
		k.count(p, s.p, replayFailures)
		k.dropInbound(s.p, p, dropReplay)
		return false
	}
	due := s.noteUseLocked(now)
	c := s.chargeLocked(n)
	s.Unlock()
	k.wantPass(due)
	k.reached(s, c, true)
	if peer := s.peerSA.Load(); peer != nil {
		k.noteUse(peer, now)
		if k.charge(peer, n, false) == chargeHard {
			c = chargeHard
		}
	}
	if c != chargeHard {
		return true
	}
	k.count(p, s.p, bytesExpired)
	k.dropInbound(s.p, p, dropBytesExpire)
	return false
}

// charge counts a packet's bytes on an SA. Of two copies only the inbound one tells when a limit is reached.
func (k *Kernel) charge(s *sa, n int, tell bool) charge {
	s.Lock()
	c := s.chargeLocked(n)
	s.Unlock()
	k.reached(s, c, tell)
	return c
}

func (k *Kernel) reached(s *sa, c charge, tell bool) {
	if c != chargeFine {
		k.reachLimit(s, c, tell)
	}
}

// noteUse notes that an SA has been used.
func (k *Kernel) noteUse(s *sa, now int64) {
	s.Lock()
	due := s.noteUseLocked(now)
	s.Unlock()
	k.wantPass(due)
}

// deliver puts the IP packet together that was protected, and hands it on; an IDLE SA keeps it. What is handed on has
// the outer header still, whatever the SA's mode: taking that off is the business of a tunnel interface. If there is
// one between the packet's addresses, it lets only the inner addresses of the SA through. room has space for it, and
// may hold the payload where it will stand.
func (k *Kernel) deliver(s *sa, c *config, p *packet.Packet, in *ipsec.Inbound, room, payload []byte, next uint8) {
	var inner []byte
	if c.inner != nil && (next == ip.ProtoIPv4 || next == ip.ProtoIPv6) && k.policy.between(in.Dst, in.Src) != nil {
		var h ip.Header
		switch {
		case h.Parse(payload) != ip.Fine || h.V6 != (next == ip.ProtoIPv6):
			k.dropInbound(s.p, p, dropBadHeader)
			return
		case !c.inner.src.Contains(h.Src) || !c.inner.dst.Contains(h.Dst):
			k.dropFor(s.p, p, dropInnerMismatch)
			return
		}
		inner = payload[:h.End:h.End]
	} else {
		var err error
		if inner, err = ipsec.DecapTransport(room[:0], p.Data, in, payload, next); err != nil {
			k.dropInbound(s.p, p, dropBadHeader)
			return
		}
	}
	if s.State() == stateIdle && !(s.p.isESP() && in.UDPOff != 0) {
		if !k.cluster.Load() {
			k.drop(p, dropIdleOverflow)
			return
		}
		if k.keep(s, p, inner) {
			return
		}
	}
	p.End(packet.Verdict{Kind: packet.Delivered, Inner: inner})
}

// noteNewOutbound tells existing SAs that flows which they serve may have a newer one now; and packets that are about
// to wait for an SA, to look again.
func (k *Kernel) noteNewOutbound(s *sa) {
	for _, s := range []*sa{s, s.peer()} {
		if s == nil || !s.in.isOutbound() {
			continue
		}
		k.acquires.mu.Lock()
		k.acquires.generation.Add(1)
		k.acquires.mu.Unlock()
		for other := s.in.byDst[s.dst].head; other != nil; other = other.link[linkDst].next {
			if other != s && other.has(flagUsed) && other.sameFlows(s) {
				k.preserve(other)
				other.setFlags(flagCInvalid, 0)
			}
		}
	}
}

// sameFlows says whether two SAs serve the same flows.
func (s *sa) sameFlows(o *sa) bool {
	a, b := s.unique.Load(), o.unique.Load()
	return a == b || a != nil && b != nil && *a == *b
}
