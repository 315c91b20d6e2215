package openbsd

import (
	"net/netip"
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Directions of flows.
const (
	dirIn  wire.Direction = 1
	dirOut wire.Direction = 2
)

// Flow is a policy, struct ipsec_policy. Packets read it without a lock, but for what an ADDFLOW may change, which it
// replaces as a whole.
type Flow struct {
	Key, Mask selector // which packets it is for

	id     tableID
	rule   atomic.Pointer[rule]
	static bool                   // the control lock guards it
	cache  atomic.Pointer[cached] // the SA that was found last
	// The lock of the acquires guards the rest.
	acquires map[netip.Addr]*acquire // by the peer that they ask for
	gone     bool                    // it makes no more
}

// rule is what a flow does with packets. It never changes.
type rule struct {
	kind     wire.FlowType
	proto    uint8      // IP protocol of the SA, whatever is wanted; of an unknown SA type IPIP
	src, dst netip.Addr // local end and peer of the SA; invalid: none is named
	ids      *identities
}

// cached is the SA that a flow has found, or that there is none, for one peer and as long as no SA comes or goes.
type cached struct {
	generation uint64
	peer       netip.Addr
	sa         *SA
}

// anyPeer tells whether the peer is that of each packet. What names no peer finds no SA.
func (r *rule) anyPeer() bool {
	return r.dst.IsValid() && (r.dst.IsUnspecified() || r.dst == broadcast4 || r.dst == broadcast6)
}

var (
	broadcast4 = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	broadcast6 = netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
)

// lookup asks the flows about a packet (ipsp_spd_lookup). sa is the SA for a packet that goes out; nil: it goes as it
// is. It takes no control lock.
func (k *Kernel) lookup(s *passing, dir wire.Direction) (sa *SA, o outcome) {
	f, ok := s.flow()
	if k.spd.flows.Load() == 0 {
		return nil, outcome{}
	}
	if !ok {
		return nil, drop(packet.BadHeader, wire.EINVAL)
	}
	sel := selectorOf(f)
	flow := k.spd.match(tableID{s.rdomain, dir, f.Dst.Is6()}, &sel)
	if flow == nil {
		return nil, outcome{}
	}
	r := flow.rule.Load()
	switch r.kind {
	case wire.OpenBSDFlowBypass:
		return nil, outcome{}
	case wire.OpenBSDFlowDeny:
		return nil, drop(packet.PolicyDiscard, wire.EHOSTUNREACH)
	}
	peer := r.dst
	if r.anyPeer() {
		peer = f.Dst
		if dir == dirIn {
			peer = f.Src
		}
	}
	if dir == dirOut {
		return k.leave(flow, r, peer, f)
	}
	return nil, k.enter(s, flow, r, peer, f)
}

// leave finds the SA for a packet that goes out.
func (k *Kernel) leave(flow *Flow, r *rule, peer netip.Addr, f spd.Flow) (*SA, outcome) {
	if sa := k.find(flow, r, peer, dirOut); sa != nil {
		return sa, outcome{}
	}
	switch r.kind {
	case wire.OpenBSDFlowRequire:
		if !k.ask(flow, r, peer, f) {
			return nil, drop(packet.AcquireUnheard, wire.EACCES)
		}
		return nil, drop(packet.NoSA, wire.OK)
	case wire.OpenBSDFlowDontAcq:
		return nil, drop(packet.NoSA, wire.OK)
	case wire.OpenBSDFlowAcquire:
		k.ask(flow, r, peer, f)
	}
	return nil, outcome{}
}

// enter finds out whether a packet that came in had the protection that a flow wants.
func (k *Kernel) enter(s *passing, flow *Flow, r *rule, peer netip.Addr, f spd.Flow) outcome {
	if sa := s.protector(r); sa != nil && sa.suits(flow, r, peer) {
		return outcome{}
	}
	switch found := k.find(flow, r, peer, dirIn); r.kind {
	case wire.OpenBSDFlowRequire:
		if found == nil && !k.ask(flow, r, peer, f) {
			return drop(packet.AcquireUnheard, wire.ESRCH)
		}
		return drop(packet.PolicyMismatch, wire.OK)
	case wire.OpenBSDFlowDontAcq:
		return drop(packet.PolicyMismatch, wire.OK)
	case wire.OpenBSDFlowAcquire:
		if found == nil {
			k.ask(flow, r, peer, f)
		}
	}
	return outcome{}
}

// protector is the SA that counts for a packet that came in: the last of ESP and AH. If that is ESP, and IPComp is
// wanted which is linked in front of it, it is that.
func (s *passing) protector(r *rule) (sa *SA) {
	for _, d := range s.done {
		if d.Proto != ip.ProtoComp {
			sa = d
		}
	}
	if sa != nil && r.proto == ip.ProtoComp && sa.Proto == ip.ProtoESP {
		if before := sa.before.Load(); before != nil && before.Proto == ip.ProtoComp {
			return before
		}
	}
	return sa
}

// suits tells whether what came in with an SA had what a flow wants. An SA without a source suits for every peer.
func (sa *SA) suits(flow *Flow, r *rule, peer netip.Addr) bool {
	p := sa.Protection()
	if p == nil || sa.Proto != r.proto || p.Src.IsValid() && p.Src != peer {
		return false
	}
	return r.ids == nil || p.IDs != nil && *p.IDs == *r.ids
}

// find finds the newest SA that a flow wants, which goes to a peer, or comes from it (gettdbbydst, gettdbbysrc).
func (k *Kernel) find(flow *Flow, r *rule, peer netip.Addr, dir wire.Direction) *SA {
	generation := k.tdb.generation.Load()
	if c := flow.cache.Load(); c != nil && c.generation == generation && c.peer == peer {
		return c.sa
	}
	ends := &k.tdb.byDst
	if dir == dirIn {
		ends = &k.tdb.bySrc
	}
	sa := ends.find(end{flow.id.rdomain, r.proto, peer}, func(sa *SA) bool {
		p := sa.Protection()
		return p != nil && (r.ids == nil || p.IDs != nil && *p.IDs == *r.ids) &&
			(p.Filter == nil || *p.Filter == filter{flow.id.dir, flow.id.v6, flow.Key, flow.Mask})
	})
	flow.cache.Store(&cached{generation, peer, sa})
	return sa
}

// addFlow handles X_ADDFLOW, delFlow X_DELFLOW. A flow is the same as another if packets from its own base address to
// its own base address would find it: one that lies within it may hide it.
func (k *Kernel) addFlow(r *request) wire.Errno {
	f, errno := k.flowIn(r)
	if errno != wire.OK {
		return errno
	}
	_, errno = k.putFlow(r, f)
	return errno
}

// putFlow adds a flow, or gives the one that is there another rule. undo, if it succeeds, makes all as it was.
func (k *Kernel) putFlow(r *request, f *Flow) (undo func(), errno wire.Errno) {
	old := k.sameFlow(f)
	if old != nil && old.static && !f.static {
		return func() {}, wire.OK
	}
	kind, _ := k.d.ParseFlowProtocol(r.ext(wire.OpenBSDExtXFlowType))
	if kind.Value < wire.OpenBSDFlowUse || kind.Value > wire.OpenBSDFlowDontAcq {
		if old != nil {
			k.removeFlow(old)
		}
		return nil, wire.EINVAL
	}
	wanted := &rule{kind: kind.Value, proto: flowProto(r.satype()), src: k.addressOf(r.ext(wire.ExtAddressSrc)),
		dst: k.addressOf(r.ext(wire.ExtAddressDst)), ids: k.identitiesIn(r, false)}
	if old == nil {
		f.rule.Store(wanted)
		_, errno = k.spd.insert(f)
		return func() { k.removeFlow(f) }, errno
	}
	change := func(r *rule, static bool) {
		old.static = static
		old.rule.Store(r)
		old.cache.Store(nil)
	}
	before, static := old.rule.Load(), old.static
	change(wanted, false) // not static, whatever the request says
	return func() { change(before, static) }, wire.OK
}

func (k *Kernel) delFlow(r *request) wire.Errno {
	f, errno := k.flowIn(r)
	if errno != wire.OK {
		return errno
	}
	switch old := k.sameFlow(f); {
	case old == nil:
		return wire.ESRCH
	case old.static && !f.static:
	default:
		k.removeFlow(old)
	}
	return wire.OK
}

// sameFlow is the flow that is there already.
func (k *Kernel) sameFlow(f *Flow) *Flow {
	if old := k.spd.match(f.id, &f.Key); old != nil && old.Key == f.Key && old.Mask == f.Mask {
		return old
	}
	return nil
}

// flowIn reads which packets the flow of a request is for (import_flow), and shows in the reply what is left of the
// addresses.
func (k *Kernel) flowIn(r *request) (*Flow, wire.Errno) {
	kind, _ := k.d.ParseFlowProtocol(r.ext(wire.OpenBSDExtXFlowType))
	if kind.Direction != dirIn && kind.Direction != dirOut {
		return nil, wire.EINVAL
	}
	if r.msg[3] == 0 {
		r.msg[3] = espNumber
	}
	key, mask, v6, ok := k.selectorIn(r)
	if !ok {
		return nil, wire.EINVAL
	}
	f := &Flow{Key: key, Mask: mask, id: tableID{r.rdomain, kind.Direction, v6}}
	f.static = kind.Flags&wire.OpenBSDPolicyStatic != 0
	return f, wire.OK
}

// selectorIn reads the selector that a request has in the extensions of a flow; false if its addresses are not of one
// family, IPv4 or IPv6. It clears in them what the masks do. Of no family, which messages about TCP signatures may
// have, the original makes a flow that no packet meets.
func (k *Kernel) selectorIn(r *request) (key, mask selector, v6, ok bool) {
	src, dst := r.ext(wire.OpenBSDExtXSrcFlow), r.ext(wire.OpenBSDExtXDstFlow)
	srcMask, dstMask := r.ext(wire.OpenBSDExtXSrcMask), r.ext(wire.OpenBSDExtXDstMask)
	const family, fixed = 9, 10 // where the family stands, and what masks clear begins
	size := addressLen + int(src[addressLen])
	if src[family] == 0 {
		return key, mask, false, false
	}
	for _, x := range [][]byte{dst, srcMask, dstMask} {
		if x[family] != src[family] || len(x) != len(src) {
			return key, mask, false, false
		}
	}
	for i := fixed; i < size; i++ {
		src[i] &= srcMask[i]
		dst[i] &= dstMask[i]
	}
	flow := func(src, dst []byte, proto uint8) (f spd.Flow) {
		a, _ := k.d.ParseAddress(src)
		b, _ := k.d.ParseAddress(dst)
		return spd.Flow{Src: a.Addr, Dst: b.Addr, Proto: proto, SrcPort: a.Port, DstPort: b.Port}
	}
	var proto, protoMask uint8
	if raw := r.ext(wire.OpenBSDExtXProtocol); raw != nil {
		if v, _ := k.d.ParseFlowProtocol(raw); v.Value != 0 {
			proto, protoMask = v.Value, 0xff
		}
	}
	f := flow(src, dst, proto)
	return selectorOf(f), selectorOf(flow(srcMask, dstMask, protoMask)), f.Dst.Is6(), true
}

// flowProto is the IP protocol of the SAs that a flow wants, by the number of their type (SADB_X_GETSPROTO).
func flowProto(satype uint8) uint8 {
	if p := protoOf(satype); p != 0 {
		return p
	}
	return ip.ProtoIPv4
}

// removeFlow takes a flow out, and what it has asked for.
func (k *Kernel) removeFlow(f *Flow) {
	k.spd.remove(f)
	k.acquires.forget(k, f)
}

// flushFlows takes out all flows of a routing domain. The control lock is held.
func (k *Kernel) flushFlows(rdomain int) {
	for _, f := range k.spd.all(rdomain) {
		k.removeFlow(f)
	}
}

// dumpFlows describes the flows of a routing domain as sysctl(8) lists them (net.key.spd_dump), in the order of the
// original's tree. need is how many bytes it announces. The control lock is held.
func (k *Kernel) dumpFlows(rdomain int) (msgs [][]byte) {
	for _, f := range k.spd.all(rdomain) {
		msgs = append(msgs, k.flowMessage(f))
	}
	return msgs
}

// flowMessage describes a flow (pfkeyv2_dump_policy).
func (k *Kernel) flowMessage(f *Flow) []byte {
	r := f.rule.Load()
	t := acquireType(r.proto)
	if r.proto == ip.ProtoIPv4 {
		t = wire.SATypeIPIP
	}
	b := k.d.AppendHeader(make([]byte, 0, 256), wire.Header{Version: wire.Version, Type: wire.OpenBSDMsgXSPDDump,
		SAType: t})
	if r.src.IsValid() {
		b = k.appendAddress(b, wire.ExtAddressSrc, r.src)
	}
	if r.dst.IsValid() {
		b = k.appendAddress(b, wire.ExtAddressDst, r.dst)
	}
	b = k.appendFlow(b, r.kind, f.id.dir, f.id.v6, &f.Key, &f.Mask)
	if r.ids != nil {
		b = k.appendIdentity(b, wire.ExtIdentitySrc, r.ids.local)
		b = k.appendIdentity(b, wire.ExtIdentityDst, r.ids.remote)
	}
	return k.d.Finish(b)
}

// appendFlow appends the extensions of a flow, in the order of sysctl(8) (export_flow).
func (k *Kernel) appendFlow(b []byte, kind wire.FlowType, dir wire.Direction, v6 bool, key, mask *selector) []byte {
	f, m := key.parts(v6), mask.parts(v6)
	b = k.d.AppendFlowProtocol(b, wire.OpenBSDExtXFlowType, wire.FlowProtocol{Value: kind, Direction: dir})
	b = k.d.AppendFlowProtocol(b, wire.OpenBSDExtXProtocol, wire.FlowProtocol{Value: f.Proto & m.Proto})
	b = k.d.AppendAddress(b, wire.OpenBSDExtXSrcFlow, wire.Address{Addr: f.Src, Port: f.SrcPort})
	b = k.d.AppendAddress(b, wire.OpenBSDExtXSrcMask, wire.Address{Addr: m.Src, Port: m.SrcPort})
	b = k.d.AppendAddress(b, wire.OpenBSDExtXDstFlow, wire.Address{Addr: f.Dst, Port: f.DstPort})
	return k.d.AppendAddress(b, wire.OpenBSDExtXDstMask, wire.Address{Addr: m.Dst, Port: m.DstPort})
}
