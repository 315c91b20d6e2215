package kame

import (
	"fmt"
	"maps"
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/wire"
)

// describePolicies adds policies, in the order of a DUMP, and records of ACQUIREs to st, at most limit of each; 0: all.
func (k *Kernel) describePolicies(st *status.Engine, limit int) {
	most := func(n int) int {
		if limit == 0 {
			return n
		}
		return min(n, limit)
	}
	all := k.spd.all()
	st.PolicyCount, st.AcquireCount = len(all), len(k.acquires.bySeq)
	for _, p := range all[:most(len(all))] {
		st.Policies = append(st.Policies, describePolicy(p))
	}
	lifetime := k.Knob("net.key.blockacq_lifetime")
	for _, seq := range slices.Sorted(maps.Keys(k.acquires.bySeq))[:most(st.AcquireCount)] {
		a := k.acquires.bySeq[seq]
		st.Acquires = append(st.Acquires, status.Acquire{Type: k.d.SATypeName(k.saTypeOf(a.Proto)), Seq: seq,
			Src: describeEnd(a.Src), Dst: describeEnd(a.Dst), Expires: int64(k.Wall(a.Created + lifetime))})
	}
}

// describePolicy is a policy in the words of setkey(8).
func describePolicy(p *Policy) status.Policy {
	st := status.Policy{
		ID: p.ID, Direction: "in", Action: "pass", Priority: int64(p.Priority),
		Src: p.sel.Src.String(), Dst: p.sel.Dst.String(), SrcPort: p.sel.SrcPort, DstPort: p.sel.DstPort,
	}
	if p.Proto != AnyProto {
		st.Proto = p.Proto
	}
	if p.Dir == wire.KAMEDirOut {
		st.Direction = "out"
	}
	switch p.Type {
	case wire.KAMEPolicyDiscard:
		st.Action = "drop"
	case wire.KAMEPolicyIPsec:
		st.Action = "ipsec"
		for i := range p.Requests {
			st.Wants = append(st.Wants, describeRequest(&p.Requests[i]))
		}
	}
	return st
}

// describeRequest is a request as setkey(8) writes it: protocol, mode, ends, level.
func describeRequest(q *PolicyRequest) string {
	proto := map[uint8]string{ip.ProtoESP: "esp", ip.ProtoAH: "ah", ip.ProtoComp: "ipcomp"}[q.Proto]
	ends := ""
	if q.Src.Len() != 0 || q.Dst.Len() != 0 {
		ends = describeEnd(q.Src) + "-" + describeEnd(q.Dst)
	}
	level := [...]string{"default", "use", "require", "unique"}[q.Level]
	if q.ReqID != 0 {
		level = fmt.Sprintf("%s:%d", level, q.ReqID)
	}
	return fmt.Sprintf("%s/%s/%s/%s", proto, q.Mode, ends, level)
}

// describeEnd is the address of one end of an SA; empty if it is none.
func describeEnd(s Sockaddr) string {
	if a := s.Addr(); a.IsValid() {
		return a.String()
	}
	return ""
}
