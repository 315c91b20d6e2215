package linux

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/spd"
	"github.com/pfkeyd/pfkeyd/wire"
)

// acquireAnswer handles an ACQUIRE of a user: key management has failed. There is no answer to it.
func (k *Kernel) acquireAnswer(r *request) wire.Errno {
	if r.hdr.Len != wire.HeaderLen/8 {
		return wire.EOPNOTSUPP
	}
	if r.hdr.Seq == 0 || r.hdr.Errno == 0 {
		return wire.OK
	}
	if s := k.states.findAcquired(uint32(r.hdr.Seq)); s != nil {
		s.Become(stateError)
		k.states.notLarval(s)
		delete(k.states.bySeq, s.seq)
	}
	return wire.OK
}

// lack is what a packet is missing: an SA between two ends for a template of its policy.
type lack struct {
	policy   *policy
	template *template
	flow     spd.Flow
	src, dst netip.Addr
}

// key is what the SA would have to have.
func (l *lack) key() flowKey {
	return flowKey{dst: l.dst, src: l.src, reqID: l.template.reqID, proto: l.template.proto, mode: l.template.mode}
}

// acquire makes a LARVAL SA and asks key management for keys, unless it has been asked already or is not there. The
// control lock is held.
func (k *Kernel) acquire(l lack) {
	if l.policy.dead.Load() || k.registered.Load() == 0 || k.states.n >= maxSAs {
		return
	}
	// What the packet has seen is looked at again: only here are such SAs made.
	if found, wait := k.states.forFlow(l.key(), l.flow); found != nil || wait {
		return
	}
	s := k.newLarval(l.key(), larvalSelector(l.flow))
	k.acqSeq++
	if k.acqSeq == 0 {
		k.acqSeq++
	}
	s.seq = k.acqSeq
	if !k.broadcast(k.acquireMessage(l, s), toRegistered, nil) {
		return // nobody has room for it
	}
	k.states.bySeq[s.seq] = s
	k.insert(s, k.larvalLifetime())
}

// larvalSelector is just the one flow.
func larvalSelector(f spd.Flow) *selector {
	return &selector{src: raw(f.Src), dst: raw(f.Dst), srcBits: fullBits(f.Src), dstBits: fullBits(f.Dst),
		proto: f.Proto,
		v6:    f.Dst.Is6(), sport: f.SrcPort, dport: f.DstPort}
}

// acquireMessage asks for an SA. IPCOMP has no proposal.
func (k *Kernel) acquireMessage(l lack, s *sa) message {
	const window = 32
	b := k.d.AppendHeader(make([]byte, 0, 160), wire.Header{Version: wire.Version, Type: wire.MsgAcquire,
		SAType: satypeOf(s.proto), Seq: wire.Seq(s.seq)})
	b = k.appendEnd(b, wire.ExtAddressSrc, s.src)
	b = k.appendEnd(b, wire.ExtAddressDst, s.dst)
	b = k.d.AppendPolicy(b, wire.Policy{Type: wire.KAMEPolicyIPsec, Direction: wire.KAMEDirOut, ID: l.policy.id,
		Priority: l.policy.rank.priority})
	if s.proto == protoAH || s.proto == protoESP {
		p := wire.Proposal{Replay: window}
		if l.policy.anyAlg {
			p.Combs = combs(s.proto == protoESP)
		}
		b = k.d.AppendProposal(b, p)
	}
	b = k.d.Finish(b)
	return message{bytes: b, size: len(b)}
}

// combs are the combinations proposed for a template that takes every algorithm. It has a bit for those with a number
// below 32 only.
func combs(esp bool) (all []wire.Comb) {
	const bits = 32
	each := func(table []algorithm, f func(*algorithm)) {
		for i := range table {
			if table[i].id < bits {
				f(&table[i])
			}
		}
	}
	c := wire.Comb{SoftAddTime: 20 * 3600, HardAddTime: 24 * 3600, SoftUseTime: 7 * 3600, HardUseTime: 8 * 3600}
	auth := func(a *algorithm) {
		c.Auth, c.AuthMinBits, c.AuthMaxBits = a.id, a.minBits, a.maxBits
		all = append(all, c)
	}
	if !esp {
		each(authAlgs, auth)
		return all
	}
	each(encryptAlgs, func(e *algorithm) {
		c.Encrypt, c.EncryptMinBits, c.EncryptMaxBits = e.id, e.minBits, e.maxBits
		each(authAlgs, auth)
	})
	return all
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
		key.src = wildcard(key.dst.Is6())
	}
	return nil, failed
}
