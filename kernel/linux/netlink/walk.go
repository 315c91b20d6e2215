package netlink

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// stateName is how a walk knows an SA. Several without an SPI go to one address, but no two that an ACQUIRE has asked
// for have one number.
type stateName struct {
	sadb.Key
	seq uint32 // 0 where there is an SPI
}

func nameOfState(s *transform.State) stateName {
	n := stateName{Key: s.Key()}
	if n.SPI == 0 {
		n.seq = s.MsgSeq
	}
	return n
}

// stateWalk goes over a list taken at once, and passes over what has gone since. When it goes on after a rest, it shows
// how each is now.
type stateWalk struct {
	listing
	resumed bool
	gone    map[stateName]bool
	changed map[stateName]bool // which are asked for alone
	flushed []uint8            // protocols
}

// Walk implements afkey's States.
func (t *Transforms) Walk(proto uint8, f transform.Filter) transform.Walk[transform.State] {
	t.Hear()
	w := &stateWalk{gone: map[stateName]bool{}, changed: map[stateName]bool{}, listing: listing{t: t,
		request: func() []byte { return t.c.AppendDumpStates(t.out[:0], proto, f) }, name: stateInList}}
	w.take()
	t.states.walks[w] = struct{}{}
	return w
}

// Each implements [transform.Walk].
func (w *stateWalk) Each(f func(*transform.State) bool) (done bool) {
	if w.resumed {
		w.t.Hear()
		w.renew()
	}
	for len(w.rest) > 0 {
		if s := w.read(w.rest[0]); s != nil {
			more := f(s)
			clear(s.Keys)
			if !more {
				w.resumed = true
				return false
			}
		}
		clear(w.rest[0].Body)
		w.rest = w.rest[1:]
	}
	w.Close()
	return true
}

// read describes the next SA; nil if it is gone.
func (w *stateWalk) read(m Message) *transform.State {
	n, err := w.t.c.News(m)
	if err != nil || n.State == nil {
		return nil
	}
	s := n.State
	if w.gone[nameOfState(s)] || slices.ContainsFunc(w.flushed, func(p uint8) bool { return matches(p, s.Proto) }) {
		return nil
	}
	if w.changed[nameOfState(s)] && s.SPI != 0 {
		var now transform.State
		if w.t.describe(s.Key(), &now) == wire.OK { // one with a mark is not found
			clear(s.Keys)
			return &now
		}
	}
	w.t.complete(s)
	return s
}

// Close implements [transform.Walk].
func (w *stateWalk) Close() {
	for _, m := range w.rest {
		clear(m.Body)
	}
	w.rest = nil
	delete(w.t.states.walks, w)
}

// policyWalk is to policies what stateWalk is to SAs.
type policyWalk struct {
	listing
	resumed bool
	gone    map[uint32]bool // by id
}

// WalkPolicies implements afkey's Policies. Policies of sockets are among them, with the directions that the kernel
// gives those.
func (t *Transforms) WalkPolicies() transform.Walk[transform.Policy] {
	t.Hear()
	w := &policyWalk{gone: map[uint32]bool{}, listing: listing{t: t,
		request: func() []byte { return t.c.AppendDumpPolicies(t.out[:0]) }, name: policyInList}}
	w.take()
	t.policies.walks[w] = struct{}{}
	return w
}

// Each implements [transform.Walk].
func (w *policyWalk) Each(f func(*transform.Policy) bool) (done bool) {
	if w.resumed {
		w.t.Hear()
		w.renew()
	}
	now := w.t.e.Now()
	for ; len(w.rest) > 0; w.rest = w.rest[1:] {
		n, err := w.t.c.News(w.rest[0])
		if err != nil || n.Policy == nil || n.Sub || w.gone[n.Policy.ID] {
			continue
		}
		p := n.Policy
		w.t.completePolicy(p)
		p.References = 1 + w.t.policies.timer(p.ID, now)
		if !f(p) {
			w.resumed = true
			return false
		}
	}
	w.Close()
	return true
}

// Close implements [transform.Walk].
func (w *policyWalk) Close() {
	w.rest = nil
	delete(w.t.policies.walks, w)
}
