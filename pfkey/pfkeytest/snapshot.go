package pfkeytest

import (
	"context"
	"iter"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/kernel/illumos"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// SAs returns the security associations that the kernel has, LARVAL ones and keys included, in the order of its DUMP. They belong to the caller.
//
// The kernel is asked by a socket of its own, past the lies of [Hostile] and unseen by [Host.WaitRequest]; only promiscuous sockets hear it.
func (h *Host) SAs() []*pfkey.SA {
	h.t.Helper()
	return collect(h, func(c *pfkey.Client) iter.Seq2[*pfkey.SA, error] {
		return c.Dump(context.Background(), wire.SATypeUnspec)
	})
}

// Policies returns the security policies that the kernel has; on Linux those of its SPDDUMP, asked for as by [Host.SAs].
//
// illumos does not show its rules through PF_KEY. They come in the same form, as far as that goes: the rules of the system in the order in which they are
// tried, which is their Priority; one for both directions as two policies; without an ID; with the templates of the alternative that is preferred, but not
// its algorithms, for which there is [illumos.Kernel.Rules].
func (h *Host) Policies() []*pfkey.Policy {
	h.t.Helper()
	if k, ok := h.engine.Kernel().(*illumos.Kernel); ok {
		var policies []*pfkey.Policy
		for i, r := range k.Rules("") {
			policies = append(policies, policiesOf(&r, uint32(i))...)
		}
		return policies
	}
	return collect(h, func(c *pfkey.Client) iter.Seq2[*pfkey.Policy, error] { return c.DumpPolicies(context.Background()) })
}

// collect asks the kernel itself for everything of a kind.
func collect[T any](h *Host, dump func(*pfkey.Client) iter.Seq2[*T, error]) []*T {
	h.t.Helper()
	cred := pfkey.Cred{PID: h.pids.Add(1), Privileged: true}
	sock, errno := h.engine.Open(cred, 3, 2) // SOCK_RAW, PF_KEY_V2
	if errno != wire.OK {
		h.t.Fatalf("open a PF_KEY socket: %v", errno)
		return nil
	}
	c := pfkey.NewClientOn(sock, h.engine.Dialect(), cred)
	defer c.Close()
	var all []*T
	for v, err := range dump(c) {
		if err != nil {
			h.t.Fatalf("%v", err)
			return nil
		}
		all = append(all, v)
	}
	return all
}

// policiesOf translates a rule of illumos.
func policiesOf(r *illumos.Rule, priority uint32) (policies []*pfkey.Policy) {
	end := func(p netip.Prefix, port uint16) wire.Address {
		if !p.IsValid() {
			p = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
			if r.V6 || r.Src.IsValid() && r.Src.Addr().Is6() || r.Dst.IsValid() && r.Dst.Addr().Is6() {
				p = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
			}
		}
		a := pfkey.Prefix(p)
		a.Proto, a.Port = r.Proto, port
		return a
	}
	local, remote := end(r.Src, r.SrcPort), end(r.Dst, r.DstPort)
	typ, templates := templatesOf(&r.Actions[0])
	if r.Dir != illumos.In {
		policies = append(policies, &pfkey.Policy{Direction: wire.LinuxDirOut, Src: local, Dst: remote, Type: typ, Priority: priority, Templates: templates})
	}
	if r.Dir != illumos.Out {
		policies = append(policies, &pfkey.Policy{Direction: wire.LinuxDirIn, Src: remote, Dst: local, Type: typ, Priority: priority, Templates: templates})
	}
	return policies
}

// templatesOf translates an action of illumos, whose packets get ESP first and AH around it.
func templatesOf(a *illumos.Action) (typ uint16, templates []wire.IPsecRequest) {
	switch a.Type {
	case illumos.Bypass:
		return wire.LinuxPolicyNone, nil
	case illumos.Discard:
		return wire.LinuxPolicyDiscard, nil
	}
	t := wire.IPsecRequest{Mode: wire.LinuxModeTransport, Level: wire.LinuxLevelRequire}
	if a.Unique {
		t.Level = wire.LinuxLevelUnique
	}
	if a.SelfEncap {
		t.Mode = wire.LinuxModeTunnel
	}
	if a.ESP != illumos.NotUsed || a.ESPAuth != illumos.NotUsed {
		t.Proto = 50
		templates = append(templates, t)
	}
	if a.AH != illumos.NotUsed {
		t.Proto = 51
		templates = append(templates, t)
	}
	return wire.LinuxPolicyIPsec, templates
}
