package linux

import (
	"fmt"
	"strconv"

	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Describe implements [engine.Kernel].
func (k *Kernel) Describe(st *engine.Status, limit int) {
	st.Counters = k.Counters()
	for i, s := range k.e.Sockets() {
		if i < len(st.Sockets) {
			k.describeSocket(&st.Sockets[i], clientOf(s))
		}
	}
	st.SACount += k.states.n
	k.states.all.each(nil, func(n *node) bool {
		if limit > 0 && len(st.SAs) >= limit {
			return false
		}
		st.SAs = append(st.SAs, k.describeSA(n.s))
		return true
	})
	st.AcquireCount = len(k.states.bySeq)
	for _, s := range k.states.bySeq {
		if limit > 0 && len(st.Acquires) >= limit {
			break
		}
		a := engine.AcquireStatus{Type: k.d.SATypeName(satypeOf(s.proto)), Seq: s.seq, Src: s.src.String(),
			Dst: s.dst.String()}
		if at, set := s.timer.When(); set {
			a.Expires = at.Unix()
		}
		st.Acquires = append(st.Acquires, a)
	}
	k.describePolicies(st, limit)
}

// describePolicies lists policies in the order of an SPDDUMP, for the sake of which nothing has to be sorted under the
// control lock.
func (k *Kernel) describePolicies(st *engine.Status, limit int) {
	st.PolicyCount = len(k.policies.byID)
	k.policies.all.each(nil, func(n *node) bool {
		if limit > 0 && len(st.Policies) >= limit {
			return false
		}
		st.Policies = append(st.Policies, n.p.describe())
		return true
	})
}

// describe is a policy in the words of setkey(8).
func (p *policy) describe() engine.PolicyStatus {
	st := engine.PolicyStatus{
		ID: p.id, Direction: [directions]string{in: "in", out: "out", forward: "fwd"}[p.dir], Action: "pass",
		Src: p.sel.Src.String(), Dst: p.sel.Dst.String(), SrcPort: p.sel.SrcPort, DstPort: p.sel.DstPort,
		Proto: p.sel.Proto, Priority: int64(p.rank.priority),
	}
	switch ts := *p.templates.Load(); {
	case p.block:
		st.Action = "drop"
	case len(ts) > 0:
		st.Action = "ipsec"
		for _, t := range ts {
			st.Wants = append(st.Wants, t.describe())
		}
	}
	return st
}

// describe is a template as setkey(8) writes it: protocol, mode, the ends of a tunnel, level.
func (t *template) describe() string {
	proto, ok := map[uint8]string{protoESP: "esp", protoAH: "ah", protoComp: "ipcomp"}[t.proto]
	if !ok {
		proto = strconv.Itoa(int(t.proto))
	}
	mode, ok := map[mode]string{modeTransport: "transport", modeTunnel: "tunnel", modeBEET: "beet"}[t.mode]
	if !ok {
		mode = strconv.Itoa(int(t.mode))
	}
	ends, level := "", "require"
	if t.src.IsValid() {
		ends = t.src.String() + "-" + t.dst.String()
	}
	switch {
	case t.reqID != 0:
		level = fmt.Sprintf("unique:%d", t.reqID)
	case t.optional:
		level = "use"
	}
	return fmt.Sprintf("%s/%s/%s/%s", proto, mode, ends, level)
}

func (k *Kernel) describeSocket(st *engine.SocketStatus, c *client) {
	for t := wire.SAType(0); t <= satypeMax; t++ {
		if c.registered&(1<<t) != 0 {
			st.Registered = append(st.Registered, k.d.SATypeName(t))
		}
	}
	if c.promisc {
		st.Flags = append(st.Flags, "promisc")
	}
	if c.dump != nil {
		st.Flags = append(st.Flags, "dumping")
	}
}

func (k *Kernel) describeSA(s *sa) engine.SAStatus {
	st := engine.SAStatus{
		Type: k.d.SATypeName(satypeOf(s.proto)), SPI: s.spi.String(), Src: s.src.String(), Dst: s.dst.String(),
		State: k.d.StateName(wireState(s.State())), Added: s.addTime, Direction: "outbound",
	}
	if k.own(s.dst) {
		st.Direction = "inbound"
	}
	if s.State() != sadb.Larval {
		st.Auth, st.Encrypt = k.d.AuthName(s.auth), k.d.EncryptName(s.encrypt)
	}
	s.Lock()
	st.Bytes, st.Packets, st.Used = s.Bytes, s.Packets, s.useTime
	if l := s.limits.hard.addTime; l != 0 {
		st.Expires = s.addTime + int64(l)
	}
	s.Unlock()
	return st
}
