package illumos

import (
	"encoding/binary"
	"math"
	"slices"
	"sync"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// Outbound implements [engine.Packets]: the policy says what the packet needs; SAs are found for it, or it waits for
// them.
func (k *Kernel) Outbound(p *packet.Packet, tunnelName string) {
	flow, err := spd.ParseFlow(p.Data)
	if err != nil {
		k.drop(p, dropOutDiscards)
		return
	}
	n := need{flow: flow, src: flow.Src, dst: flow.Dst, proto: flow.Proto}
	if tunnelName != "" {
		t, rule, none := k.policy.findTunnel(tunnelName, flow, true)
		if t == nil || rule == nil && !none {
			k.drop(p, dropExplicit) // a tunnel lets nothing pass that its policy does not name
			return
		}
		n.tunnel, n.rule = t, rule
		n.src, n.dst, n.proto = t.Src, t.Dst, ipProto(flow)
	} else {
		n.rule = k.policy.find(flow, true)
	}
	switch {
	case n.rule == nil, n.rule.Actions[0].Type == spd.Bypass:
		k.transmit(p, k.encapsulate(p.Data, &n))
		return
	case n.rule.Actions[0].Type == spd.Discard:
		k.drop(p, dropExplicit)
		return
	}
	if n.selfEncap() {
		n.proto = ip.ProtoIPv4
	}
	n.uniqueID = n.unique()
	k.satisfy(p, nil, &n, nil)
}

// satisfy protects a packet with ESP and then AH, as far as there are SAs for it, or lets it wait for the one that is
// missing. sealed is what ESP has made of it already. It does not wait twice for the same protocol: answered is the one
// that key management has been asked about.
func (k *Kernel) satisfy(p *packet.Packet, sealed []byte, n *need, answered *protocol) {
	for {
		generation := k.acquires.generation.Load()
		esp, ah, lacking := k.findSAs(n)
		if sealed == nil && esp != nil {
			var ok bool
			var room []byte
			if ah == nil && lacking == nil { // it is what goes out, and will not be read again
				room = p.Room
			}
			if sealed, ok = k.seal(p, k.encapsulate(p.Data, n), room, n, esp); !ok {
				return
			}
		}
		switch {
		case lacking == nil:
			pkt := sealed
			if pkt == nil {
				pkt = k.encapsulate(p.Data, n)
			}
			if ah != nil {
				var ok bool
				if pkt, ok = k.seal(p, pkt, p.Room, n, ah); !ok {
					return
				}
			}
			k.transmit(p, pkt)
			return
		case lacking == answered:
			k.count(p, lacking, outDiscards)
			k.drop(p, dropAcquireTimeout)
			return
		case k.hold(p, sealed, lacking, n, generation):
			return
		}
	}
}

// findSAs finds the SAs for the first alternative of the policy that can be had. If there is none, lacking is the
// protocol to ask key management about: ESP as long as it is wanted and missing, then AH.
func (k *Kernel) findSAs(n *need) (esp, ah *sa, lacking *protocol) {
	wanted := func(p *protocol) bool {
		return slices.ContainsFunc(n.rule.Actions, func(a spd.Action) bool { return wants(&a, p) })
	}
	wantESP, wantAH := wanted(k.esp), wanted(k.ah)
	if wantESP {
		esp = k.choose(k.esp, n)
	}
	if wantAH {
		ah = k.choose(k.ah, n)
	}
	for i := range n.rule.Actions {
		a := &n.rule.Actions[i]
		needESP, needAH := wants(a, k.esp), wants(a, k.ah)
		if a.Type != spd.Apply || needESP && esp == nil || needAH && ah == nil {
			continue
		}
		if !needESP {
			esp = nil
		}
		if !needAH {
			ah = nil
		}
		return esp, ah, nil
	}
	if wantESP && esp == nil {
		return nil, nil, k.esp
	}
	return esp, nil, k.ah
}

// ipProto is the protocol number of an IP packet inside another.
func ipProto(f spd.Flow) uint8 {
	if f.Dst.Is4() {
		return ip.ProtoIPv4
	}
	return ip.ProtoIPv6
}

// unique is the id of the packet's flow.
func (n *need) unique() uint64 {
	if n.tunnel != nil || n.selfEncap() {
		return uniqueID(n.flow.SrcPort, n.flow.DstPort, n.proto, n.flow.Proto)
	}
	return uniqueID(n.flow.SrcPort, n.flow.DstPort, n.flow.Proto, 0)
}

// choose finds the outbound SA for a packet: the first of the destination that suits, an SA made for just this flow
// before all others; ipsec_getassocbyconn.
func (k *Kernel) choose(proto *protocol, n *need) *sa {
	t := &proto.familyOf(n.dst).out
	t.mu.RLock()
	defer t.mu.RUnlock()
	c := t.byDst[n.dst]
	if c == nil {
		return nil
	}
	var found *sa
	for s := c.head; s != nil; s = s.link[linkDst].next {
		if !s.usable() || s.src != n.src && !s.src.IsUnspecified() || !s.suits(n) {
			continue
		}
		if u := s.unique.Load(); u != nil {
			if u.selects(n.uniqueID) {
				return s
			}
			continue
		}
		if found == nil && !(n.wantsUnique() && s.has(flagUsed)) {
			found = s
		}
	}
	return found
}

// suits says whether an SA gives what one of the policy's alternatives asks for.
func (s *sa) suits(n *need) bool {
	c := s.conf.Load()
	if n.tunnelMode() != (c.inner != nil) || c.inner != nil && !(c.inner.src.Contains(n.flow.Src) &&
		c.inner.dst.Contains(n.flow.Dst)) {
		return false
	}
	for i := range n.rule.Actions {
		a := &n.rule.Actions[i]
		if !wants(a, s.p) || !cookiesAgree(cookieOf(a), c.cookie) {
			continue
		}
		if s.p.isESP() {
			if (a.ESP <= spd.Any || a.ESP == int(c.encrypt)) && (a.ESPAuth <= spd.Any || a.ESPAuth == int(c.auth)) &&
				c.encryptBits >= a.EncryptMinBits {
				return true
			}
		} else if a.AH == spd.Any || a.AH == int(c.auth) {
			return true
		}
	}
	return false
}

// encapsulate puts the tunnel's outer header in front of a packet; without a tunnel it is the packet itself.
func (k *Kernel) encapsulate(pkt []byte, n *need) []byte {
	if n.tunnel == nil && !n.selfEncap() {
		return pkt
	}
	return outerHeader(pkt, n)
}

func (k *Kernel) transmit(p *packet.Packet, pkt []byte) {
	p.End(packet.Verdict{Kind: packet.Transmitted, Inner: pkt})
}

// seal protects a packet with one SA, in room if that is large enough; it must not overlap pkt. If it cannot, the
// packet has ended.
func (k *Kernel) seal(p *packet.Packet, pkt, room []byte, n *need, s *sa) ([]byte, bool) {
	k.preserveFor(s)
	c := s.conf.Load()
	k.count(p, s.p, outRequests)
	align := 4
	size := len(pkt) + 12 + c.transform.ICVLen()
	if s.p.isESP() {
		align = c.align
		payload := len(pkt) - ip.FirstLen(pkt)
		size = (payload+2+align-1)/align*align + c.transform.IVLen()
	}
	if !s.has(flagUsed) { // what the limit on bytes tells shows it already
		s.setFlags(flagUsed, 0)
	}
	now := k.now()
	if !k.chargeOutbound(s, size) {
		if s.p.isESP() { // counted as a drop alone
			k.dropFor(s.p, p, dropBytesExpire)
		} else {
			k.drop(p, dropOutDiscards)
		}
		return nil, false
	}
	s.Lock()
	if s.State() == sadb.Dead {
		s.Unlock()
		k.drop(p, dropAcquireTimeout)
		return nil, false
	}
	if n.wantsUnique() && s.unique.Load() == nil {
		s.setUniqueLocked(unique{n.uniqueID, math.MaxUint64})
		s.setFlagsLocked(flagUnique, 0)
	}
	seq := uint32(s.Seq + 1)
	s.Seq = uint64(seq)
	counter, spent := s.ivCounter.nextLocked()
	due := s.noteUseLocked(now)
	s.Unlock()
	k.wantPass(due)
	if peer := s.peerSA.Load(); peer != nil {
		k.noteUse(peer, now)
	}
	switch {
	case seq == 0 && c.replay:
		k.useUp(s)
		if s.p.isESP() {
			k.count(p, s.p, outDiscards)
			k.dropFor(s.p, p, dropReplay)
		} else {
			k.dropFor(s.p, p, dropBadV4Opts)
		}
		return nil, false
	case spent == ivHard:
		k.useUp(s)
		k.dropFor(s.p, p, dropIVWrap)
		return nil, false
	case spent == ivSoft:
		k.reachLimit(s, chargeSoft, true)
	}
	ivRoom := ivRooms.Get().(*[maxIV]byte)
	defer ivRooms.Put(ivRoom)
	iv := ivRoom[:0]
	ports := ipsec.Ports{}
	if s.p.isESP() {
		iv, _ = c.transform.AppendIV(iv, counter, k.e.Rand()) // this randomness has no error
		if c.nat != nil {
			ports = c.nat.ports()
		}
	}
	const headers = 8 + 8 + maxIV + 12 // of UDP and ESP, or AH
	if need := headers + len(pkt) + align + 2 + c.transform.ICVLen(); cap(room) < need {
		room = make([]byte, 0, need)
	}
	out, err := c.transform.SealTransport(room[:0], pkt, ports, ipsec.Sealing{SPI: uint32(s.spi), Seq: uint64(seq),
		IV: iv, Align: align})
	if err != nil {
		k.drop(p, dropOutDiscards)
		return nil, false
	}
	k.count(p, s.p, cryptoSync)
	return out, true
}

// chargeOutbound counts a packet's bytes on an outbound SA and on its inbound copy, if it has one. It returns false if
// the packet reaches the hard limit of either.
func (k *Kernel) chargeOutbound(s *sa, n int) bool {
	if peer := s.peerSA.Load(); peer != nil {
		ok := k.charge(peer, n, true) != chargeHard
		return k.charge(s, n, false) != chargeHard && ok
	}
	return k.charge(s, n, true) != chargeHard
}

// maxIV is the length of the longest IV.
const maxIV = 16

// ivRooms are where IVs stand until they are in their packet.
var ivRooms = sync.Pool{New: func() any { return new([maxIV]byte) }}

// ivCounter is the IV of a counter-mode cipher: a number as the machine has it in memory. Initially it is what
// KEY_ENCRYPT brought, or random.
type ivCounter struct {
	on         bool
	n          uint64
	soft, hard uint64 // numbers at which the SA is to be replaced, and at which it is used up
}

type ivState uint8

const (
	ivFine ivState = iota
	ivSoft
	ivHard
)

func (c *ivCounter) init(k *Kernel, iv []byte, bits int) {
	b := make([]byte, 8)
	if bits >= 64 && len(iv) >= 8 {
		copy(b, iv)
	} else {
		k.e.Random(b)
	}
	n := k.d.Order.Uint64(b)
	*c = ivCounter{on: true, n: n, soft: n << 9, hard: n}
}

// nextLocked counts, and returns the number as the bytes of the IV in network order. The SA's lock is held.
func (c *ivCounter) nextLocked() (uint64, ivState) {
	if !c.on {
		return 0, ivFine
	}
	c.n++
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], c.n)
	state := ivFine
	switch c.n {
	case c.hard:
		state = ivHard
	case c.soft:
		state = ivSoft
	}
	return binary.BigEndian.Uint64(b[:]), state
}
