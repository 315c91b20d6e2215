package netlink

import (
	"net/netip"
	"slices"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// policyMemory is what is remembered of policies, by their ids.
type policyMemory struct {
	rules  map[uint32]*rule
	reqIDs map[uint32]int // how many templates have one
	walks  map[*policyWalk]struct{}
}

func (m *policyMemory) init() {
	m.rules, m.reqIDs, m.walks = map[uint32]*rule{}, map[uint32]int{}, map[*policyWalk]struct{}{}
}

// rule is what is remembered of a policy.
type rule struct {
	policy transform.Policy // as it was told last
	added  time.Time        // when it was; zero if it was there before
	own    bool             // PF_KEY has made it
}

func (m *policyMemory) own(id uint32) bool { r := m.rules[id]; return r != nil && r.own }

// firstTimer is how long the timer of every new policy runs.
const firstTimer = time.Second

// timer is how many references the timer of a policy holds. It runs for a second at first, and as long as there are
// limits of time.
func (m *policyMemory) timer(id uint32, now time.Time) int {
	r := m.rules[id]
	if r == nil {
		return 0
	}
	hard, soft := &r.policy.Limits.Hard, &r.policy.Limits.Soft
	if hard.AddTime|hard.UseTime|soft.AddTime|soft.UseTime != 0 || now.Sub(r.added) < firstTimer {
		return 1
	}
	return 0
}

func (m *policyMemory) learn(p *transform.Policy, r *rule) {
	m.forget(p.ID)
	r.policy = *p
	r.policy.Templates = slices.Clone(p.Templates)
	m.rules[p.ID] = r
	for i := range p.Templates {
		m.reqIDs[p.Templates[i].ReqID]++
	}
}

// forget says that a policy is gone.
func (m *policyMemory) forget(id uint32) {
	for w := range m.walks {
		w.gone[id] = true
	}
	r := m.rules[id]
	if r == nil {
		return
	}
	delete(m.rules, id)
	for i := range r.policy.Templates {
		req := r.policy.Templates[i].ReqID
		if m.reqIDs[req]--; m.reqIDs[req] == 0 {
			delete(m.reqIDs, req)
		}
	}
}

// completePolicy adds to what the kernel says of a policy what is remembered: PF_KEY's templates without ends are of
// the policy's family, and propose no algorithm.
func (t *Transforms) completePolicy(p *transform.Policy) {
	if !t.policies.own(p.ID) {
		return
	}
	for i := range p.Templates {
		m := &p.Templates[i]
		m.Auth, m.Encrypt = 0, 0
		if m.Mode != transform.Tunnel {
			m.V6 = p.Selector.Dst.Addr().Is6()
		}
	}
}

// References of a policy as its news and its answers have it, beside the one who asks: its list and its timer, or only
// its timer.
const (
	referencesOfNew  = 2
	referencesOfGone = 0
)

// heardOfPolicies handles news of policies.
func (t *Transforms) heardOfPolicies(n *News) {
	p := n.Policy
	switch n.Type {
	case NewPolicy, UpdPolicy:
		c := transform.Added
		if n.Type == UpdPolicy {
			c = transform.Updated
		}
		t.addedPolicy(c, p, n.By)
	case DelPolicy:
		c := transform.Deleted
		if n.ByID {
			c = transform.DeletedByID
		}
		t.completePolicy(p)
		p.References = referencesOfGone
		t.manager.PolicyChanged(c, p, n.By)
		t.policies.forget(p.ID)
		t.resultOf(DelPolicy)
	case PolicyExpire:
		if n.Hard {
			t.policies.forget(p.ID)
		}
	case FlushPolicies:
		for id := range t.policies.rules {
			t.policies.forget(id)
		}
		for w := range t.policies.walks {
			w.rest = nil
		}
		t.manager.PoliciesFlushed(n.By)
		t.resultOf(FlushPolicies)
	}
}

// addedPolicy handles the news of a policy, or of one in the place of another.
func (t *Transforms) addedPolicy(c transform.Change, p *transform.Policy, by transform.By) {
	r := &rule{added: t.e.Now()}
	if q := t.own; q != nil && (q.kind == NewPolicy || q.kind == UpdPolicy) && q.selector == p.Selector &&
		q.direction == p.Direction && q.by == by {
		q.heard, r.own = true, true
	}
	t.policies.learn(p, r)
	t.completePolicy(p)
	p.References = referencesOfNew
	t.manager.PolicyChanged(c, p, by)
}

// AddPolicy implements afkey's Policies.
func (t *Transforms) AddPolicy(p *transform.Policy, replace bool, by transform.By) wire.Errno {
	r := request{kind: NewPolicy, by: by, direction: p.Direction, selector: p.Selector}
	change := transform.Added
	if replace {
		r.kind, change = UpdPolicy, transform.Updated
	}
	r.tell = func() { // its id stays unknown
		p.References = referencesOfNew
		t.manager.PolicyChanged(change, p, by)
	}
	t.Hear()
	return t.do(r, t.c.AppendPolicy(t.out[:0], p, replace, by))
}

// DeletePolicy implements afkey's Policies.
func (t *Transforms) DeletePolicy(d transform.Direction, sel spd.Selector, by transform.By) wire.Errno {
	t.Hear()
	gone := transform.Policy{Direction: d, Selector: sel, References: referencesOfGone}
	return t.do(request{kind: DelPolicy, by: by, direction: d, selector: sel,
		tell: func() { t.manager.PolicyChanged(transform.Deleted, &gone, by) }},
		t.c.AppendDelPolicy(t.out[:0], d, &sel, by))
}

// checkID says what is wrong with an id. Netlink takes 0 for "by selector", so it is not asked for that.
func checkID(id uint32) wire.Errno {
	switch {
	case id&7 >= uint32(transform.Directions):
		return wire.EINVAL
	case id == 0:
		return wire.ENOENT
	}
	return wire.OK
}

// DeletePolicyID implements afkey's Policies.
func (t *Transforms) DeletePolicyID(id uint32, by transform.By) wire.Errno {
	if errno := checkID(id); errno != wire.OK {
		return errno
	}
	t.Hear()
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	gone := transform.Policy{ID: id, Direction: transform.Direction(id & 7), Selector: spd.Selector{Src: all, Dst: all}}
	if r := t.policies.rules[id]; r != nil {
		gone = r.policy
	}
	gone.References = referencesOfGone
	return t.do(request{kind: DelPolicy, by: by, id: id,
		tell: func() { t.manager.PolicyChanged(transform.DeletedByID, &gone, by) }},
		t.c.AppendDelPolicyID(t.out[:0], id, by))
}

// GetPolicy implements afkey's Policies.
func (t *Transforms) GetPolicy(id uint32, to *transform.Policy) wire.Errno {
	t.Hear()
	return t.describePolicy(id, to)
}

// describePolicy asks how a policy is. That of a socket has no id that can be asked for.
func (t *Transforms) describePolicy(id uint32, to *transform.Policy) wire.Errno {
	if errno := checkID(id); errno != wire.OK {
		return errno
	}
	return t.ask(t.c.AppendGetPolicy(t.out[:0], id), func(m Message) error {
		n, err := t.c.News(m)
		if err != nil {
			return err
		}
		if n.Policy == nil {
			return errShort
		}
		t.completePolicy(n.Policy)
		n.Policy.References = 1 + t.policies.timer(id, t.e.Now())
		*to = *n.Policy
		return nil
	})
}

// FlushPolicies implements afkey's Policies.
func (t *Transforms) FlushPolicies(by transform.By) {
	t.Hear()
	t.do(request{kind: FlushPolicies, by: by, tell: func() { t.manager.PoliciesFlushed(by) }},
		t.c.AppendFlushPolicies(t.out[:0], by))
}

// Migrate implements afkey's Policies.
func (t *Transforms) Migrate(m *transform.Migration) wire.Errno {
	t.Hear()
	return t.do(request{kind: Migrate, tell: func() { t.manager.Migrated(m) }},
		t.c.AppendMigrate(t.out[:0], m, transform.By{}))
}

// ReqIDUsed implements afkey's Policies.
func (t *Transforms) ReqIDUsed(id uint32) bool { return t.policies.reqIDs[id] > 0 }

// rememberPolicies fills the memory of policies.
func (t *Transforms) rememberPolicies() error {
	return t.dump(t.c.AppendDumpPolicies(t.out[:0]), func(n *News) {
		if p := n.Policy; p != nil && !n.Sub && p.Direction < transform.Directions {
			t.policies.learn(p, &rule{})
		}
	})
}
