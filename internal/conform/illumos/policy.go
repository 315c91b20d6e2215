package illumos

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/spd"
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
