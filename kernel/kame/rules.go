package kame

import (
	"cmp"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Policy is a security policy, struct secpolicy. Once it is in the database, packets read it without a lock, and
// nothing of it changes but what has a lock of its own.
type Policy struct {
	ID               uint32
	Dir              wire.Direction // in or out
	Type             wire.PolicyType
	Priority         uint32 // the smaller is tried first
	Kernel           bool   // the kernel has made it for itself
	Src, Dst         Sockaddr
	SrcBits, DstBits uint8
	Proto            uint8 // 255: any
	Requests         []PolicyRequest
	AddTime, UseTime int64 // limits in seconds since it was added and last used; 0: none

	added int64 // uptime
	used  atomic.Int64
	sel   spd.Selector // of which the protocol is not used: 0 stands for another there
	order uint64       // of being added
	timer engine.Timer
}

// PolicyRequest is one transform that a policy wants, struct ipsecrequest.
type PolicyRequest struct {
	Proto    uint8 // IP protocol
	Mode     wire.Mode
	Level    wire.Level
	ReqID    uint32   // of level UNIQUE; 0 for others
	Src, Dst Sockaddr // of any family; a length of 0: none
}

// index is that of the SA that a request wants for a packet between two ends (ipsec_fill_saidx_bymode). The packet's
// own ends stand in for those that a request for transport mode does not have.
func (q *PolicyRequest) index(src, dst Sockaddr) Index {
	x := Index{Proto: q.Proto, Mode: q.Mode, ReqID: q.ReqID, Src: q.Src, Dst: q.Dst}
	if q.Mode == wire.ModeTransport {
		if x.Src.Len() == 0 {
			x.Src = src
		}
		if x.Dst.Len() == 0 {
			x.Dst = dst
		}
	}
	return x
}

// matches tells whether the policy is for a flow (key_cmpspidx_withmask).
func (p *Policy) matches(f spd.Flow) bool {
	return (p.Proto == AnyProto || p.Proto == f.Proto) && p.sel.Matches(f)
}

// selector is what no two policies of one origin have in common (key_cmpspidx_exactly).
type selector struct {
	dir                wire.Direction
	src, dst           netip.AddrPort
	srcScope, dstScope [4]byte
	srcBits, dstBits   uint8
	proto              uint8
}

func (p *Policy) selector() selector {
	return selector{p.Dir, netip.AddrPortFrom(p.Src.Addr(), p.Src.Port()),
		netip.AddrPortFrom(p.Dst.Addr(), p.Dst.Port()), p.Src.scope(), p.Dst.scope(), p.SrcBits, p.DstBits, p.Proto}
}

// maxPolicies is a limit that the originals leave to memory.
const maxPolicies = 1 << 20

// policies is the policy database. The control lock guards it; packets read the lists, which are replaced and not
// changed: what is behind the end of a list that somebody has may be written.
type policies struct {
	lists  [wire.KAMEDirOut + 1]atomic.Pointer[[]*Policy] // by direction, in the order in which they are tried
	bySel  map[selector][]*Policy
	byID   map[uint32]*Policy
	order  uint64
	id     uint32 // the last one given
	reqID  uint32 // the last one that the kernel has chosen
	timers engine.Timers
	due    []*Policy // in the pass that is running
}

func (t *policies) init() {
	t.bySel, t.byID, t.reqID = map[selector][]*Policy{}, map[uint32]*Policy{}, manualReqIDMax+1
	for i := range t.lists {
		t.lists[i].Store(new([]*Policy))
	}
}

// list are the policies of a direction.
func (t *policies) list(dir wire.Direction) []*Policy { return *t.lists[dir].Load() }

// discards is the policy of packets that have none, if the heir's knob wants it.
var discards = &Policy{Type: wire.KAMEPolicyDiscard}

// policyFor finds the policy for a packet, and counts it as used; nil: IPsec lets the packet alone. It takes no lock.
func (k *Kernel) policyFor(dir wire.Direction, f spd.Flow) *Policy {
	if !k.heir.Looks() {
		return nil
	}
	for _, p := range k.spd.list(dir) {
		if p.matches(f) {
			p.used.Store(k.Uptime())
			return p
		}
	}
	if k.Knob("net.inet.ipsec.def_policy") == int64(wire.KAMEPolicyDiscard) {
		return discards
	}
	return nil
}

// Policies is how many policies there are. The control lock is held.
func (k *Kernel) Policies() int { return len(k.spd.byID) }

// insertPolicy adds a policy with an id of its own, behind those of the same priority.
func (k *Kernel) insertPolicy(p *Policy) wire.Errno {
	t := &k.spd
	if len(t.byID) >= maxPolicies || !k.newPolicyID(p) {
		return wire.ENOBUFS
	}
	t.order++
	p.order = t.order
	p.sel = spd.Selector{Src: netip.PrefixFrom(p.Src.Addr(), int(p.SrcBits)), SrcPort: p.Src.Port(),
		Dst: netip.PrefixFrom(p.Dst.Addr(), int(p.DstBits)), DstPort: p.Dst.Port()}
	p.added = k.Uptime()
	p.used.Store(p.added)
	list := t.list(p.Dir)
	if i, _ := slices.BinarySearchFunc(list, p, compareRank); i == len(list) {
		list = append(list, p)
	} else {
		list = slices.Insert(slices.Clone(list), i, p)
	}
	t.lists[p.Dir].Store(&list)
	s := p.selector()
	t.bySel[s] = append(t.bySel[s], p)
	t.byID[p.ID] = p
	k.setPolicyTimer(p)
	k.heir.PolicyAdded()
	return wire.OK
}

// newPolicyID gives a policy an id that no other has (key_getnewspid); false if none is found.
func (k *Kernel) newPolicyID(p *Policy) bool {
	t := &k.spd
	for range k.page.Policies.IDTries(k) {
		t.id = max(t.id+1, 1)
		if t.byID[t.id] == nil {
			p.ID = t.id
			return true
		}
	}
	return false
}

func compareRank(a, b *Policy) int {
	if a.Priority != b.Priority {
		return cmp.Compare(uint64(a.Priority), uint64(b.Priority))
	}
	return cmp.Compare(a.order, b.order)
}

// removePolicy takes out a policy that is in the database.
func (k *Kernel) removePolicy(p *Policy) {
	list := slices.Clone(k.spd.list(p.Dir))
	i, _ := slices.BinarySearchFunc(list, p, compareRank)
	list = slices.Delete(list, i, i+1)
	k.spd.lists[p.Dir].Store(&list)
	k.spd.forget(p)
}

// removePolicies takes out many. Each list is copied once, and not for each policy.
func (k *Kernel) removePolicies(ps []*Policy) {
	if len(ps) == 0 { // as in most passes
		return
	}
	t := &k.spd
	for _, p := range ps {
		t.forget(p)
	}
	for _, dir := range []wire.Direction{wire.KAMEDirIn, wire.KAMEDirOut} {
		left := slices.DeleteFunc(slices.Clone(t.list(dir)), func(p *Policy) bool { return t.byID[p.ID] != p })
		t.lists[dir].Store(&left)
	}
}

// forget takes a policy out of everything but its list.
func (t *policies) forget(p *Policy) {
	s := p.selector()
	if t.bySel[s] = without(t.bySel[s], p); len(t.bySel[s]) == 0 {
		delete(t.bySel, s)
	}
	delete(t.byID, p.ID)
	t.timers.Stop(&p.timer)
}

func without(list []*Policy, p *Policy) []*Policy {
	return slices.DeleteFunc(list, func(o *Policy) bool { return o == p })
}

// find is the policy with a selector that the kernel has made, or that programs have made.
func (t *policies) find(s selector, kernel bool) *Policy {
	for _, p := range t.bySel[s] {
		if p.Kernel == kernel {
			return p
		}
	}
	return nil
}

// all are the policies in the order of a DUMP.
func (t *policies) all() []*Policy {
	return slices.Concat(t.list(wire.KAMEDirIn), t.list(wire.KAMEDirOut))
}

// manualReqIDMax is the highest request id that a program may choose; above it the kernel chooses.
const manualReqIDMax = 0x3fff

// newReqID chooses a request id for level UNIQUE (key_newreqid).
func (t *policies) newReqID() uint32 {
	t.reqID = max(t.reqID+1, manualReqIDMax+1)
	return t.reqID
}
