package illumos

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/pfkeyd/pfkeyd/spd"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Direction says for which packets a rule is meant.
type Direction uint8

// The directions.
const (
	Out Direction = iota
	In
	Both
)

// ActionType says what an action does with a packet.
type ActionType uint8

// The types.
const (
	Apply ActionType = iota // protect it
	Bypass
	Discard
)

// Algorithm numbers of an [Action] that are none.
const (
	NotUsed = -1
	Any     = 0
)

// Action is one way to treat a packet, in the terms of ipsecconf(8).
type Action struct {
	Type           ActionType
	AH             int  // authentication algorithm of AH; NotUsed, Any
	ESP            int  // encryption algorithm of ESP; NotUsed, Any
	ESPAuth        int  // authentication algorithm of ESP; NotUsed, Any
	Unique         bool // an SA of its own for each flow
	SelfEncap      bool // IPv4 in IPv4 between the packet's own addresses
	KMProtocol     uint32
	KMCookie       uint64
	Replay         uint8  // replay window to propose, 0: the tunable
	EncryptMinBits uint16 // 0: the algorithm's own limit
	EncryptMaxBits uint16
}

func (a *Action) cookie() wire.KMCookie {
	return wire.KMCookie{Protocol: a.KMProtocol, Cookie: a.KMCookie}
}

// wants says whether the action is to protect packets with a protocol.
func (a *Action) wants(p *protocol) bool {
	if p.isESP() {
		return a.Type == Apply && (a.ESP != NotUsed || a.ESPAuth != NotUsed)
	}
	return a.Type == Apply && a.AH != NotUsed
}

// Rule is one policy rule. Src is the local side and Dst the remote one, whatever the direction.
type Rule struct {
	Dir              Direction
	Src, Dst         netip.Prefix // invalid: any
	V6               bool         // the family, where no prefix says it
	Proto            uint8
	SrcPort, DstPort uint16
	Actions          []Action // alternatives, the preferred one first
}

func (r *Rule) selector() spd.Selector {
	return spd.Selector{Src: r.Src, Dst: r.Dst, Proto: r.Proto, SrcPort: r.SrcPort, DstPort: r.DstPort}
}

// is6 is the address family of the packets the rule is for.
func (r *Rule) is6() bool {
	switch {
	case r.Src.IsValid():
		return r.Src.Addr().Is6()
	case r.Dst.IsValid():
		return r.Dst.Addr().Is6()
	}
	return r.V6
}

// matches tells whether a flow, as it leaves or as it would arrive, is the rule's. out is the direction the policy is
// looked up for.
func (r *Rule) matches(f spd.Flow, out bool) bool {
	if out && r.Dir == In || !out && r.Dir == Out || r.is6() != f.Dst.Is6() {
		return false
	}
	return r.selector().Matches(f)
}

// Tunnel is a tunnel interface, which has a policy of its own. Only one that negotiates tunnel mode has inner addresses
// in its SAs.
type Tunnel struct {
	Name       string
	Src, Dst   netip.Addr
	Negotiated bool
}

type tunnel struct {
	Tunnel
	rules []*Rule
}

// policyTable is read by packets, under a lock of its own that is a leaf. Rules and tunnels do not change once they are
// there.
type policyTable struct {
	mu      sync.RWMutex
	system  []*Rule
	tunnels map[string]*tunnel
}

// AddTunnel makes a tunnel interface.
func (k *Kernel) AddTunnel(t Tunnel) error {
	k.policy.mu.Lock()
	defer k.policy.mu.Unlock()
	switch {
	case t.Name == "":
		return fmt.Errorf("illumos: a tunnel needs a name")
	case k.policy.tunnels[t.Name] != nil:
		return fmt.Errorf("illumos: there is a tunnel %q already", t.Name)
	case !t.Src.IsValid() || !t.Dst.IsValid() || t.Src.Is4() != t.Dst.Is4():
		return fmt.Errorf("illumos: tunnel %q: its two addresses must be of one family", t.Name)
	}
	k.policy.addTunnel(t)
	return nil
}

// addTunnel needs the policy's lock held.
func (pt *policyTable) addTunnel(t Tunnel) {
	if pt.tunnels == nil {
		pt.tunnels = map[string]*tunnel{}
	}
	pt.tunnels[t.Name] = &tunnel{Tunnel: t}
}

// AddRule adds a rule to the policy of a tunnel, or to that of the system if tunnel is empty. Of several that match,
// the one added first counts.
func (k *Kernel) AddRule(tunnel string, r Rule) error {
	if len(r.Actions) == 0 {
		return fmt.Errorf("illumos: a rule needs an action")
	}
	if r.Src.IsValid() && r.Dst.IsValid() && r.Src.Addr().Is4() != r.Dst.Addr().Is4() {
		return fmt.Errorf("illumos: rule from %v to %v: two address families", r.Src, r.Dst)
	}
	r.Src, r.Dst = r.Src.Masked(), r.Dst.Masked()
	r.Actions = append([]Action(nil), r.Actions...)
	k.policy.mu.Lock()
	defer k.policy.mu.Unlock()
	if !k.policy.addRule(tunnel, &r) {
		return fmt.Errorf("illumos: there is no tunnel %q", tunnel)
	}
	return nil
}

// Rules returns the rules of a tunnel, or those of the system if tunnel is empty, in the order in which they are tried.
// They belong to the caller.
func (k *Kernel) Rules(tunnel string) (rules []Rule) {
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

// addRule says whether there is such a tunnel. It needs the policy's lock held.
func (pt *policyTable) addRule(tunnel string, r *Rule) bool {
	if tunnel == "" {
		pt.system = append(pt.system, r)
		return true
	}
	t := pt.tunnels[tunnel]
	if t == nil {
		return false
	}
	t.rules = append(t.rules, r)
	return true
}

// find returns the first rule of the system's policy for a flow, nil if there is none.
func (pt *policyTable) find(f spd.Flow, out bool) *Rule {
	pt.mu.RLock()
	defer pt.mu.RUnlock()
	return firstMatch(pt.system, f, out)
}

// findTunnel returns a tunnel and the first of its rules for a flow; none says that it has no rules at all.
func (pt *policyTable) findTunnel(name string, f spd.Flow, out bool) (t *tunnel, r *Rule, none bool) {
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

func firstMatch(rules []*Rule, f spd.Flow, out bool) *Rule {
	for _, r := range rules {
		if r.matches(f, out) {
			return r
		}
	}
	return nil
}
