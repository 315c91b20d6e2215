package xfrm

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// GiveUp says that nobody will answer an ACQUIRE: its SA stays until it expires, and packets that want it are refused.
func (x *Transforms) GiveUp(seq uint32) {
	if s := x.states.findAcquired(seq); s != nil {
		s.Become(stateError)
		x.tellState(s)
		x.states.notLarval(s)
		delete(x.states.bySeq, s.MsgSeq)
	}
}

// Ask says whether the key manager wants to hear of ACQUIREs. As long as it does not, packets make no LARVAL SA.
func (x *Transforms) Ask(yes bool) { x.asking.Store(yes) }

// lack is what a packet is missing: an SA between two ends for a template of its policy.
type lack struct {
	policy   *policy
	template *transform.Template
	flow     spd.Flow
	src, dst netip.Addr
}

// key is what the SA would have to have.
func (l *lack) key() flowKey {
	return flowKey{dst: l.dst, src: l.src, reqID: l.template.ReqID, proto: l.template.Proto, mode: l.template.Mode}
}

// acquire makes a LARVAL SA and asks key management for keys, unless it has been asked already or is not there. The
// control lock is held.
func (x *Transforms) acquire(l lack) {
	if l.policy.dead.Load() || !x.asking.Load() || x.states.n >= maxSAs {
		return
	}
	// What the packet has seen is looked at again: only here are such SAs made.
	if found, wait := x.states.forFlow(l.key(), l.flow); found != nil || wait {
		return
	}
	s := x.newLarval(l.key(), larvalSelector(l.flow))
	x.acqSeq++
	if x.acqSeq == 0 {
		x.acqSeq++
	}
	s.MsgSeq = x.acqSeq
	a := transform.Acquisition{Proto: s.Proto, Src: s.Src, Dst: s.Dst, Seq: s.MsgSeq, PolicyID: l.policy.id,
		Priority: l.policy.rank.priority, Auth: l.template.Auth, Encrypt: l.template.Encrypt}
	if !x.manager.Acquire(&a) {
		return // nobody has room for it
	}
	x.states.bySeq[s.MsgSeq] = s
	x.insert(s, x.larvalLifetime())
}

// larvalSelector is just the one flow.
func larvalSelector(f spd.Flow) *transform.Selector {
	return &transform.Selector{Src: transform.Raw(f.Src), Dst: transform.Raw(f.Dst), SrcBits: fullBits(f.Src),
		DstBits: fullBits(f.Dst), Proto: f.Proto, V6: f.Dst.Is6(), Sport: f.SrcPort, Dport: f.DstPort}
}

// forFlow finds the SA for a flow among those with a key, or with the same key and any source: one whose soft lifetime
// has not passed if there is any, of these one of the last second in which any was added, and of these the one that the
// original comes to first. wait tells that there is none, but a LARVAL one, or one that key management has given up.
func (t *stateTable) forFlow(key flowKey, f spd.Flow) (best *sa, wait bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	failed := false
	for range 2 {
		for s := t.flows[key]; s != nil; s = s.flows.flow.next {
			switch st := s.State(); st {
			case sadb.Mature, sadb.Dying:
				if !s.selects(f) {
					continue
				}
				if best == nil || st == sadb.Mature && best.State() != sadb.Mature ||
					st == best.State() && (s.addTime > best.addTime || s.addTime == best.addTime && !t.before(best)) {
					best = s
				}
				if best.State() == sadb.Mature && (best.addTime > s.inserted || best.addTime == best.inserted &&
					t.before(best)) {
					return best, false // those behind it are older
				}
			case sadb.Larval:
				wait = true
			case stateError, stateExpired:
				failed = failed || s.selects(f)
			}
		}
		if best != nil || wait {
			return best, wait && best == nil
		}
		key.src = transform.Unspecified(key.dst.Is6())
	}
	return nil, failed
}
