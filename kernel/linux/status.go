package linux

import (
	"fmt"
	"net/netip"
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
	r := report{st, limit, k.d, k.transforms.Own}
	walk(k.transforms.Walk(transform.AnyProto, transform.Filter{}), r.state)
	k.transforms.Acquires(r.acquire)
	walk(k.transforms.WalkPolicies(), r.policy)
}

// walk goes over what there is until f returns false.
func walk[T any](w transform.Walk[T], f func(*T) bool) {
	w.Each(f)
	w.Close()
}

// report is a reading that is being made, of at most limit SAs, ACQUIREs and policies each; 0 is all. Its methods
// return whether there may be more.
type report struct {
	*status.Engine
	limit int
	d     *wire.Dialect
	own   func(netip.Addr) bool // tells whether an address is the host's
}

func (r *report) more(n int) bool { return r.limit == 0 || n < r.limit }

func (r *report) state(s *transform.State) bool {
	if r.more(len(r.SAs)) {
		r.SAs = append(r.SAs, r.describeSA(s))
	}
	return r.more(len(r.SAs))
}

func (r *report) acquire(s *transform.State) bool {
	if r.more(len(r.Acquires)) {
		r.Acquires = append(r.Acquires, status.Acquire{Type: r.typeName(s), Seq: s.MsgSeq,
			Src: s.Src.String(), Dst: s.Dst.String(), Expires: expires(s)})
	}
	return r.more(len(r.Acquires))
}

func (r *report) policy(p *transform.Policy) bool {
	if r.more(len(r.Policies)) {
		r.Policies = append(r.Policies, describePolicy(p))
	}
	return r.more(len(r.Policies))
}

// describePolicy is a policy in the words of setkey(8).
func describePolicy(p *transform.Policy) status.Policy {
	directions := [...]string{transform.In: "in", transform.Out: "out", transform.Forward: "fwd",
		transform.Directions: "socket in", transform.Directions + 1: "socket out"}
	st := status.Policy{
		ID: p.ID, Direction: directions[int(p.Direction)%len(directions)], Action: "pass",
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

func (r *report) typeName(s *transform.State) string { return r.d.SATypeName(afkey.SATypeOf(s.Proto)) }

// expires is when the hard lifetime of an SA that counts from when it was added passes; 0: never.
func expires(s *transform.State) int64 {
	if l := s.Limits.Hard.AddTime; l != 0 {
		return s.Usage.AddTime + int64(l)
	}
	return 0
}

func (r *report) describeSA(s *transform.State) status.SA {
	st := status.SA{
		Type: r.typeName(s), SPI: wire.SPI(s.SPI).String(), Src: s.Src.String(), Dst: s.Dst.String(),
		State: r.d.StateName(wire.State(s.Phase)), Added: s.Usage.AddTime, Direction: "outbound",
		Bytes: s.Usage.Bytes, Packets: s.Usage.Packets, Used: s.Usage.UseTime, Expires: expires(s),
	}
	if r.own(s.Dst) {
		st.Direction = "inbound"
	}
	if s.Phase != sadb.Larval {
		st.Auth, st.Encrypt = r.d.AuthName(s.Auth), r.d.TransformName(afkey.SATypeOf(s.Proto), s.Encrypt)
	}
	return st
}
