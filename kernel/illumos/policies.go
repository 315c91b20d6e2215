package illumos

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Policies returns the rules of the system, which illumos does not tell through PF_KEY, in the form of other kernels'
// policies, as far as that goes: in the order in which they are tried, which is their Priority; one for both directions
// as two policies; without an ID; with the templates of the alternative that is preferred, but not its algorithms, for
// which there is [Kernel.Rules]. They belong to the caller.
func (k *Kernel) Policies() (policies []*pfkey.Policy) {
	for i, r := range k.Rules("") {
		policies = append(policies, policiesOf(&r, uint32(i))...)
	}
	return policies
}

// policiesOf translates a rule.
func policiesOf(r *spd.Rule, priority uint32) (policies []*pfkey.Policy) {
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

// templatesOf translates an action, whose packets get ESP first and AH around it.
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
