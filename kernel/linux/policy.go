package linux

import (
	"math"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/spd"
	"github.com/pfkeyd/pfkeyd/wire"
)

// direction is which packets a policy is for, as the database counts.
type direction uint8

const (
	in direction = iota
	out
	forward
	directions
)

const (
	manualReqIDMax = 0x3fff // above it the kernel chooses
	policyIDStep   = 8      // a policy's id is a multiple of it and the direction
)

// policy is one policy. The control lock guards what is not fixed.
type policy struct {
	id     uint32
	dir    direction
	sel    spd.Selector
	rank   rank
	place  int // in rules.rest when a policy was last inserted there; the lock of rules guards it
	block  bool
	anyAlg bool // ACQUIREs propose every algorithm
	limits limits

	// templates is read by packets; the slice is not changed but replaced.
	templates atomic.Pointer[[]template]

	addTime int64
	useTime atomic.Int64 // 0: never
	dead    atomic.Bool
	routes  recent
	all     node
	timer   engine.Timer
}

func (p *policy) v6() bool { return p.sel.Dst.Addr().Is6() }

// recent counts the packets that have met a policy in this very moment: each leaves a route behind that refers to it,
// until the memory of routes is given back.
type recent struct {
	at atomic.Int64 // ns
	n  atomic.Int64
}

func (r *recent) add(now time.Time) {
	if at := now.UnixNano(); r.at.Swap(at) != at {
		r.n.Store(0)
	}
	r.n.Add(1)
}

func (r *recent) count(now time.Time) int {
	if r.at.Load() != now.UnixNano() {
		return 0
	}
	return int(r.n.Load())
}

// policyTable is the policy database. The control lock guards it; packets read rules, which have their own locks.
type policyTable struct {
	rules [directions]rules
	bySel [directions]map[spd.Selector]*policy
	byID  map[uint32]*policy
	all   list
	order uint64
	ids   uint32         // of the next policy, without its direction
	reqID map[uint32]int // how many templates have a request id
}

func (t *policyTable) init() {
	t.all.init()
	t.byID = map[uint32]*policy{}
	t.reqID = map[uint32]int{}
	for i := range t.bySel {
		t.bySel[i] = map[spd.Selector]*policy{}
	}
}

// nextID finds an id for a new policy.
func (t *policyTable) nextID(dir direction) uint32 {
	for {
		id := t.ids | uint32(dir)
		t.ids += policyIDStep
		if id == 0 {
			id = policyIDStep
		}
		if t.byID[id] == nil {
			return id
		}
	}
}

// insertPolicy adds a policy. One with the same selector is in the way if it is exclusive, and replaced otherwise: then
// it keeps its id, and its place if it has the same priority.
func (k *Kernel) insertPolicy(p *policy, exclusive bool) wire.Errno {
	t := &k.policies
	old := t.bySel[p.dir][p.sel]
	if old != nil && exclusive {
		return wire.EEXIST
	}
	if len(t.byID) >= maxPolicies {
		return wire.ENOBUFS
	}
	t.order++
	p.rank.order = t.order
	if old != nil {
		p.id = old.id
		if p.rank.priority == old.rank.priority {
			p.rank.order = old.rank.order
		}
	} else {
		p.id = t.nextID(p.dir)
	}
	t.rules[p.dir].insert(p)
	if old != nil { // it goes after the new one has come: places are counted with both, and no packet finds neither
		k.removePolicy(old)
	}
	now := k.e.Now()
	p.addTime = now.Unix()
	p.all.p = p
	t.all.pushFront(&p.all)
	t.byID[p.id] = p
	t.bySel[p.dir][p.sel] = p
	t.countReqIDs(p, 1)
	p.timer.Fire = func(now time.Time) { k.lookPolicy(p, now) }
	k.timers.Set(&p.timer, now.Add(firstLook))
	return wire.OK
}

func (t *policyTable) countReqIDs(p *policy, n int) {
	for _, tm := range *p.templates.Load() {
		if t.reqID[tm.reqID] += n; t.reqID[tm.reqID] == 0 {
			delete(t.reqID, tm.reqID)
		}
	}
}

func (k *Kernel) removePolicy(p *policy) {
	t := &k.policies
	t.rules[p.dir].remove(p)
	t.countReqIDs(p, -1)
	delete(t.bySel[p.dir], p.sel)
	delete(t.byID, p.id)
	t.all.remove(&p.all)
	k.timers.Stop(&p.timer)
	p.dead.Store(true)
}

// newReqID chooses a request id for level "unique".
func (k *Kernel) newReqID() uint32 {
	for {
		if k.reqID++; k.reqID == 0 {
			k.reqID = manualReqIDMax + 1
		}
		if k.policies.reqID[k.reqID] == 0 {
			return k.reqID
		}
	}
}

// lookPolicy is a policy's timer. A hard limit removes the policy, a soft one only makes it look again after a while;
// nobody is told.
func (k *Kernel) lookPolicy(p *policy, at time.Time) {
	const again = 30
	now, use := at.Unix(), p.useTime.Load()
	hard := p.limits.hard.deadlines(p.addTime, use, p.addTime, now)
	if hard <= 0 {
		k.removePolicy(p)
		return
	}
	next := hard
	for _, l := range []lifetime{{addTime: p.limits.soft.addTime}, {useTime: p.limits.soft.useTime}} {
		left := l.deadlines(p.addTime, use, p.addTime, now)
		if left <= 0 {
			left = again
		}
		next = min(next, left)
	}
	if next != math.MaxInt64 {
		k.timers.Set(&p.timer, after(at, next))
	}
}

// references is what messages say: how many refer to the policy beside the one who asks.
func (k *Kernel) references(p *policy) int {
	n := p.routes.count(k.e.Now())
	if !p.dead.Load() {
		n++
	}
	if _, set := p.timer.When(); set {
		n++
	}
	return n
}

// policyRule reads X_POLICY without its id, which the kernel chooses, and its requests, and the selector.
func (k *Kernel) policyRule(r *request) (sel spd.Selector, v wire.Policy, errno wire.Errno) {
	src, dst, ok := k.ends(r)
	raw := r.ext[wire.KAMEExtXPolicy]
	if !ok || raw == nil {
		return sel, v, wire.EINVAL
	}
	v = wire.Policy{Type: k.d.Order.Uint16(raw[4:]), Direction: raw[6], Priority: k.d.Order.Uint32(raw[12:])}
	sel = spd.Selector{
		Src: netip.PrefixFrom(src.Addr, int(src.PrefixLen)), Dst: netip.PrefixFrom(dst.Addr, int(dst.PrefixLen)),
		Proto: selectorProto(dst.Proto), SrcPort: src.Port, DstPort: dst.Port,
	}
	return sel, v, wire.OK
}

func badDirection(d uint8) bool { return d == wire.KAMEDirAny || d > wire.LinuxDirForward }

// policyAdd handles SPDADD, SPDSETIDX, which is the same, and SPDUPDATE.
func (k *Kernel) policyAdd(r *request) wire.Errno {
	sel, v, errno := k.policyRule(r)
	if errno != wire.OK {
		return errno
	}
	if v.Type > wire.KAMEPolicyIPsec || badDirection(v.Direction) {
		return wire.EINVAL
	}
	p := &policy{sel: sel, dir: direction(v.Direction - 1), block: v.Type == wire.KAMEPolicyDiscard,
		limits: k.limitsOf(r)}
	p.rank.priority = v.Priority
	var templates []template
	if v.Type == wire.KAMEPolicyIPsec {
		if templates, errno = k.templates(p, r.ext[wire.KAMEExtXPolicy][16:]); errno != wire.OK {
			return errno
		}
	}
	p.templates.Store(&templates)
	update := r.hdr.Type == wire.KAMEMsgXSPDUpdate
	if errno := k.insertPolicy(p, !update); errno != wire.OK {
		return errno
	}
	h := resultHeader(r)
	if !update {
		h.Type = wire.KAMEMsgXSPDAdd
	}
	k.tellPolicy(h, p)
	return wire.OK
}

// Sizes in bytes.
const (
	requestLen = 16
	pairLen4   = 2 * 16
	pairLen6   = 2 * 28
)

// ipsecRequest is the fixed part of a request of X_POLICY.
type ipsecRequest struct {
	len         int
	proto       uint16 // of which templates take the low byte
	mode, level uint8
	reqID       uint32
}

// ipsecRequest reads a request at the start of b; false if it does not fit.
func (k *Kernel) ipsecRequest(b []byte) (q ipsecRequest, ok bool) {
	if len(b) < requestLen {
		return q, false
	}
	q = ipsecRequest{len: int(k.d.Order.Uint16(b)), proto: k.d.Order.Uint16(b[2:]), mode: b[4], level: b[5],
		reqID: k.d.Order.Uint32(b[8:])}
	return q, q.len >= requestLen && q.len <= len(b)
}

// sockaddrs reads two sockaddrs of one family that stand back to back. Only the addresses of them count.
func (k *Kernel) sockaddrs(b []byte) (src, dst netip.Addr, ok bool) {
	if len(b) < 2 {
		return src, dst, false
	}
	switch family := k.d.Order.Uint16(b); {
	case family == k.d.AFInet && len(b) >= pairLen4 && k.d.Order.Uint16(b[16:]) == family:
		return netip.AddrFrom4([4]byte(b[4:])), netip.AddrFrom4([4]byte(b[16+4:])), true
	case family == k.d.AFInet6 && len(b) >= pairLen6 && k.d.Order.Uint16(b[28:]) == family:
		return netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[28+8:])), true
	}
	return src, dst, false
}

// templates reads the requests of a policy. What is too short for one more is ignored.
func (k *Kernel) templates(p *policy, b []byte) (ts []template, errno wire.Errno) {
	for len(b) >= requestLen {
		q, ok := k.ipsecRequest(b)
		if !ok {
			return nil, wire.EINVAL
		}
		if len(ts) == maxTemplates {
			return nil, wire.ELOOP
		}
		t, errno := k.template(p, q, b[requestLen:q.len])
		if errno != wire.OK {
			return nil, errno
		}
		ts = append(ts, t)
		b = b[q.len:]
	}
	return ts, wire.OK
}

func (k *Kernel) template(p *policy, q ipsecRequest, ends []byte) (t template, errno wire.Errno) {
	m, ok := modeOf(q.mode)
	proto := uint8(q.proto)
	switch {
	case q.mode == wire.ModeAny, !ok:
		return t, wire.EINVAL
	case !saProto(proto) && proto != protoRouting && proto != protoDstOpts:
		return t, wire.EINVAL
	}
	t = template{proto: proto, mode: m, v6: p.v6()}
	switch q.level {
	case wire.KAMELevelUse:
		if m.encapsulates() && p.dir == out {
			return t, wire.EINVAL
		}
		t.optional = true
	case wire.KAMELevelUnique:
		if t.reqID = q.reqID; t.reqID == 0 || t.reqID > manualReqIDMax {
			t.reqID = k.newReqID()
		}
	}
	switch m {
	case modeTunnel:
		if t.src, t.dst, ok = k.sockaddrs(ends); !ok {
			return t, wire.EINVAL
		}
		t.v6 = t.dst.Is6()
	case modeBEET: // which has ends as well, but PF_KEY does not bring them
		t.src, t.dst = wildcard(t.v6), wildcard(t.v6)
	}
	return t, wire.OK
}

// policyDelete handles SPDDELETE, which names a policy by its selector.
func (k *Kernel) policyDelete(r *request) wire.Errno {
	sel, v, errno := k.policyRule(r)
	if errno != wire.OK {
		return errno
	}
	if badDirection(v.Direction) {
		return wire.EINVAL
	}
	p := k.policies.bySel[v.Direction-1][sel]
	if p == nil {
		return wire.ENOENT
	}
	k.removePolicy(p)
	k.tellPolicy(resultHeader(r), p)
	return wire.OK
}

// policyGet handles SPDGET and SPDDELETE2, which name a policy by its id.
func (k *Kernel) policyGet(r *request) wire.Errno {
	raw := r.ext[wire.KAMEExtXPolicy]
	if raw == nil {
		return wire.EINVAL
	}
	id := k.d.Order.Uint32(raw[8:])
	if id%policyIDStep >= uint32(directions) {
		return wire.EINVAL
	}
	p := k.policies.byID[id]
	if p == nil {
		return wire.ENOENT
	}
	if r.hdr.Type == wire.KAMEMsgXSPDDelete2 {
		k.removePolicy(p)
		k.tellPolicy(resultHeader(r), p)
		return wire.OK
	}
	m, ok := k.policyMessage(resultHeader(r), p, 1)
	if !ok {
		return wire.EINVAL
	}
	k.broadcast(m, toOne, r.sender)
	return wire.OK
}

// policyDump handles SPDDUMP.
func (k *Kernel) policyDump(r *request) wire.Errno {
	if r.sender.dump != nil {
		return wire.EBUSY
	}
	h := resultHeader(r)
	return k.startDump(&dump{
		list:  &k.policies.all,
		shows: func(*node) bool { return true },
		make: func(n *node, seq uint32) (message, wire.Errno) {
			h.Seq = wire.Seq(seq)
			if m, ok := k.policyMessage(h, n.p, 0); ok {
				return m, wire.OK
			}
			return message{}, wire.EINVAL
		},
	}, r.sender)
}

// policyFlush handles SPDFLUSH. Unlike FLUSH it keeps it to itself when the sender has no room for the answer.
func (k *Kernel) policyFlush(r *request) wire.Errno {
	any := len(k.policies.byID) > 0
	k.policies.all.each(nil, func(n *node) bool {
		k.removePolicy(n.p)
		return true
	})
	if k.echo(r) && any {
		k.broadcast(k.bare(resultHeader(r)), toAll, nil)
	}
	return wire.OK
}

// tellPolicy sends a result about a policy to everybody, unless it has a mode that PF_KEY cannot express.
func (k *Kernel) tellPolicy(h wire.Header, p *policy) {
	if m, ok := k.policyMessage(h, p, 1); ok {
		k.broadcast(m, toAll, nil)
	}
}

// policyMessage describes a policy. The header is h but for the length and the count of references, to which extra is
// added.
func (k *Kernel) policyMessage(h wire.Header, p *policy, extra int) (message, bool) {
	h.Reserved = uint16(k.references(p) + extra)
	b := k.d.AppendHeader(make([]byte, 0, 256), h)
	for _, end := range []struct {
		t    wire.ExtType
		p    netip.Prefix
		port uint16
	}{{wire.ExtAddressSrc, p.sel.Src, p.sel.SrcPort}, {wire.ExtAddressDst, p.sel.Dst, p.sel.DstPort}} {
		b = k.d.AppendAddress(b, end.t, wire.Address{Proto: messageProto(p.sel.Proto), PrefixLen: uint8(end.p.Bits()),
			Addr: end.p.Addr(), Port: end.port})
	}
	b = k.d.AppendLifetime(b, wire.ExtLifetimeHard, p.limits.hard.wire())
	b = k.d.AppendLifetime(b, wire.ExtLifetimeSoft, p.limits.soft.wire())
	b = k.d.AppendLifetime(b, wire.ExtLifetimeCurrent, wire.Lifetime{AddTime: uint64(p.addTime),
		UseTime: uint64(p.useTime.Load())})
	v := wire.Policy{Direction: uint8(p.dir) + 1, ID: p.id, Priority: p.rank.priority}
	templates := *p.templates.Load()
	switch {
	case p.block:
		v.Type = wire.KAMEPolicyDiscard
	case len(templates) > 0:
		v.Type = wire.KAMEPolicyIPsec
	default:
		v.Type = wire.KAMEPolicyNone
	}
	// The original computes the length as if every template had addresses, and takes those of the others off again, but
	// in the size of the last ones seen.
	size, said := len(b)+16, 0
	pair := pairLen(p.v6())
	for _, t := range templates {
		q, ok := requestOf(t)
		if !ok {
			return message{}, false
		}
		v.Requests = append(v.Requests, q)
		size += requestLen + pairLen(t.v6)
		if t.mode == modeTunnel {
			pair = pairLen(t.v6)
		} else {
			said -= pair
		}
	}
	b = k.d.AppendPolicy(b, v)
	h.Len = uint16((size + said) / 8)
	k.d.PutHeader(b, h)
	return message{bytes: b, size: size}, true
}

func pairLen(v6 bool) int {
	if v6 {
		return pairLen6
	}
	return pairLen4
}

// requestOf describes a template; false if its mode is none of PF_KEY's.
func requestOf(t template) (q wire.IPsecRequest, ok bool) {
	q = wire.IPsecRequest{Proto: uint16(t.proto), Level: wire.KAMELevelRequire, ReqID: t.reqID}
	if t.reqID != 0 {
		q.Level = wire.KAMELevelUnique
	}
	if t.optional {
		q.Level = wire.KAMELevelUse
	}
	if q.Mode, ok = t.mode.wire(); !ok {
		return q, false
	}
	if t.mode == modeTunnel {
		q.Src, q.Dst = wire.Sockaddr{Addr: t.src}, wire.Sockaddr{Addr: t.dst}
	}
	return q, true
}

// OutputPolicy is a policy made by other means than PF_KEY: by XFRM netlink, for packets from one host to another, with
// one template that takes every algorithm.
type OutputPolicy struct {
	Src, Dst netip.Addr
	Proto    uint8 // IP protocol of the template
	Mode     uint8 // as XFRM netlink counts: 0 transport, 1 tunnel, 2 route optimisation, 3 inbound trigger, 4 BEET
	ReqID    uint32
}

// AddOutputPolicy adds a policy as a netlink message would: EINVAL for what netlink refuses, EEXIST if there is one
// with this selector. It takes the control lock.
func (k *Kernel) AddOutputPolicy(o OutputPolicy) (errno wire.Errno) {
	if !o.Src.IsValid() || !o.Dst.IsValid() || o.Src.Is4() != o.Dst.Is4() || mode(o.Mode) > modeBEET ||
		!saProto(o.Proto) && o.Proto != protoRouting && o.Proto != protoDstOpts {
		return wire.EINVAL
	}
	src, dst := o.Src.WithZone(""), o.Dst.WithZone("")
	p := &policy{dir: out, anyAlg: true, limits: noLimits, sel: spd.Selector{
		Src: netip.PrefixFrom(src, src.BitLen()), Dst: netip.PrefixFrom(dst, dst.BitLen())}}
	t := template{proto: o.Proto, mode: mode(o.Mode), reqID: o.ReqID, v6: dst.Is6()}
	if mode(o.Mode).encapsulates() {
		t.src, t.dst = src, dst
	}
	p.templates.Store(&[]template{t})
	k.e.Do(func() {
		if errno = k.insertPolicy(p, true); errno == wire.OK {
			k.tellPolicy(wire.Header{Version: wire.Version, Type: wire.KAMEMsgXSPDAdd, Seq: 1}, p)
		}
	})
	return errno
}
