package kernels

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/illumos"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// UntoldPolicies returns the policies of a kernel that does not tell them through PF_KEY; false if it does. They belong
// to the caller.
//
// illumos does not. Its rules come in the form of other kernels' policies, as far as that goes: the rules of the system
// in the order in which they are tried, which is their Priority; one for both directions as two policies; without an
// ID; with the templates of the alternative that is preferred, but not its algorithms, for which there is
// [illumos.Kernel.Rules].
func UntoldPolicies(e *engine.Engine) (policies []*pfkey.Policy, untold bool) {
	k, err := find(e.Name())
	if err != nil || k.untold == nil {
		return nil, false
	}
	return k.untold(e.Kernel()), true
}

// policiesOf are the rules of illumos.
func policiesOf(k *illumos.Kernel) (policies []*pfkey.Policy) {
	for i, r := range k.Rules("") {
		policies = append(policies, policyOf(&r, uint32(i))...)
	}
	return policies
}

// policyOf translates a rule of illumos.
func policyOf(r *spd.Rule, priority uint32) (policies []*pfkey.Policy) {
	end := func(p netip.Prefix, port uint16) wire.Address {
		if !p.IsValid() {
			p = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
			if r.Is6() {
				p = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
			}
		}
		a := pfkey.Prefix(p)
		a.Proto, a.Port = r.Proto, port
		return a
	}
	local, remote := end(r.Src, r.SrcPort), end(r.Dst, r.DstPort)
	typ, templates := templatesOf(&r.Actions[0])
	if r.Dir != spd.In {
		policies = append(policies, &pfkey.Policy{Direction: wire.KAMEDirOut, Src: local, Dst: remote, Type: typ,
			Priority: priority, Templates: templates})
	}
	if r.Dir != spd.Out {
		policies = append(policies, &pfkey.Policy{Direction: wire.KAMEDirIn, Src: remote, Dst: local, Type: typ,
			Priority: priority, Templates: templates})
	}
	return policies
}

// templatesOf translates an action of illumos, whose packets get ESP first and AH around it.
func templatesOf(a *spd.Action) (typ uint16, templates []wire.IPsecRequest) {
	switch a.Type {
	case spd.Bypass:
		return wire.KAMEPolicyNone, nil
	case spd.Discard:
		return wire.KAMEPolicyDiscard, nil
	}
	t := wire.IPsecRequest{Mode: wire.ModeTransport, Level: wire.KAMELevelRequire}
	if a.Unique {
		t.Level = wire.KAMELevelUnique
	}
	if a.SelfEncap {
		t.Mode = wire.ModeTunnel
	}
	if a.ESP != spd.NotUsed || a.ESPAuth != spd.NotUsed {
		t.Proto = ip.ProtoESP
		templates = append(templates, t)
	}
	if a.AH != spd.NotUsed {
		t.Proto = ip.ProtoAH
		templates = append(templates, t)
	}
	return wire.KAMEPolicyIPsec, templates
}
