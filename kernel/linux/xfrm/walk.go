package xfrm

import "github.com/pfkeyd/pfkeyd/kernel/linux/transform"

// walk is one over the SAs or the policies. While it waits it has a place of its own in the list.
type walk[T any] struct {
	list     *list
	at       *node            // its place, before the next one to show; nil at first, and when none is left
	ended    bool             // none is left
	describe func(n *node) *T // nil for what is not to be shown
}

// Walk begins to go over the SAs of a protocol, or of [transform.AnyProto].
func (x *Transforms) Walk(proto uint8, f transform.Filter) transform.Walk[transform.State] {
	return &walk[transform.State]{list: &x.states.all, describe: func(n *node) *transform.State {
		if !protoMatches(n.s.Proto, proto) || !filtered(&f, n.s) {
			return nil
		}
		n.s.describe(&x.told)
		return &x.told
	}}
}

// filtered tells whether the filter lets an SA through.
func filtered(f *transform.Filter, s *sa) bool {
	if f.V4 && s.V6() || f.V6 && !s.V6() {
		return false
	}
	return rawPrefix(transform.Raw(s.Src), f.Src, f.SrcBits) && rawPrefix(transform.Raw(s.Dst), f.Dst, f.DstBits)
}

// WalkPolicies begins to go over the policies.
func (x *Transforms) WalkPolicies() transform.Walk[transform.Policy] {
	return &walk[transform.Policy]{list: &x.policies.all, describe: func(n *node) *transform.Policy {
		x.describePolicy(n.p, &x.toldPolicy)
		return &x.toldPolicy
	}}
}

// Each implements [transform.Walk].
func (w *walk[T]) Each(f func(*T) bool) (done bool) {
	if w.ended {
		return true
	}
	stopped := w.list.each(w.at, func(n *node) bool {
		v := w.describe(n)
		return v == nil || f(v)
	})
	w.Close()
	if stopped == nil {
		w.ended = true
		return true
	}
	w.at = &node{}
	insertAfter(stopped.prev, w.at)
	return false
}

// Close implements [transform.Walk].
func (w *walk[T]) Close() {
	if w.at != nil {
		w.list.remove(w.at)
		w.at = nil
	}
}

// Counts returns how many SAs there are, how many of them are ACQUIREs without an answer, and how many policies.
func (x *Transforms) Counts() (states, acquires, policies int) {
	return x.states.n, len(x.states.bySeq), len(x.policies.byID)
}

// Acquires goes over the ACQUIREs without an answer, in no order, until f returns false.
func (x *Transforms) Acquires(f func(*transform.State) bool) {
	for _, s := range x.states.bySeq {
		if s.describe(&x.told); !f(&x.told) {
			return
		}
	}
}
