package xfrm

import (
	"encoding/binary"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// Own tells whether an address is the host's.
func (x *Transforms) Own(a netip.Addr) bool { return a.IsLoopback() || x.e.Host().Own(a) }

// Inbound implements [engine.Packets]: what is protected is opened, layer by layer; then the policy is asked whether it
// was protected as it should be.
func (x *Transforms) Inbound(p *packet.Packet) { x.inbound(p, false) }

// inbound is Inbound; lo tells that a packet has come in over the loopback interface, which asks no policy about IPv4
// (its disable_policy).
func (x *Transforms) inbound(p *packet.Packet, lo bool) {
	var path [transform.MaxTemplates]*sa
	n, room, admitted := 0, p.Room, false
	var d datagram
	if cause := x.ipInput(&d, p.Data, versionOf(p.Data), lo); cause != noDrop {
		x.drop(p, cause)
		return
	}
	for {
		var in arrival
		var ok bool
		var cause dropCause
		ok, admitted, cause = x.findTransform(&d, &in, path[:n], lo)
		if cause != noDrop {
			x.drop(p, cause)
			return
		}
		if !ok {
			break
		}
		if n == len(path) {
			x.drop(p, dropInBufferError)
			return
		}
		if path[n], cause = x.open(p, &in, &d, room, lo); cause != noDrop {
			x.drop(p, cause)
			return
		}
		n++
		room = nil // the packet may lie there now
	}
	if !admitted {
		if cause := x.admit(&d, path[:n], lo); cause != noDrop {
			x.drop(p, cause)
			return
		}
	}
	p.End(packet.Verdict{Kind: packet.Delivered, Inner: d.pkt})
}

// noDrop says that a packet goes on.
const noDrop = dropsEnd

// arrival is a protected packet on its way in.
type arrival struct {
	ipsec.Inbound
	pkt   []byte
	proto uint8
	encap uint8 // kind of UDP encapsulation; 0: none
	from  netip.AddrPort
}

// findTransform finds the header of a transform in d, if there is one: ESP, also in UDP to a socket that wants it, AH
// or IPCOMP. d has come in through a path of SAs, lo tells whether over the loopback interface. Before a socket takes
// ESP out of a datagram, the policy is asked about that, but not for a socket of key management, which has policies of
// its own; admitted tells that it need not be asked any more.
func (x *Transforms) findTransform(d *datagram, a *arrival, path []*sa, lo bool) (ok, admitted bool, cause dropCause) {
	proto := d.Proto
	var f spd.Flow
	if proto == ip.ProtoUDP || proto == ip.ProtoFragment {
		f = d.flow()
		proto = f.Proto
	}
	switch proto {
	case ip.ProtoUDP:
		kind, bypass := x.encaps.kind(f.Dst, f.DstPort)
		if kind == 0 {
			return false, false, noDrop
		}
		if !bypass {
			if cause := x.admit(d, path, lo); cause != noDrop {
				return false, false, cause
			}
		}
		ok, cause = a.findInUDP(d, f, kind)
		return ok, true, cause
	case ip.ProtoESP, ip.ProtoAH, ip.ProtoComp:
		ok, cause = a.find(d)
		return ok, false, cause
	}
	return false, false, noDrop
}

// find finds the parts of a packet with a transform's header. Behind hop-by-hop options that are not the first header
// it takes none.
func (a *arrival) find(d *datagram) (ok bool, cause dropCause) {
	switch {
	case d.LateHopByHop:
		return false, dropInHdrError
	case d.Fragment():
		return false, dropFragment
	}
	a.set(d)
	err := a.Find(d.pkt)
	switch {
	case a.proto == ip.ProtoComp && err == ipsec.ErrProtocol:
		if a.End-a.Off < compHeaderLen {
			return false, dropInHdrError
		}
		a.SPI = uint32(binary.BigEndian.Uint16(a.pkt[a.Off+2:]))
	case err != nil:
		return false, dropInHdrError
	}
	return true, noDrop
}

// set takes over what the IP headers say.
func (a *arrival) set(d *datagram) {
	a.Inbound = ipsec.Inbound{Src: d.Src, Dst: d.Dst, Proto: ipsec.Proto(d.Proto), Off: d.Off, End: d.End,
		NextOff: d.NextOff}
	a.pkt, a.proto = d.pkt, d.Proto
}

// findInUDP looks into a datagram to a socket that wants ESP.
func (a *arrival) findInUDP(d *datagram, f spd.Flow, kind uint8) (ok bool, cause dropCause) {
	if d.Fragment() || len(d.pkt)-d.Off < ip.LenUDP {
		return false, noDrop
	}
	a.set(d)
	if a.Find(d.pkt) == ipsec.ErrTotalLen {
		return false, noDrop
	}
	whole := datagram{d.Header, d.pkt[:a.End]}
	switch what, skip := inspect(&whole, kind); {
	case what == keepalive:
		return false, dropKeepalive
	case what == notESP:
		return false, noDrop
	case tooShort(&whole, skip):
		return false, dropShortEncap
	default:
		inner := withoutUDP(&whole, skip)
		a.encap, a.from = kind, netip.AddrPortFrom(f.Src, f.SrcPort)
		return a.find(&inner)
	}
}

// open takes one layer of protection off a packet, and returns the SA. d becomes the packet that was inside, which is
// put into room if that is large enough.
func (x *Transforms) open(p *packet.Packet, a *arrival, d *datagram, room []byte, lo bool) (s *sa, cause dropCause) {
	s, ok := x.states.bySPI.Find(sadb.Key{Dst: a.Dst, SPI: a.SPI, Proto: a.proto}, nil)
	if !ok {
		return nil, dropInNoStates
	}
	x.e.Step("found", p)
	e, cause := x.begin(s, a)
	if cause != noDrop {
		return nil, cause
	}
	// What is inside is put where it will stand in the packet of transport mode, behind the headers that stay.
	if least := a.HeaderEnd() + a.End - a.Off; cap(room) < least {
		room = make([]byte, least)
	}
	payload, next, cause := x.reveal(s, e, a, room[:a.HeaderEnd()])
	if cause != noDrop {
		return nil, cause
	}
	// It counts before anybody looks whether the mode fits what is inside.
	s.Lock()
	if s.Replay != 0 && !s.window.accept(a.Seq, s.Replay) {
		s.Unlock()
		return nil, dropInStateSeqError
	}
	s.Bytes += uint64(len(payload))
	s.Packets++
	s.Unlock()
	switch s.Mode {
	case transform.Tunnel:
		cause = x.openTunnel(s, d, payload, next, a.pkt, lo)
	case transform.BEET:
		s.openBEET(d, payload, next)
	default:
		inner, err := ipsec.DecapTransport(room[:0], a.pkt, &a.Inbound, payload, next)
		if err != nil {
			return nil, dropInStateModeError
		}
		// What is inside stands where the transform was; the headers before it are the same.
		d.pkt, d.Proto, d.End, d.Off, d.NextOff = inner, next, len(inner), a.Off, a.NextOff
		if d.V6 && x.Own(d.Dst) {
			cause = d.extensions6(false)
		} else {
			d.Walk(inner)
		}
	}
	return s, cause
}

// openTunnel looks at what an SA of tunnel mode carried, as IP does with a packet that comes in.
func (x *Transforms) openTunnel(s *sa, d *datagram, payload []byte, next uint8, outer []byte, lo bool) dropCause {
	version, least := 0, 0
	switch next {
	case ip.ProtoIPv4:
		version, least = 4, ip.Len4
	case ip.ProtoIPv6:
		version, least = 6, ip.Len6
	default:
		return dropInStateModeError
	}
	if len(payload) < least {
		return dropInStateModeError
	}
	if cause := x.ipInput(d, payload, version, lo); cause != noDrop {
		return cause
	}
	if s.Flags&transform.NoECN == 0 {
		d.pkt = withECN(d.pkt, outer)
	}
	if s.Flags&transform.DecapDSCP != 0 {
		d.pkt = append([]byte(nil), d.pkt...)
		ip.SetTOS(d.pkt, ip.TOS(outer)&^3|ip.TOS(d.pkt)&3)
	}
	return noDrop
}

// begin looks at the SA before any cipher is run, all under its lock: its state, the encapsulation, the replay window,
// the limits.
func (x *Transforms) begin(s *sa, a *arrival) (e *transform.Encap, cause dropCause) {
	now := x.now()
	s.Lock()
	st := s.State()
	switch {
	case st == sadb.Larval:
		s.Unlock()
		return nil, dropAcquireError
	case st != sadb.Mature && st != sadb.Dying:
		s.Unlock()
		return nil, dropInStateInvalid
	}
	e = s.encap.Load()
	var kind uint8
	if e != nil {
		kind = e.Type
	}
	switch {
	case kind != a.encap:
		s.Unlock()
		return nil, dropEncapMismatch
	case s.Replay != 0 && !s.window.fresh(a.Seq, s.Replay):
		s.Unlock()
		return nil, dropInStateSeqError
	}
	found := s.checkLimitsLocked(now)
	s.Unlock()
	x.postReached(s, found)
	switch {
	case found.hard && found.packets:
		return nil, dropInPacketsExpired
	case found.hard:
		return nil, dropInBytesExpired
	}
	return e, noDrop
}

// postReached hands over what the limits of an SA have become. No lock is held.
func (x *Transforms) postReached(s *sa, found outcome) {
	if found.hard || found.soft {
		x.e.Post(func() {
			x.reached(s, found)
			x.Settle()
		})
	}
}

// reveal proves that a packet is genuine and takes out what it carries, behind what is in room if it has to be put
// anywhere.
func (x *Transforms) reveal(s *sa, e *transform.Encap, a *arrival, room []byte) (
	payload []byte, next uint8, cause dropCause,
) {
	if s.Proto == ip.ProtoComp {
		payload, next, ok := decompress(a.pkt[a.Off:a.End])
		if !ok {
			return nil, 0, dropBadCompression
		}
		return payload, next, noDrop
	}
	t := s.transform()
	if t == nil {
		return nil, 0, dropCryptoFailed
	}
	if s.Proto == ip.ProtoAH {
		return revealAH(t, a)
	}
	plain, err := t.OpenESP(room, a.ESP(a.pkt), 0)
	switch err {
	case nil:
	case ipsec.ErrICV:
		return nil, 0, dropBadICV
	case ipsec.ErrShort:
		return nil, 0, dropShortESP
	default:
		return nil, 0, dropCryptoFailed
	}
	plain = plain[len(room):]
	padLen, next, ok := ipsec.Trailer(plain)
	if !ok || padLen+2 == len(plain) { // a packet of padding alone is refused, too
		return nil, 0, dropBadPadLength
	}
	if e != nil && (a.from.Addr() != s.Src || a.from.Port() != e.Sport) {
		sport, from := e.Sport, a.from // so that a stays off the heap
		x.e.TryPost(func() { x.newMapping(s, sport, from) })
	}
	if next == ip.ProtoNone { // RFC 4303 section 2.6
		return nil, 0, dropDummy
	}
	return ipsec.Payload(plain), next, noDrop
}

// AHAlign is what the length of an AH header is a multiple of, in bytes, also in IPv4, where 4 would do: other headers
// are refused.
const AHAlign = 8

// revealAH proves that a packet of AH is genuine. Its header is as long as the ICV asks for, cut or whole, padded to 8
// bytes.
func revealAH(t *ipsec.Transform, a *arrival) (payload []byte, next uint8, cause dropCause) {
	head := ipsec.ParseAH(a.pkt, &a.Inbound)
	if head.Len != ipsec.AHLen(t.ICVLen(), AHAlign) && head.Len != ipsec.AHLen(t.Suite().MAC.Size, AHAlign) {
		return nil, 0, dropAHLength
	}
	switch t.VerifyAH(a.pkt[:a.End], a.Off, 0) {
	case nil:
		return a.pkt[a.Off+head.Len : a.End], head.Next, noDrop
	case ipsec.ErrICV:
		return nil, 0, dropBadICV
	case ipsec.ErrAHLen:
		return nil, 0, dropAHLength
	}
	return nil, 0, dropAHHeader
}

// withECN takes over that the outer packet has met congestion.
func withECN(inner, outer []byte) []byte {
	const ce, mask = 3, 3
	if tos := ip.TOS(inner); ip.TOS(outer)&mask == ce && tos&mask != 0 && tos&mask != ce {
		inner = append([]byte(nil), inner...)
		ip.SetTOS(inner, tos|ce)
	}
	return inner
}

// openBEET puts the inner header together, whose addresses are those of the SA's selector.
func (s *sa) openBEET(d *datagram, payload []byte, next uint8) {
	var l transform.Selector
	if s.Sel != nil {
		l = *s.Sel
	} else {
		l.V6 = s.V6()
	}
	head := ip.Fields{Src: transform.Addr(l.Src, l.V6), Dst: transform.Addr(l.Dst, l.V6), Proto: next, TTL: ip.TTL}
	d.pkt = head.Make(payload)
	d.Parse(d.pkt)
	d.Walk(d.pkt)
}

// admit asks the policy about a packet that has come in through a path of SAs, the outermost first, over the loopback
// interface or not.
func (x *Transforms) admit(d *datagram, path []*sa, lo bool) dropCause {
	f := d.flow()
	if lo && f.Dst.Is4() {
		return noDrop
	}
	own := x.Own(f.Dst)
	misreadPorts(&f, d.pkt, own)
	for _, s := range path {
		if s.Sel != nil && !s.selects(f) {
			return dropSelectorMismatch
		}
	}
	dir := transform.In
	if !own {
		dir = transform.Forward
	}
	p := x.policies.rules[dir].find(f)
	if p == nil {
		if tunnelled(path, 0) {
			return dropInNoPols
		}
		return noDrop
	}
	p.useTime.Store(x.now())
	if p.block {
		return dropInPolBlock
	}
	ts, at := *p.templates.Load(), 0
	for i := len(ts) - 1; i >= 0; i-- {
		if at = fits(&ts[i], path, at); at < 0 {
			return dropInTmplMismatch
		}
	}
	if tunnelled(path, at) {
		return dropInTmplMismatch
	}
	return noDrop
}

// misreadPorts does to the flow of an inbound packet with IPv6 extension headers what the original does: it has been
// through these headers, finds the upper layer's number at the last of them, and then looks for the ports behind the
// fixed header, where the first of them is. What is forwarded has only been through the hop-by-hop options.
func misreadPorts(f *spd.Flow, pkt []byte, own bool) {
	if pkt[0]>>4 != 6 || f.Proto == pkt[6] || len(pkt) < ip.Len6+4 {
		return
	}
	switch pkt[6] {
	case ip.ProtoHopByHop:
		if !own && pkt[ip.Len6] != f.Proto {
			return
		}
	case ip.ProtoRouting, ip.ProtoDestOptions:
		if !own {
			return
		}
	default:
		return
	}
	switch b := pkt[ip.Len6:]; f.Proto {
	case ip.ProtoTCP, ip.ProtoUDP, ip.ProtoSCTP:
		f.SrcPort, f.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	case ip.ProtoICMPv6:
		f.SrcPort, f.DstPort = uint16(b[0]), uint16(b[1])
	}
}

// tunnelled tells whether there is an SA of another mode than transport from one place on.
func tunnelled(path []*sa, from int) bool {
	for _, s := range path[from:] {
		if s.Mode != transform.Transport {
			return true
		}
	}
	return false
}

// fits finds the SA for a template from one place on, and returns the place behind it; negative if there is none.
func fits(t *transform.Template, path []*sa, from int) int {
	none := -1
	if t.Optional {
		if t.Mode == transform.Transport {
			return from
		}
		none = from
	}
	for i := from; i < len(path); i++ {
		s := path[i]
		if s.Proto == t.Proto && (t.ReqID == 0 || s.ReqID == t.ReqID) && s.Mode == t.Mode &&
			(s.Mode == transform.Transport || sameEnds(s, t)) {
			return i + 1
		}
		if s.Mode != transform.Transport {
			return none
		}
	}
	return none
}

// sameEnds compares an SA's ends with those of a template; unspecified ones fit any.
func sameEnds(s *sa, t *transform.Template) bool {
	any := func(a netip.Addr) bool { return !a.IsValid() || a.IsUnspecified() }
	return (any(t.Dst) || any(s.Dst) || s.Dst == t.Dst) && (any(t.Src) || any(s.Src) || s.Src == t.Src)
}
