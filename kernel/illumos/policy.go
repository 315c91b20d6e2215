package illumos

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/wire"
)

// wants says whether an action is to protect packets with a protocol.
func wants(a *spd.Action, p *protocol) bool {
	if p.isESP() {
		return a.Type == spd.Apply && (a.ESP != spd.NotUsed || a.ESPAuth != spd.NotUsed)
	}
	return a.Type == spd.Apply && a.AH != spd.NotUsed
}

func cookieOf(a *spd.Action) wire.KMCookie {
	return wire.KMCookie{Protocol: a.KMProtocol, Cookie: a.KMCookie}
}

type tunnel struct {
	spd.Tunnel
	rules []*spd.Rule
}

// policyTable is read by packets, under a lock of its own that is a leaf. Rules and tunnels do not change once they are
// there.
type policyTable struct {
	mu      sync.RWMutex
	system  []*spd.Rule
	tunnels map[string]*tunnel
}

// A TunnelError says that a tunnel is there already, or that there is none.
type TunnelError struct {
	Name  string
	There bool
}

func (e *TunnelError) Error() string {
	if e.There {
		return fmt.Sprintf("illumos: there is a tunnel %q already", e.Name)
	}
	return fmt.Sprintf("illumos: there is no tunnel %q", e.Name)
}

// AddPolicy makes tunnel interfaces and adds rules, each to the policy of its tunnel or to that of the system: all of
// them or, with an error, none. Of several rules that match, the one added first counts. What concerns the name of a
// tunnel is a [*TunnelError]. It keeps nothing of the slices.
func (k *Kernel) AddPolicy(tunnels []spd.Tunnel, rules []spd.Rule) error {
	k.policy.mu.Lock()
	defer k.policy.mu.Unlock()
	made := map[string]*tunnel{}
	for _, t := range tunnels {
		switch {
		case t.Name == "":
			return fmt.Errorf("illumos: a tunnel needs a name")
		case k.policy.tunnels[t.Name] != nil || made[t.Name] != nil:
			return &TunnelError{t.Name, true}
		case !t.Src.IsValid() || !t.Dst.IsValid() || t.Src.Is4() != t.Dst.Is4():
			return fmt.Errorf("illumos: tunnel %q: its two addresses must be of one family", t.Name)
		}
		made[t.Name] = &tunnel{Tunnel: t}
	}
	for _, r := range rules {
		switch {
		case len(r.Actions) == 0:
			return fmt.Errorf("illumos: a rule needs an action")
		case r.Src.IsValid() && r.Dst.IsValid() && r.Src.Addr().Is4() != r.Dst.Addr().Is4():
			return fmt.Errorf("illumos: rule from %v to %v: two address families", r.Src, r.Dst)
		case r.Tunnel != "" && k.policy.tunnels[r.Tunnel] == nil && made[r.Tunnel] == nil:
			return &TunnelError{r.Tunnel, false}
		}
	}
	if k.policy.tunnels == nil {
		k.policy.tunnels = made
	} else {
		maps.Copy(k.policy.tunnels, made)
	}
	for _, r := range rules {
		r.Src, r.Dst, r.Actions = r.Src.Masked(), r.Dst.Masked(), slices.Clone(r.Actions)
		to := &k.policy.system
		if r.Tunnel != "" {
			to = &k.policy.tunnels[r.Tunnel].rules
		}
		*to = append(*to, &r)
	}
	return nil
}

// Rules returns the rules of a tunnel, or those of the system if tunnel is empty, in the order in which they are tried.
// They belong to the caller.
func (k *Kernel) Rules(tunnel string) (rules []spd.Rule) {
	k.policy.mu.RLock()
	defer k.policy.mu.RUnlock()
	from := k.policy.system
	if tunnel != "" {
		t := k.policy.tunnels[tunnel]
		if t == nil {
			return nil
		}
		from = t.rules
	}
	for _, r := range from {
		c := *r
		c.Actions = slices.Clone(r.Actions)
		rules = append(rules, c)
	}
	return rules
}

// find returns the first rule of the system's policy for a flow, nil if there is none.
func (pt *policyTable) find(f spd.Flow, out bool) *spd.Rule {
	pt.mu.RLock()
	defer pt.mu.RUnlock()
	return firstMatch(pt.system, f, out)
}

// findTunnel returns a tunnel and the first of its rules for a flow; none says that it has no rules at all.
func (pt *policyTable) findTunnel(name string, f spd.Flow, out bool) (t *tunnel, r *spd.Rule, none bool) {
	pt.mu.RLock()
	defer pt.mu.RUnlock()
	if t = pt.tunnels[name]; t == nil {
		return nil, nil, true
	}
	return t, firstMatch(t.rules, f, out), len(t.rules) == 0
}

// between returns a tunnel between two addresses, nil if there is none.
func (pt *policyTable) between(src, dst netip.Addr) *tunnel {
	pt.mu.RLock()
	defer pt.mu.RUnlock()
	for _, t := range pt.tunnels {
		if t.Src == src && t.Dst == dst {
			return t
		}
	}
	return nil
}

func firstMatch(rules []*spd.Rule, f spd.Flow, out bool) *spd.Rule {
	for _, r := range rules {
		if r.Matches(f, out) {
			return r
		}
	}
	return nil
}
