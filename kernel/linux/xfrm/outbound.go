package xfrm

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/packet"
)

// Outbound implements [engine.Packets]: the policy says which SAs the packet needs; without them it is dropped, and key
// management asked. There are no tunnel interfaces here, so that their name means nothing.
func (x *Transforms) Outbound(p *packet.Packet, _ string) {
	pkt, cause := x.protect(p)
	if cause != noDrop {
		x.drop(p, cause)
		return
	}
	p.End(packet.Verdict{Kind: packet.Transmitted, Inner: pkt})
}

// protect makes what goes out of a packet.
func (x *Transforms) protect(p *packet.Packet) (pkt []byte, cause dropCause) {
	var d datagram
	if !d.outgoing(p.Data) {
		return nil, dropNotIP
	}
	f := d.flow()
	if x.toItself(f) {
		return p.Data, noDrop
	}
	pol := x.policies.rules[transform.Out].find(f)
	if pol == nil {
		return p.Data, noDrop
	}
	now := x.e.Now()
	pol.routes.add(now)
	var hops [transform.MaxTemplates]*sa
	n, cause := x.resolve(pol, f, &hops)
	if cause != noDrop {
		return nil, cause
	}
	pol.useTime.Store(now.Unix())
	if pol.block {
		return nil, dropOutPolBlock
	}
	pkt = p.Data
	for i, s := range hops[:n] {
		var room []byte
		if i == n-1 {
			room = p.Room[:0]
		}
		if i > 0 {
			d.outgoing(pkt)
		}
		x.e.Step("found", p)
		if pkt, cause = x.seal(s, &d, room); cause != noDrop {
			return nil, cause
		}
	}
	return pkt, noDrop
}

// toItself tells whether a flow goes over the loopback interface without a transform, as IPv4 does (its disable_xfrm).
// IPv6 has no such exception.
func (x *Transforms) toItself(f spd.Flow) bool { return f.Dst.Is4() && x.Own(f.Dst) }

// resolve finds the SA for each template in order. A required one that is missing ends it; key management is asked for
// every one that is met until then and missing.
func (x *Transforms) resolve(p *policy, f spd.Flow, hops *[transform.MaxTemplates]*sa) (n int, cause dropCause) {
	if p.block {
		return 0, noDrop
	}
	src, dst := f.Src, f.Dst
	templates := *p.templates.Load()
	for i := range templates {
		t := &templates[i]
		from, to := src, dst
		if t.Mode.Encapsulates() && t.Dst.IsValid() {
			from, to = t.Src, t.Dst
			if from.IsUnspecified() {
				var ok bool
				if from, ok = x.source(to); !ok {
					return 0, dropNoRoute
				}
			}
		}
		l := lack{policy: p, template: t, flow: f, src: from, dst: to}
		s, wait := x.states.forFlow(l.key(), f)
		if s != nil {
			hops[n] = s
			n++
			src, dst = from, to
			continue
		}
		if !wait && x.asking.Load() {
			missing := l // only what is missing goes to the heap
			x.e.TryPost(func() { x.acquire(missing) })
		}
		if !t.Optional {
			return 0, dropOutNoStates
		}
	}
	return n, noDrop
}

// source is the address from which the host sends to another. Of IPv4 the unspecified one is the host itself.
func (x *Transforms) source(dst netip.Addr) (netip.Addr, bool) {
	switch {
	case dst == netip.IPv4Unspecified():
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), true
	case dst.IsLoopback() && dst.Is4():
		return dst, true
	case dst.IsLoopback():
		return netip.IPv6Loopback(), true
	}
	return x.e.Host().Source(dst)
}

// seal protects a packet with one SA: the SA's state, its limits and its counters first, all under its lock, then the
// cipher. What comes out is put into room if that is large enough.
func (x *Transforms) seal(s *sa, d *datagram, room []byte) ([]byte, dropCause) {
	pkt := d.pkt
	carried := len(pkt)
	if s.Mode != transform.Tunnel {
		carried -= d.Off
	}
	now := x.now()
	s.Lock()
	if !s.usable() {
		s.Unlock()
		return nil, dropOutStateInvalid
	}
	found := s.checkLimitsLocked(now)
	if found.hard {
		s.Unlock()
		x.postReached(s, found)
		if found.packets {
			return nil, dropOutPacketsExpired
		}
		return nil, dropOutBytesExpired
	}
	if s.Proto != ip.ProtoComp && s.Seq >= math.MaxUint32 {
		s.Unlock()
		x.postReached(s, found)
		return nil, dropOutStateSeqError
	}
	if s.Proto != ip.ProtoComp {
		s.Seq++
	}
	seq := s.Seq
	s.Bytes += uint64(max(carried, 0))
	s.Packets++
	e := s.encap.Load()
	s.Unlock()
	x.postReached(s, found)
	if s.Mode == transform.BEET {
		var first ip.Header // of IPv6 it alone says what is inside
		first.Parse(pkt)
		outer := ip.Fields{Src: s.Src, Dst: s.Dst, Proto: first.Proto, TTL: ip.TTL}
		pkt = outer.Make(pkt[d.Off:])
	}
	if s.Proto == ip.ProtoComp {
		if s.Mode == transform.Tunnel {
			outer := ip.Fields{Src: s.Src, Dst: s.Dst, Proto: ip.ProtoIPv4, TTL: ip.TTL}
			if d.V6 {
				outer.Proto = ip.ProtoIPv6
			}
			pkt = outer.Make(pkt)
		}
		return s.sealComp(pkt), noDrop
	}
	return x.sealWith(s, e, pkt, room, seq)
}

func (x *Transforms) sealWith(s *sa, e *transform.Encap, pkt, room []byte, seq uint64) ([]byte, dropCause) {
	t := s.transform()
	if t == nil {
		return nil, dropOutCryptoFailed
	}
	seal := ipsec.Sealing{SPI: s.SPI, Seq: seq}
	if s.Proto == ip.ProtoAH {
		seal.Align = AHAlign
	} else {
		var iv [16]byte
		seal.IV, _ = t.AppendIV(iv[:0], seq, x.e.Rand()) // this randomness has no error
	}
	var ports ipsec.Ports
	if e != nil {
		ports = ipsec.Ports{Src: e.Sport, Dst: e.Dport}
	}
	var sealed []byte
	var err error
	if s.Mode == transform.Tunnel {
		o := ipsec.Outer{Src: s.Src, Dst: s.Dst, TOSRule: ipsec.TOSCopyECN, DF: ipsec.DFCopy, CopyFlow: true}
		if s.Flags&transform.NoECN != 0 {
			o.TOSRule = ipsec.TOSCopyDSCP
		}
		if s.Flags&transform.NoPMTUDisc != 0 {
			o.DF = ipsec.DFClear
		}
		o.ID = uint16(x.ipID.Add(1))
		sealed, err = t.SealTunnel(room, pkt, &o, ports, seal)
	} else {
		sealed, err = t.SealTransport(room, pkt, ports, seal)
	}
	switch err {
	case nil:
	case ipsec.ErrFragment:
		return nil, dropOutFragment
	case ipsec.ErrTooLong:
		return nil, dropOutTooLong
	default:
		return nil, dropOutBadHeader
	}
	if e != nil && e.Type == encapNonIKE {
		sealed = withMarker(sealed)
	}
	return sealed, noDrop
}

// withMarker puts the non-IKE marker of the old kind of encapsulation behind the UDP header.
func withMarker(pkt []byte) []byte {
	var h ip.Header
	h.Parse(pkt)
	h.Walk(pkt)
	off := h.Off + ip.LenUDP
	if off > len(pkt) {
		return pkt
	}
	b := slices.Concat(pkt[:off], make([]byte, nonIKELen), pkt[off:])
	ip.PutUDP(b[h.Off:], binary.BigEndian.Uint16(b[h.Off:]), binary.BigEndian.Uint16(b[h.Off+2:]), len(b)-h.Off)
	ip.SetLength(b)
	if h.V6 {
		ip.SetUDPChecksum(b, h.Off)
	}
	return b
}
