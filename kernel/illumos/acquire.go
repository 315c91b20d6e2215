package illumos

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// defaultReplay is the window that the extended form proposes where the policy names none.
const defaultReplay = 32

// acquireSeqBit marks a sequence number that the kernel chose for an ACQUIRE.
const acquireSeqBit = 0x80000000

// need is what an outbound packet wants protection for, and how.
type need struct {
	flow     spd.Flow // of the packet itself
	src, dst netip.Addr
	proto    uint8 // of the outer header
	rule     *spd.Rule
	tunnel   *tunnel // the interface it goes through, nil if none
	uniqueID uint64  // of its flow
	inverse  bool    // there is no packet: X_INVERSE_ACQUIRE asks
}

// tunnelMode says whether its SAs must have inner addresses.
func (n *need) tunnelMode() bool { return n.tunnel != nil && n.tunnel.Negotiated }

// selfEncap says whether the packet is to be put into a second IPv4 header between its own addresses. X_INVERSE_ACQUIRE
// does not ask that.
func (n *need) selfEncap() bool {
	return n.rule != nil && n.tunnel == nil && !n.inverse && n.flow.Src.Is4() && n.rule.Actions[0].SelfEncap
}

// wantsUnique says whether flows are told apart.
func (n *need) wantsUnique() bool {
	return n.tunnel == nil && (n.rule.Actions[0].Unique || n.selfEncap())
}

// acquire is an ACQUIRE that waits for its answer, with the packets that wait with it; ipsacq_t. What it is for does
// not change; its queue is guarded by the lock of the acquire records.
type acquire struct {
	next   *acquire // in its bucket
	p      *protocol
	seq    uint32
	need   need
	expire int64
	queue  packet.Queue // of packets with what ESP has made of them already, if it has
	gone   bool
}

// acquireTable is the lock of the acquire records, a leaf, and what it takes to look twice: every change that may give
// a waiting packet an SA moves generation.
type acquireTable struct {
	mu         sync.Mutex
	n          int // records there are; guarded by mu
	generation atomic.Uint64
}

// nextAcquireSeq counts down from 0xfffffffe. Each packet that comes this way uses one up, also when it joins others.
func (k *Kernel) nextAcquireSeq() uint32 {
	for {
		old := k.acqSeq.Load()
		seq := (old - 1) | acquireSeqBit
		if k.acqSeq.CompareAndSwap(old, seq) {
			return seq
		}
	}
}

// hold lets a packet wait for an SA: on the record that there is for the same need, or on a new one, for which key
// management is asked. It returns false, without the packet, if an SA may have been made since the caller looked for
// one at generation: then it looks again. The check and the store are under one lock. sealed is what ESP has made of
// the packet already, if it now waits for AH. A packet for which there is no memory ends, be it on a new record or on
// one that is there.
func (k *Kernel) hold(pkt *packet.Packet, sealed []byte, p *protocol, n *need, generation uint64) bool {
	f := p.familyOf(n.dst)
	bucket := k.hashDst(n.dst)
	seq := k.nextAcquireSeq()
	pkt.Made = sealed
	k.acquires.mu.Lock()
	if k.acquires.generation.Load() != generation {
		k.acquires.mu.Unlock()
		return false
	}
	a := f.acquires[bucket]
	for a != nil && !(a.p == p && a.matches(n)) {
		a = a.next
	}
	if a != nil {
		out := a.queue.Push(pkt, packet.Held, acquireMaxPackets)
		raise(&k.qhiwater, uint64(a.queue.Len()))
		k.acquires.mu.Unlock()
		if out == pkt {
			k.drop(pkt, dropAcquireNoMem)
			return true
		}
		pkt.Report()
		if out != nil {
			k.drop(out, dropAcquireTooFull)
		}
		return true
	}
	a = &acquire{next: f.acquires[bucket], p: p, seq: seq, need: *n, expire: k.now() + p.tun(tunAcquireTimeout)}
	if int64(k.acquires.n) >= k.limit(limAcquires) || a.queue.Push(pkt, packet.Held, acquireMaxPackets) != nil {
		k.acquires.mu.Unlock()
		k.drop(pkt, dropAcquireNoMem)
		return true
	}
	f.acquires[bucket] = a
	k.acquires.n++
	k.acquires.mu.Unlock()
	k.countFor(p, acquireRequests, 1)
	pkt.Report()
	k.e.Post(func() { k.ask(f, a) })
	return true
}

func raise(v *atomic.Uint64, to uint64) {
	for old := v.Load(); old < to && !v.CompareAndSwap(old, to); old = v.Load() {
	}
}

// matches says whether a packet may wait on the record: everything it needs is the same.
func (a *acquire) matches(n *need) bool {
	if a.need.rule != n.rule || a.need.tunnel != n.tunnel || a.need.src != n.src || a.need.dst != n.dst {
		return false
	}
	return !n.wantsUnique() || a.need.uniqueID == n.uniqueID
}

// ask sends the ACQUIRE of a new record: the extended form to those who want that one, then the regular one. If nobody
// is there to hear it the record goes at once. The control lock is held.
func (k *Kernel) ask(f *family, a *acquire) {
	k.dueAt(a.expire + 1)
	heard := false
	if k.extended > 0 {
		heard = k.passUp(k.acquireMessage(a, true), nil, fromConsumer)
	}
	if !k.passUp(k.acquireMessage(a, false), nil, fromConsumer) && !heard {
		k.forget(f, a, dropAcquireUnheard)
	}
}

// forget removes a record; its packets end.
func (k *Kernel) forget(f *family, a *acquire, c dropCause) {
	k.endHeld(k.detach(f, a), c)
}

// detach removes a record and returns its packets.
func (k *Kernel) detach(f *family, a *acquire) packet.Queue {
	k.acquires.mu.Lock()
	defer k.acquires.mu.Unlock()
	if a.gone {
		return packet.Queue{}
	}
	for at := &f.acquires[k.hashDst(a.need.dst)]; *at != nil; at = &(*at).next {
		if *at == a {
			*at = a.next
			break
		}
	}
	a.gone = true
	k.acquires.n--
	q := a.queue
	a.queue = packet.Queue{}
	return q
}

// records lists a family's acquire records by bucket, newest first.
func (k *Kernel) records(f *family) (all []*acquire) {
	k.acquires.mu.Lock()
	defer k.acquires.mu.Unlock()
	for _, a := range f.acquires {
		for ; a != nil; a = a.next {
			all = append(all, a)
		}
	}
	return all
}

// takeAcquire removes the record with a sequence number and a destination, and returns it with its packets; nil if
// there is none.
func (k *Kernel) takeAcquire(f *family, dst netip.Addr, seq uint32) *acquire {
	for _, a := range k.records(f) {
		if a.seq == seq && a.need.dst == dst {
			a.queue = k.detach(f, a) // nobody else finds it any more
			return a
		}
	}
	return nil
}

func (k *Kernel) flushAcquires(f *family, c dropCause) {
	for _, a := range k.records(f) {
		k.forget(f, a, c)
	}
}

// ageAcquires ends the records that nobody has answered in time. Key management is not told.
func (k *Kernel) ageAcquires(f *family, now int64) {
	for _, a := range k.records(f) {
		if now > a.expire {
			k.forget(f, a, dropAcquireTimeout)
		} else {
			k.dueAt(a.expire + 1)
		}
	}
}

// acquireFromUser is keysock's part of an ACQUIRE that key management sends. With an errno it says that a negotiation
// has failed; without one it is only shown to promiscuous sockets.
func (k *Kernel) acquireFromUser(r *request) {
	if r.hdr.Errno == 0 {
		if r.hdr.SAType == wire.SATypeUnspec {
			k.fail(r, einval(wire.IllumosDiagSATypeNeeded))
			return
		}
		k.passUp(r.msg, nil, fromUser)
		return
	}
	if r.hdr.SAType == wire.SATypeUnspec {
		if !r.sender.extended {
			k.fail(r, einval(wire.IllumosDiagSATypeNeeded))
			return
		}
		for _, p := range k.consumers() {
			if r.sender.s.Registered(p.satype) {
				k.consume(p, r)
				return
			}
		}
		k.fail(r, result{errno: wire.EBUSY})
		return
	}
	k.passDown(r)
}

// acquireRefused is the consumer's part of a negative ACQUIRE: the record with its sequence number goes, with its
// packets. There is never an answer. A message with any extension is not looked at.
func (k *Kernel) acquireRefused(p *protocol, r *request) result {
	if r.hasAny() {
		return result{}
	}
	for _, f := range p.families() {
		for _, a := range k.records(f) {
			if a.seq == uint32(r.hdr.Seq) {
				k.forget(f, a, dropAcquireTimeout)
				return result{}
			}
		}
	}
	return result{}
}

// acquireMessage is an ACQUIRE in its regular or its extended form. The two differ in more than the proposal: in the
// order of their addresses, and in what ports and protocols they show.
func (k *Kernel) acquireMessage(a *acquire, extended bool) []byte {
	n := &a.need
	h := wire.Header{Version: wire.Version, Type: wire.MsgAcquire, Seq: wire.Seq(a.seq)}
	b := make([]byte, 0, 512)
	if !extended {
		h.SAType = a.p.satype
		b = k.d.AppendHeader(b, h)
		b = k.appendNeedOuter(b, n, n.flow.SrcPort, n.flow.DstPort, n.regularProto())
		if n.tunnelMode() {
			b = k.appendNeedInner(b, n, 0)
		}
		return k.d.Finish(k.appendProposal(b, a))
	}
	b = k.appendNeedExtended(k.d.AppendHeader(b, h), n)
	return k.d.Finish(k.appendExtendedProposal(b, n.rule.Actions))
}

// appendNeedExtended adds the addresses as the extended form shows them: what the policy names, or, where it wants an
// SA for each flow, what the packet has.
func (k *Kernel) appendNeedExtended(b []byte, n *need) []byte {
	switch rule := n.rule; {
	case n.tunnelMode():
		b = k.appendNeedInner(b, n, rule.Proto)
		return k.appendNeedOuter(b, n, 0, 0, n.proto)
	case n.tunnel != nil:
		return k.appendNeedOuter(b, n, 0, 0, 0)
	case n.selfEncap():
		b = k.appendNeedInner(b, n, rule.Proto)
		return k.appendNeedOuter(b, n, 0, 0, ip.ProtoIPv6)
	case slices.ContainsFunc(rule.Actions, func(a spd.Action) bool { return a.Unique }):
		return k.appendNeedOuter(b, n, n.flow.SrcPort, n.flow.DstPort, n.flow.Proto)
	default:
		return k.appendNeedOuter(b, n, rule.SrcPort, rule.DstPort, rule.Proto)
	}
}

// regularProto is the protocol that the regular form shows beside the packet's own ports.
func (n *need) regularProto() uint8 {
	if n.tunnel != nil || n.selfEncap() {
		return n.proto
	}
	return n.flow.Proto
}

func (k *Kernel) appendNeedOuter(b []byte, n *need, sport, dport uint16, proto uint8) []byte {
	if n.tunnel != nil {
		sport, dport = 0, 0
	}
	b = k.appendAddress(b, wire.ExtAddressSrc, n.src, sport, proto, 0)
	return k.appendAddress(b, wire.ExtAddressDst, n.dst, dport, proto, 0)
}

// appendNeedInner adds the policy's selectors; where it has none, the zero address with prefix 0.
func (k *Kernel) appendNeedInner(b []byte, n *need, proto uint8) []byte {
	any := netip.PrefixFrom(unspecified(n.flow.Dst), 0)
	src, dst := n.rule.Src, n.rule.Dst
	if !src.IsValid() {
		src = any
	}
	if !dst.IsValid() {
		dst = any
	}
	b = k.appendPrefix(b, wire.IllumosExtXAddressInnerSrc, src, n.rule.SrcPort, proto)
	return k.appendPrefix(b, wire.IllumosExtXAddressInnerDst, dst, n.rule.DstPort, proto)
}

// proposedLifetimes are the tunables of a protocol: soft and hard, bytes, add time and use time.
func (p *protocol) proposedLifetimes() (l [6]uint64) {
	for i := range l {
		l[i] = uint64(p.tun(tunSoftBytes + i))
	}
	return l
}

// appendProposal adds the alternatives that use the record's protocol, one combination each. An alternative that leaves
// an algorithm open has no combination. The window is the tunable's, whatever the policy says.
func (k *Kernel) appendProposal(b []byte, a *acquire) []byte {
	v := wire.Proposal{Replay: uint8(a.p.tun(tunReplaySize))}
	life := a.p.proposedLifetimes()
	for i := range a.need.rule.Actions {
		act := &a.need.rule.Actions[i]
		if !wants(act, a.p) {
			continue
		}
		c := wire.Comb{SoftBytes: life[0], HardBytes: life[1], SoftAddTime: life[2], HardAddTime: life[3],
			SoftUseTime: life[4], HardUseTime: life[5]}
		auth, encrypt := act.AH, spd.NotUsed
		if a.p.isESP() {
			auth, encrypt = act.ESPAuth, act.ESP
		}
		if auth != spd.NotUsed {
			alg := authAlg(algID(auth))
			if alg == nil {
				continue
			}
			c.Auth, c.AuthMinBits, c.AuthMaxBits = alg.id, alg.minBits, alg.maxBits
		}
		if encrypt != spd.NotUsed {
			alg := encryptAlg(algID(encrypt))
			if alg == nil {
				continue
			}
			c.Encrypt = alg.id
			c.EncryptMinBits, c.EncryptMaxBits = alg.limits(act.EncryptMinBits, act.EncryptMaxBits)
		}
		v.Combs = append(v.Combs, c)
	}
	return k.d.AppendProposal(b, v)
}

// appendExtendedProposal adds every alternative that protects, with the algorithms of each protocol it uses; 0 where
// any will do. A cookie lies behind the last one, inside the extension's length, where a walk by lengths does not see
// it.
func (k *Kernel) appendExtendedProposal(b []byte, acts []spd.Action) []byte {
	v := wire.EProp{Replay: defaultReplay}
	for i := range acts {
		act := &acts[i]
		if act.Type != spd.Apply {
			continue
		}
		if act.Replay != 0 {
			v.Replay = act.Replay // the last that names one counts
		}
		if act.KMProtocol != 0 || act.KMCookie != 0 {
			v.Cookie = &wire.KMCookie{Protocol: act.KMProtocol, Cookie: act.KMCookie}
		}
		life := k.lifetimesOf(act).proposedLifetimes()
		e := wire.EComb{SoftBytes: life[0], HardBytes: life[1], SoftAddTime: life[2], HardAddTime: life[3],
			SoftUseTime: life[4], HardUseTime: life[5]}
		add := func(t wire.SAType, kind uint8, table []algorithm, id int, lo, hi uint16) {
			if id == spd.NotUsed {
				return
			}
			d := wire.AlgDesc{SAType: t, AlgType: kind, Alg: algID(id)}
			if alg := findAlg(table, d.Alg); alg != nil {
				d.MinBits, d.MaxBits = alg.limits(lo, hi)
				d.SaltBits = uint8(alg.saltLen * 8)
			}
			e.Algs = append(e.Algs, d)
		}
		add(wire.SATypeAH, wire.IllumosAlgTypeAuth, authAlgs, act.AH, 0, 0)
		add(wire.SATypeESP, wire.IllumosAlgTypeAuth, authAlgs, act.ESPAuth, 0, 0)
		add(wire.SATypeESP, wire.IllumosAlgTypeCrypt, encryptAlgs, act.ESP, act.EncryptMinBits, act.EncryptMaxBits)
		v.Combs = append(v.Combs, e)
	}
	return k.d.AppendEProp(b, v)
}

// lifetimesOf is the protocol whose tunables an alternative is proposed with.
func (k *Kernel) lifetimesOf(a *spd.Action) *protocol {
	if wants(a, k.ah) {
		return k.ah
	}
	return k.esp
}

// limits are the key lengths to propose: the tighter ones of the policy and the algorithm.
func (a *algorithm) limits(lo, hi uint16) (uint16, uint16) {
	lo = max(lo, a.minBits)
	if hi == 0 || hi > a.maxBits {
		hi = a.maxBits
	}
	return lo, hi
}

// algID is an algorithm of an action; 0 if it names none.
func algID(n int) wire.AlgID {
	return wire.AlgID(max(n, 0))
}
