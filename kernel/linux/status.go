package linux

import (
	"fmt"
	"strconv"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/kernel/linux/afkey"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Describe implements [engine.Kernel]. Everything is listed in the order of a DUMP, for the sake of which nothing has
// to be sorted under the control lock, but for ACQUIREs, which have none.
func (k *Kernel) Describe(st *status.Engine, limit int) {
	st.Counters = k.Counters()
	states, acquires, policies := k.transforms.Counts()
	st.SACount += states
	st.AcquireCount, st.PolicyCount = acquires, policies
	more := func(n int) bool { return limit == 0 || n < limit }
	sas := k.transforms.Walk(transform.AnyProto, transform.Filter{})
	sas.Each(func(s *transform.State) bool {
		if more(len(st.SAs)) {
			st.SAs = append(st.SAs, k.describeSA(s))
		}
		return more(len(st.SAs))
	})
	sas.Close()
	k.transforms.Acquires(func(s *transform.State) bool {
		if more(len(st.Acquires)) {
			st.Acquires = append(st.Acquires, status.Acquire{Type: k.typeName(s), Seq: s.MsgSeq,
				Src: s.Src.String(), Dst: s.Dst.String(), Expires: expires(s)})
		}
		return more(len(st.Acquires))
	})
	rules := k.transforms.WalkPolicies()
	rules.Each(func(p *transform.Policy) bool {
		if more(len(st.Policies)) {
			st.Policies = append(st.Policies, describePolicy(p))
		}
		return more(len(st.Policies))
	})
	rules.Close()
}

// describePolicy is a policy in the words of setkey(8).
func describePolicy(p *transform.Policy) status.Policy {
	directions := [transform.Directions]string{transform.In: "in", transform.Out: "out", transform.Forward: "fwd"}
	st := status.Policy{
		ID: p.ID, Direction: directions[p.Direction], Action: "pass",
		Src: p.Selector.Src.String(), Dst: p.Selector.Dst.String(),
		SrcPort: p.Selector.SrcPort, DstPort: p.Selector.DstPort,
		Proto: p.Selector.Proto, Priority: int64(p.Priority),
	}
	switch {
	case p.Block:
		st.Action = "drop"
	case len(p.Templates) > 0:
		st.Action = "ipsec"
		for i := range p.Templates {
			st.Wants = append(st.Wants, describeTemplate(&p.Templates[i]))
		}
	}
	return st
}

// describeTemplate is a template as setkey(8) writes it: protocol, mode, the ends of a tunnel, level.
func describeTemplate(t *transform.Template) string {
	proto, ok := map[uint8]string{ip.ProtoESP: "esp", ip.ProtoAH: "ah", ip.ProtoComp: "ipcomp"}[t.Proto]
	if !ok {
		proto = strconv.Itoa(int(t.Proto))
	}
	mode, ok := map[transform.Mode]string{
		transform.Transport: "transport", transform.Tunnel: "tunnel", transform.BEET: "beet"}[t.Mode]
	if !ok {
		mode = strconv.Itoa(int(t.Mode))
	}
	ends, level := "", "require"
	if t.Src.IsValid() {
		ends = t.Src.String() + "-" + t.Dst.String()
	}
	switch {
	case t.ReqID != 0:
		level = fmt.Sprintf("unique:%d", t.ReqID)
	case t.Optional:
		level = "use"
	}
	return fmt.Sprintf("%s/%s/%s/%s", proto, mode, ends, level)
}

func (k *Kernel) typeName(s *transform.State) string { return k.d.SATypeName(afkey.SATypeOf(s.Proto)) }

// expires is when the hard lifetime of an SA that counts from when it was added passes; 0: never.
func expires(s *transform.State) int64 {
	if l := s.Limits.Hard.AddTime; l != 0 {
		return s.Usage.AddTime + int64(l)
	}
	return 0
}

func (k *Kernel) describeSA(s *transform.State) status.SA {
	st := status.SA{
		Type: k.typeName(s), SPI: wire.SPI(s.SPI).String(), Src: s.Src.String(), Dst: s.Dst.String(),
		State: k.d.StateName(wire.State(s.Phase)), Added: s.Usage.AddTime, Direction: "outbound",
		Bytes: s.Usage.Bytes, Packets: s.Usage.Packets, Used: s.Usage.UseTime, Expires: expires(s),
	}
	if k.transforms.Own(s.Dst) {
		st.Direction = "inbound"
	}
	if s.Phase != sadb.Larval {
		st.Auth, st.Encrypt = k.d.AuthName(s.Auth), k.d.TransformName(afkey.SATypeOf(s.Proto), s.Encrypt)
	}
	return st
}
