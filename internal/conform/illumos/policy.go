package illumos

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// policy adds a rule to a policy: that of a tunnel, or the system's.
type policy struct {
	Tunnel string `json:"tunnel,omitempty"`
	Dir    string `json:"dir,omitempty"` // out, in, both; "": out
	Src    string `json:"src,omitempty"` // ADDRESS or ADDRESS/LENGTH, "": any
	Dst    string `json:"dst,omitempty"`
	V6     bool   `json:"v6,omitempty"`
	Proto  int    `json:"proto,omitempty"`
	SPort  uint16 `json:"sport,omitempty"`
	DPort  uint16 `json:"dport,omitempty"`
	Acts   []act  `json:"acts,omitempty"`
}

// act is one alternative of a policy rule. Algorithms have illumos' numbers, -1 for none.
type act struct {
	Type    int    `json:"type,omitempty"`
	AH      int    `json:"ah"`
	ESP     int    `json:"esp"`
	ESPAuth int    `json:"espa"`
	Unique  bool   `json:"unique,omitempty"`
	Self    bool   `json:"se,omitempty"`
	KMP     uint32 `json:"kmp,omitempty"`
	KMC     uint64 `json:"kmc,omitempty"`
	Replay  uint8  `json:"replay,omitempty"`
	EMin    uint16 `json:"emin,omitempty"`
	EMax    uint16 `json:"emax,omitempty"`
}

func (a *policy) Check() error { _, err := a.rule(); return err }

func (a *policy) Do(p *conform.Player, _ *conform.Action, _ *conform.Outcome) {
	own(p, func(k Emulated) error {
		r, _ := a.rule() // checked when it was read
		return k.AddPolicy(nil, []spd.Rule{r})
	})
}

func (a *policy) rule() (r spd.Rule, err error) {
	switch a.Dir {
	case "", "out":
		r.Dir = spd.Out
	case "in":
		r.Dir = spd.In
	case "both":
		r.Dir = spd.Both
	default:
		return r, fmt.Errorf("unknown direction %q", conform.Abridged(a.Dir))
	}
	for s, to := range map[string]*netip.Prefix{"src": &r.Src, "dst": &r.Dst} {
		text := a.Src
		if s == "dst" {
			text = a.Dst
		}
		if *to, err = prefix(text); err != nil {
			return r, fmt.Errorf("%s: %w", s, err)
		}
	}
	if a.Proto < 0 || a.Proto > 255 {
		return r, fmt.Errorf("no protocol number: %d", a.Proto)
	}
	r.Tunnel, r.V6, r.Proto, r.SrcPort, r.DstPort = a.Tunnel, a.V6, uint8(a.Proto), a.SPort, a.DPort
	if len(a.Acts) == 0 {
		return r, errors.New("a rule without acts")
	}
	for _, x := range a.Acts {
		act := spd.Action{Unique: x.Unique, SelfEncap: x.Self, KMProtocol: x.KMP, KMCookie: x.KMC,
			Replay: x.Replay, EncryptMinBits: x.EMin, EncryptMaxBits: x.EMax}
		switch x.Type {
		case 0:
			act.Type = spd.Apply
		case 1:
			act.Type = spd.Bypass
		case 2:
			act.Type = spd.Discard
		default:
			return r, fmt.Errorf("unknown type of action %d", x.Type)
		}
		for _, alg := range []struct {
			number int
			symbol func(uint8) wire.AlgID
			to     *int
		}{{x.AH, dialect.Auth, &act.AH}, {x.ESP, dialect.Encrypt, &act.ESP}, {x.ESPAuth, dialect.Auth, &act.ESPAuth}} {
			switch {
			case alg.number == spd.NotUsed:
				*alg.to = spd.NotUsed
			case alg.number < 0 || alg.number > 255:
				return r, fmt.Errorf("no algorithm number: %d", alg.number)
			default:
				*alg.to = int(alg.symbol(uint8(alg.number)))
			}
		}
		r.Actions = append(r.Actions, act)
	}
	return r, nil
}

// prefix reads ADDRESS or ADDRESS/LENGTH; nothing stands for any, the zero value.
func prefix(s string) (netip.Prefix, error) {
	switch {
	case s == "":
		return netip.Prefix{}, nil
	case strings.Contains(s, "/"):
		return netip.ParsePrefix(s)
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// tunnel makes a tunnel interface with its own policy.
type tunnel struct {
	Name string `json:"name"`
	Src  string `json:"src"`
	Dst  string `json:"dst"`
	Val  int    `json:"val,omitempty"` // 1: it negotiates tunnel mode
}

func (a *tunnel) Check() error { _, err := a.tunnel(); return err }

func (a *tunnel) Do(p *conform.Player, _ *conform.Action, _ *conform.Outcome) {
	own(p, func(k Emulated) error {
		t, _ := a.tunnel()
		return k.AddPolicy([]spd.Tunnel{t}, nil)
	})
}

func (a *tunnel) tunnel() (t spd.Tunnel, err error) {
	t = spd.Tunnel{Name: a.Name, Negotiated: a.Val == 1}
	if a.Name == "" {
		return t, errors.New("a tunnel without a name")
	}
	if t.Src, err = netip.ParseAddr(a.Src); err != nil {
		return t, err
	}
	t.Dst, err = netip.ParseAddr(a.Dst)
	return t, err
}

// Common is the policy of the system that the rule is for hosts that have no rules: with the first of the actions.
func (a *policy) Common() any {
	r, err := a.rule()
	switch {
	case err != nil:
		return err
	case r.Tunnel != "" || r.Dir == spd.Both:
		return errors.New("a rule of a tunnel, or of both directions, has no policy like it")
	}
	p := &pfkey.Policy{Direction: wire.KAMEDirOut, Src: selector(&r, r.Src, r.SrcPort),
		Dst: selector(&r, r.Dst, r.DstPort)}
	if r.Dir == spd.In {
		p.Direction, p.Src, p.Dst = wire.KAMEDirIn, p.Dst, p.Src
	}
	switch x := r.Actions[0]; x.Type {
	case spd.Bypass:
		p.Type = wire.KAMEPolicyNone
	case spd.Discard:
		p.Type = wire.KAMEPolicyDiscard
	default:
		p.Type = wire.KAMEPolicyIPsec
		request := func(proto uint16) {
			p.Templates = append(p.Templates, wire.IPsecRequest{Proto: proto, Mode: wire.ModeTransport,
				Level: wire.KAMELevelRequire})
		}
		if x.ESP != spd.NotUsed || x.ESPAuth != spd.NotUsed {
			request(uint16(ipsec.ESP))
		}
		if x.AH != spd.NotUsed {
			request(uint16(ipsec.AH))
		}
	}
	return p
}

// selector is one side of a rule as an address extension has it.
func selector(r *spd.Rule, p netip.Prefix, port uint16) wire.Address {
	if !p.IsValid() {
		any := netip.IPv4Unspecified()
		if r.Is6() {
			any = netip.IPv6Unspecified()
		}
		p = netip.PrefixFrom(any, 0)
	}
	proto := r.Proto
	if proto == 0 {
		proto = 255
	}
	return wire.Address{Proto: proto, PrefixLen: uint8(p.Bits()), Addr: p.Addr(), Port: port}
}

// addPolicy adds the rule that says what a policy does. A policy names no algorithms, and a rule has to.
func addPolicy(p *conform.Player, policy *pfkey.Policy) (how string, err error) {
	r, err := ruleOf(policy)
	if err != nil {
		return "", err
	}
	own(p, func(k Emulated) error { err = k.AddPolicy(nil, []spd.Rule{r}); return nil })
	how = "a rule of ipsecconf is added"
	if policy.Type == wire.KAMEPolicyIPsec {
		how += ", of aes-cbc and hmac-sha256"
	}
	return how, err
}

func ruleOf(policy *pfkey.Policy) (r spd.Rule, err error) {
	if r.Proto = policy.Src.Proto; r.Proto == 255 {
		r.Proto = 0
	}
	local, remote := policy.Src, policy.Dst
	switch policy.Direction {
	case wire.KAMEDirOut:
		r.Dir = spd.Out
	case wire.KAMEDirIn:
		r.Dir, local, remote = spd.In, remote, local
	default:
		return r, errors.New("there are rules for packets that leave and that come in, and no others")
	}
	r.Src, r.Dst = netip.PrefixFrom(local.Addr, int(local.PrefixLen)), netip.PrefixFrom(remote.Addr,
		int(remote.PrefixLen))
	r.SrcPort, r.DstPort = local.Port, remote.Port
	act := spd.Action{AH: spd.NotUsed, ESP: spd.NotUsed, ESPAuth: spd.NotUsed}
	switch policy.Type {
	case wire.KAMEPolicyDiscard:
		act.Type = spd.Discard
	case wire.KAMEPolicyNone:
		act.Type = spd.Bypass
	case wire.KAMEPolicyIPsec:
		for _, t := range policy.Templates {
			switch {
			case t.Mode == wire.ModeTunnel:
				return r, errors.New("a tunnel is an interface here, which no policy makes")
			case t.Proto == uint16(ipsec.ESP):
				act.ESP, act.ESPAuth = int(wire.EncAESCBC), int(wire.AuthSHA256HMAC)
			case t.Proto == uint16(ipsec.AH):
				act.AH = int(wire.AuthSHA256HMAC)
			default:
				return r, fmt.Errorf("there is no protocol %d in a rule", t.Proto)
			}
			act.Unique = act.Unique || t.Level == wire.KAMELevelUnique
		}
	default:
		return r, fmt.Errorf("there is no rule for a policy of type %d", policy.Type)
	}
	r.Actions = []spd.Action{act}
	return r, nil
}
