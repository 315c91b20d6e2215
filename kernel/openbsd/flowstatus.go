package openbsd

import (
	"cmp"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/wire"
)

// describeFlows adds flows, in the order of sysctl(8), and records of ACQUIREs to st, at most limit of each; 0: all.
func (k *Kernel) describeFlows(st *status.Engine, limit int) {
	most := func(n int) int {
		if limit == 0 {
			return n
		}
		return min(n, limit)
	}
	var flows []*Flow
	for rdomain := range k.rdomains + 1 {
		flows = append(flows, k.spd.all(rdomain)...)
	}
	acquires := k.acquires.all()
	st.PolicyCount, st.AcquireCount = len(flows), len(acquires)
	for _, f := range flows[:most(len(flows))] {
		st.Policies = append(st.Policies, k.describeFlow(f))
	}
	slices.SortFunc(acquires, func(a, b *acquire) int { return cmp.Compare(a.seq, b.seq) })
	for _, a := range acquires[:most(len(acquires))] {
		r := a.flow.rule.Load()
		s := status.Acquire{Type: k.d.SATypeName(k.typeOf(r.proto)), Seq: a.seq, Src: addressText(r.src),
			Dst: addressText(a.peer)}
		if at, set := a.timer.When(); set {
			s.Expires = at.Unix()
		}
		st.Acquires = append(st.Acquires, s)
	}
}

// flowKinds are the types of flows in the words of ipsec.conf(5).
var flowKinds = map[wire.FlowType]string{
	wire.OpenBSDFlowUse: "use", wire.OpenBSDFlowAcquire: "acquire", wire.OpenBSDFlowRequire: "require",
	wire.OpenBSDFlowDontAcq: "dontacq",
}

// describeFlow is a flow in the words of ipsec.conf(5).
func (k *Kernel) describeFlow(f *Flow) status.Policy {
	key, mask, r := f.Key.parts(f.id.v6), f.Mask.parts(f.id.v6), f.rule.Load()
	st := status.Policy{Direction: "in", Src: masked(key.Src, mask.Src), Dst: masked(key.Dst, mask.Dst),
		SrcPort: key.SrcPort, DstPort: key.DstPort, Proto: key.Proto}
	if f.id.dir == dirOut {
		st.Direction = "out"
	}
	switch r.kind {
	case wire.OpenBSDFlowBypass:
		st.Action = "pass"
		return st
	case wire.OpenBSDFlowDeny:
		st.Action = "drop"
		return st
	}
	st.Action = "ipsec"
	want := []string{k.d.SATypeName(k.typeOf(r.proto))}
	if r.src.IsValid() {
		want = append(want, "local", r.src.String())
	}
	if r.dst.IsValid() {
		want = append(want, "peer", r.dst.String())
	}
	st.Wants = []string{strings.Join(append(want, "type", flowKinds[r.kind]), " ")}
	return st
}

// masked is a prefix, or an address and its mask if that has holes.
func masked(addr, mask netip.Addr) string {
	ones := 0
	for _, b := range mask.AsSlice() {
		ones += bits.OnesCount8(b)
	}
	if netip.PrefixFrom(mask, ones).Masked().Addr() == mask {
		return netip.PrefixFrom(addr, ones).String()
	}
	return addr.String() + "/" + mask.String()
}
