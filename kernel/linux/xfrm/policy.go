package xfrm

import (
	"math"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// policyIDStep is what a policy's id is a multiple of, but for the direction, which is added.
const policyIDStep = 8

// policy is one policy. The control lock guards what is not fixed.
type policy struct {
	id     uint32
	dir    transform.Direction
	sel    spd.Selector
	rank   rank
	place  int // in rules.rest when a policy was last inserted there; the lock of rules guards it
	block  bool
	limits transform.Limits

	// templates is read by packets; the slice is not changed but replaced.
	templates atomic.Pointer[[]transform.Template]

	addTime int64
	useTime atomic.Int64 // 0: never
	dead    atomic.Bool
	routes  recent
	all     node
	timer   engine.Timer
}

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
	rules [transform.Directions]rules
	bySel [transform.Directions]map[spd.Selector]*policy
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
func (t *policyTable) nextID(dir transform.Direction) uint32 {
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
func (x *Transforms) insertPolicy(p *policy, exclusive bool) wire.Errno {
	t := &x.policies
	old := t.bySel[p.dir][p.sel]
	if old != nil && exclusive {
		return wire.EEXIST
	}
	if len(t.byID) >= transform.MaxPolicies {
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
		x.removePolicy(old)
	}
	now := x.e.Now()
	p.addTime = now.Unix()
	p.all.p = p
	t.all.pushFront(&p.all)
	t.byID[p.id] = p
	t.bySel[p.dir][p.sel] = p
	t.countReqIDs(p, 1)
	p.timer.Fire = func(now time.Time) { x.lookPolicy(p, now) }
	x.timers.Set(&p.timer, now.Add(firstLook))
	return wire.OK
}

func (t *policyTable) countReqIDs(p *policy, n int) {
	for _, tm := range *p.templates.Load() {
		if t.reqID[tm.ReqID] += n; t.reqID[tm.ReqID] == 0 {
			delete(t.reqID, tm.ReqID)
		}
	}
}

func (x *Transforms) removePolicy(p *policy) {
	t := &x.policies
	t.rules[p.dir].remove(p)
	t.countReqIDs(p, -1)
	delete(t.bySel[p.dir], p.sel)
	delete(t.byID, p.id)
	t.all.remove(&p.all)
	x.timers.Stop(&p.timer)
	p.dead.Store(true)
}

// lookPolicy is a policy's timer. A hard limit removes the policy, a soft one only makes it look again after a while;
// nobody is told.
func (x *Transforms) lookPolicy(p *policy, at time.Time) {
	const again = 30
	now, use := at.Unix(), p.useTime.Load()
	hard := deadlines(p.limits.Hard, p.addTime, use, p.addTime, now)
	if hard <= 0 {
		x.removePolicy(p)
		return
	}
	next := hard
	for _, l := range []transform.Lifetime{{AddTime: p.limits.Soft.AddTime}, {UseTime: p.limits.Soft.UseTime}} {
		left := deadlines(l, p.addTime, use, p.addTime, now)
		if left <= 0 {
			left = again
		}
		next = min(next, left)
	}
	if next != math.MaxInt64 {
		x.timers.Set(&p.timer, after(at, next))
	}
}

// references is what messages say: how many refer to the policy beside the one who asks.
func (x *Transforms) references(p *policy) int {
	n := p.routes.count(x.e.Now())
	if !p.dead.Load() {
		n++
	}
	if _, set := p.timer.When(); set {
		n++
	}
	return n
}

// AddPolicy adds a policy, and tells of it. One with the same selector is in the way, or is replaced. ID, times and
// references are not looked at; the templates are kept.
func (x *Transforms) AddPolicy(rule *transform.Policy, replace bool, by transform.By) wire.Errno {
	p := &policy{sel: rule.Selector, dir: rule.Direction, block: rule.Block, limits: rule.Limits}
	p.rank.priority = rule.Priority
	templates := rule.Templates
	p.templates.Store(&templates)
	if errno := x.insertPolicy(p, !replace); errno != wire.OK {
		return errno
	}
	change := transform.Added
	if replace {
		change = transform.Updated
	}
	x.tellPolicy(change, p, by)
	return wire.OK
}

// GetPolicy describes a policy that is named by its id.
func (x *Transforms) GetPolicy(id uint32, to *transform.Policy) wire.Errno {
	p, errno := x.policyByID(id)
	if errno == wire.OK {
		x.describePolicy(p, to)
	}
	return errno
}

// DeletePolicyID removes a policy that is named by its id, and tells of it.
func (x *Transforms) DeletePolicyID(id uint32, by transform.By) wire.Errno {
	p, errno := x.policyByID(id)
	if errno == wire.OK {
		x.removePolicy(p)
		x.tellPolicy(transform.DeletedByID, p, by)
	}
	return errno
}

// DeletePolicy removes a policy that is named by its selector, and tells of it.
func (x *Transforms) DeletePolicy(d transform.Direction, sel spd.Selector, by transform.By) wire.Errno {
	p := x.policies.bySel[d][sel]
	if p == nil {
		return wire.ENOENT
	}
	x.removePolicy(p)
	x.tellPolicy(transform.Deleted, p, by)
	return wire.OK
}

func (x *Transforms) policyByID(id uint32) (*policy, wire.Errno) {
	if id%policyIDStep >= uint32(transform.Directions) {
		return nil, wire.EINVAL
	}
	p := x.policies.byID[id]
	if p == nil {
		return nil, wire.ENOENT
	}
	return p, wire.OK
}

// FlushPolicies removes all policies, and tells of it if there was any.
func (x *Transforms) FlushPolicies(by transform.By) {
	any := len(x.policies.byID) > 0
	x.policies.all.each(nil, func(n *node) bool {
		x.removePolicy(n.p)
		return true
	})
	if any {
		x.manager.PoliciesFlushed(by)
	}
}

// ReqIDUsed tells whether a template has this request id.
func (x *Transforms) ReqIDUsed(id uint32) bool { return x.policies.reqID[id] != 0 }

// describePolicy puts down what a policy is now.
func (x *Transforms) describePolicy(p *policy, to *transform.Policy) {
	*to = transform.Policy{ID: p.id, Direction: p.dir, Selector: p.sel, Priority: p.rank.priority, Block: p.block,
		Limits: p.limits, Templates: *p.templates.Load(), AddTime: p.addTime, UseTime: p.useTime.Load(),
		References: x.references(p)}
}

// tellPolicy tells the key manager what has become of a policy.
func (x *Transforms) tellPolicy(c transform.Change, p *policy, by transform.By) {
	x.describePolicy(p, &x.toldPolicy)
	x.manager.PolicyChanged(c, &x.toldPolicy, by)
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
func (x *Transforms) AddOutputPolicy(o OutputPolicy) (errno wire.Errno) {
	mode := transform.Mode(o.Mode)
	if !o.Src.IsValid() || !o.Dst.IsValid() || o.Src.Is4() != o.Dst.Is4() || mode > transform.BEET ||
		!saProto(o.Proto) && o.Proto != ip.ProtoRouting && o.Proto != ip.ProtoDestOptions {
		return wire.EINVAL
	}
	const all = math.MaxUint32
	src, dst := o.Src.WithZone(""), o.Dst.WithZone("")
	t := transform.Template{
		Proto: o.Proto, Mode: mode, ReqID: o.ReqID, V6: dst.Is6(), Auth: all, Encrypt: all}
	if mode.Encapsulates() {
		t.Src, t.Dst = src, dst
	}
	p := transform.Policy{
		Direction: transform.Out,
		Selector: spd.Selector{
			Src: netip.PrefixFrom(src, src.BitLen()), Dst: netip.PrefixFrom(dst, dst.BitLen())},
		Limits:    transform.NoLimits,
		Templates: []transform.Template{t},
	}
	x.e.Do(func() { errno = x.AddPolicy(&p, false, transform.By{Seq: 1}) })
	return errno
}
