package netlink

import (
	"maps"
	"slices"

	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// resynchronise finds out what news was lost: both databases are dumped and compared with the memory. What has come,
// changed and gone is told as its news would have been, by nobody, but for the request being made, whose result is told
// in any case (see request.tell). What else came and went in between stays unknown; so do the keys of an SA that is
// gone.
func (t *Transforms) resynchronise() {
	t.e.Log().Warn("netlink: news was lost; the databases are read anew", "times", t.overruns)
	t.compareStates()
	t.comparePolicies()
}

// by is who is told to have done something to an SA.
func (t *Transforms) by(kind Type, key sadb.Key) transform.By {
	if r := t.result(kind, key); r != nil {
		return r.by
	}
	return transform.By{}
}

func (t *Transforms) compareStates() {
	old := maps.Clone(t.states.keyed)
	var come, changed []*transform.State
	err := t.dump(t.c.AppendDumpStates(t.out[:0], transform.AnyProto, transform.Filter{}), func(n *News) {
		s := n.State
		if s == nil || s.Phase == sadb.Larval {
			return
		}
		k := old[s.Key()]
		delete(old, s.Key())
		if k == nil {
			come = append(come, s)
		} else if k.state.Limits != s.Limits || !sameEncap(k.state.Encap, s.Encap) {
			changed = append(changed, s)
		}
	})
	if err != nil {
		t.e.Log().Warn("netlink", "error", err)
		return
	}
	for _, k := range old {
		s := k.state
		s.Phase = sadb.Dead
		s.AuthBits, s.EncryptBits = 0, 0 // nobody knows the keys
		by := t.by(DelState, s.Key())
		t.tellGone(s.Key())
		t.states.forget(&s)
		t.manager.StateChanged(transform.Deleted, &s, by)
	}
	for _, s := range slices.Backward(come) { // the oldest first
		t.added(s, t.by(NewState, s.Key()))
		t.states.keyed[s.Key()].dumped = true
	}
	for _, s := range changed {
		t.updated(s, t.by(UpdState, s.Key()))
	}
}

func sameEncap(a, b *transform.Encap) bool {
	return (a == nil) == (b == nil) && (a == nil || *a == *b)
}

func (t *Transforms) comparePolicies() {
	old := maps.Clone(t.policies.rules)
	var come, changed []*transform.Policy
	err := t.dump(t.c.AppendDumpPolicies(t.out[:0]), func(n *News) {
		p := n.Policy
		if p == nil || n.Sub || p.Direction >= transform.Directions {
			return
		}
		r := old[p.ID]
		delete(old, p.ID)
		switch {
		case r == nil:
			come = append(come, p)
		case r.policy.AddTime != p.AddTime || r.policy.Selector != p.Selector || r.policy.Priority != p.Priority ||
			r.policy.Block != p.Block || r.policy.Limits != p.Limits ||
			!slices.Equal(r.policy.Templates, p.Templates):
			changed = append(changed, p)
		}
	})
	if err != nil {
		t.e.Log().Warn("netlink", "error", err)
		return
	}
	for id, r := range old {
		p, by, change := r.policy, transform.By{}, transform.Deleted
		switch q := t.own; {
		case q == nil || q.kind != DelPolicy:
		case q.id != 0 && q.id == id:
			q.heard, by, change = true, q.by, transform.DeletedByID
		case q.id == 0 && q.selector == p.Selector && q.direction == p.Direction:
			q.heard, by = true, q.by
		}
		t.completePolicy(&p)
		p.References = referencesOfGone
		t.policies.forget(id)
		t.manager.PolicyChanged(change, &p, by)
	}
	for _, p := range slices.Backward(come) {
		t.foundPolicy(transform.Added, p)
	}
	for _, p := range changed {
		t.foundPolicy(transform.Updated, p)
	}
}

// foundPolicy is a policy that a dump has found.
func (t *Transforms) foundPolicy(c transform.Change, p *transform.Policy) {
	by := transform.By{}
	if q := t.own; q != nil && (q.kind == NewPolicy || q.kind == UpdPolicy) && q.selector == p.Selector &&
		q.direction == p.Direction {
		by = q.by
	}
	t.addedPolicy(c, p, by)
}
