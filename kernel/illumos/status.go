package illumos

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Describe implements [engine.Kernel].
func (k *Kernel) Describe(st *status.Engine, limit int) {
	st.Fault = k.fault.String()
	st.Counters = k.Counters()
	for _, p := range k.consumers() {
		for _, f := range p.families() {
			for _, t := range []*table{&f.out, &f.in} {
				st.SACount += t.n
				for s := range t.all {
					if limit > 0 && len(st.SAs) >= limit {
						break
					}
					st.SAs = append(st.SAs, k.describeSA(s))
				}
			}
			records := k.records(f)
			st.AcquireCount += len(records)
			for _, a := range records {
				if limit > 0 && len(st.Acquires) >= limit {
					break
				}
				st.Acquires = append(st.Acquires, k.describeAcquire(a))
			}
		}
	}
	k.describePolicies(st, limit)
}

// describePolicies lists the rules of the system and then those of each tunnel, as they are tried.
func (k *Kernel) describePolicies(st *status.Engine, limit int) {
	k.policy.mu.RLock()
	defer k.policy.mu.RUnlock()
	list := func(rules []*spd.Rule) {
		st.PolicyCount += len(rules)
		for _, r := range rules {
			if limit > 0 && len(st.Policies) >= limit {
				break
			}
			st.Policies = append(st.Policies, k.describeRule(r))
		}
	}
	list(k.policy.system)
	for _, name := range slices.Sorted(maps.Keys(k.policy.tunnels)) {
		list(k.policy.tunnels[name].rules)
	}
}

func (k *Kernel) describeRule(r *spd.Rule) status.Policy {
	prefix := func(p netip.Prefix) string {
		switch {
		case p.IsValid():
			return p.String()
		case r.Is6():
			return "::/0"
		}
		return "0.0.0.0/0"
	}
	st := status.Policy{
		Tunnel: r.Tunnel, Direction: [...]string{spd.Out: "out", spd.In: "in", spd.Both: "both"}[r.Dir],
		Src: prefix(r.Src), Dst: prefix(r.Dst), SrcPort: r.SrcPort, DstPort: r.DstPort, Proto: r.Proto,
		Action: [...]string{spd.Apply: "ipsec", spd.Bypass: "pass", spd.Discard: "drop"}[r.Actions[0].Type],
	}
	for i := range r.Actions {
		if a := &r.Actions[i]; a.Type == spd.Apply {
			st.Wants = append(st.Wants, k.describeAction(a))
		}
	}
	return st
}

// describeAction is an action in the words of ipsecconf(8).
func (k *Kernel) describeAction(a *spd.Action) string {
	name := func(id int, of func(wire.AlgID) string) string {
		if id == spd.Any {
			return "any"
		}
		return of(algID(id))
	}
	var words []string
	if a.AH != spd.NotUsed {
		words = append(words, "auth_algs", name(a.AH, k.d.AuthName))
	}
	if a.ESP != spd.NotUsed {
		encr := name(a.ESP, k.d.EncryptName)
		switch lo, hi := a.EncryptMinBits, a.EncryptMaxBits; {
		case lo != 0 && lo == hi:
			encr += fmt.Sprintf("(%d)", lo)
		case lo != 0 || hi != 0:
			encr += fmt.Sprintf("(%d..%d)", lo, hi)
		}
		words = append(words, "encr_algs", encr)
	}
	if a.ESPAuth != spd.NotUsed {
		words = append(words, "encr_auth_algs", name(a.ESPAuth, k.d.AuthName))
	}
	if a.Unique {
		words = append(words, "sa unique")
	}
	return strings.Join(words, " ")
}

// Flags implements [engine.Flagged].
func (c *client) Flags() (flags []string) {
	if c.extended {
		flags = append(flags, "extended")
	}
	if c.noLoop {
		flags = append(flags, "no-loopback")
	}
	return flags
}

func (k *Kernel) describeSA(s *sa) status.SA {
	st := status.SA{
		Type:      k.d.SATypeName(s.p.satype),
		SPI:       s.spi.String(),
		Src:       s.src.String(),
		Dst:       s.dst.String(),
		State:     k.d.StateName(wire.State(s.State())),
		Direction: "inbound",
		Added:     s.addTime,
	}
	if s.in.isOutbound() {
		st.Direction = "outbound"
	}
	if s.State() != sadb.Larval {
		st.Auth, st.Encrypt = k.d.AuthName(s.auth), k.d.EncryptName(s.encrypt)
	}
	s.Lock()
	st.Bytes, st.Packets, st.Used, st.Expires = s.Bytes, s.Packets, s.lastUse, s.hardExpire
	s.heldLocked(func(id uint64, n int) { st.Held = append(st.Held, status.Packet{ID: id, Bytes: n}) })
	s.Unlock()
	return st
}

// heldLocked lists all packets that wait on the SA, for whatever. The SA's lock is held.
func (s *sa) heldLocked(f func(id uint64, length int)) {
	s.HeldLocked(f)
	if s.kept == nil {
		return
	}
	for _, q := range []*packet.Queue{&s.kept.idle, &s.kept.doomed} {
		for p := range q.All {
			f(p.ID, len(p.Data))
		}
	}
}

func (k *Kernel) describeAcquire(a *acquire) status.Acquire {
	st := status.Acquire{Type: k.d.SATypeName(a.p.satype), Seq: a.seq, Src: a.need.src.String(),
		Dst: a.need.dst.String(), Expires: a.expire}
	k.acquires.mu.Lock()
	defer k.acquires.mu.Unlock()
	for p := range a.queue.All {
		st.Held = append(st.Held, status.Packet{ID: p.ID, Bytes: len(p.Data)})
	}
	return st
}
