package pfkey

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"github.com/pfkeyd/pfkeyd/wire"
)

// Policy is a security policy: which packets, and what is to become of them. Only dialects with X_POLICY have such
// messages (Linux; illumos keeps its policies elsewhere).
type Policy struct {
	Direction  wire.Direction      // wire.KAMEDirOut, ...
	Src, Dst   wire.Address        // which packets: networks, ports, and one protocol, 255 for any; see [Prefix]
	Type       wire.PolicyType     // wire.KAMEPolicyIPsec, ...
	Priority   uint32              // smaller wins; the kernel's own number, not setkey's signed one
	ID         uint32              // chosen by the kernel
	Templates  []wire.IPsecRequest // of KAMEPolicyIPsec: what packets need, the innermost first
	Hard, Soft *wire.Lifetime      // nil: no limits
	Current    *wire.Lifetime      // answers only: when it was added and last used

	// Extra are further extensions, as in [SA].
	Extra Extensions
}

// AppendExtensions appends what p says to b, as the extensions of an X_SPDADD. The dialect must have X_POLICY.
func (p Policy) AppendExtensions(d *wire.Dialect, b []byte) []byte {
	b = appendAddresses(d, b, p.Src, p.Dst)
	if p.Hard != nil || p.Soft != nil {
		b = appendLifetime(d, b, wire.ExtLifetimeHard, p.Hard)
		b = appendLifetime(d, b, wire.ExtLifetimeSoft, p.Soft)
	}
	b = d.AppendPolicy(b, wire.Policy{Type: p.Type, Direction: p.Direction, ID: p.ID, Priority: p.Priority,
		Requests: p.Templates})
	return append(b, p.Extra...)
}

// ParsePolicy reads the policy that a message describes: an answer to one of the requests about policies, or one of a
// dump. The message must be well formed ([wire.Dialect.Validate]) and have X_POLICY and both addresses. Extra and the
// tails of templates are views into it, or into a copy of it.
func ParsePolicy(d *wire.Dialect, msg []byte) (*Policy, error) {
	h, err := d.Header(msg)
	if err != nil {
		return nil, fmt.Errorf("pfkey: %w", err)
	}
	// Linux miscounts its own length when templates are of several families.
	if int(h.Len)*8 != len(msg) {
		msg = d.Finish(bytes.Clone(msg))
	}
	if err := d.Validate(msg); err != nil {
		return nil, fmt.Errorf("pfkey: %w", err)
	}
	p, found := new(Policy), false
	for x, err := range d.Walk(msg) {
		if err == nil {
			found = found || x.Type == wire.KAMEExtXPolicy
			err = p.parse(d, x)
		}
		if err != nil {
			return nil, fmt.Errorf("pfkey: %w", err)
		}
	}
	switch {
	case !found:
		return nil, fmt.Errorf("pfkey: %s has no %s extension", d.MsgName(h.Type), wire.KAMEExtXPolicy)
	case !p.Src.Addr.IsValid() || !p.Dst.Addr.IsValid():
		return nil, fmt.Errorf("pfkey: %s has no selector", d.MsgName(h.Type))
	}
	return p, nil
}

// parse reads one extension.
func (p *Policy) parse(d *wire.Dialect, x wire.Ext) (err error) {
	switch {
	case x.Type == wire.KAMEExtXPolicy:
		var v wire.Policy
		v, err = d.ParsePolicy(x.Raw)
		p.Type, p.Direction, p.ID, p.Priority, p.Templates = v.Type, v.Direction, v.ID, v.Priority, v.Requests
	case x.Type == wire.ExtAddressSrc:
		p.Src, err = d.ParseAddress(x.Raw)
	case x.Type == wire.ExtAddressDst:
		p.Dst, err = d.ParseAddress(x.Raw)
	case x.Type == wire.ExtLifetimeHard:
		p.Hard, err = parseLifetime(d, x.Raw)
	case x.Type == wire.ExtLifetimeSoft:
		p.Soft, err = parseLifetime(d, x.Raw)
	case x.Type == wire.ExtLifetimeCurrent:
		p.Current, err = parseLifetime(d, x.Raw)
	default:
		p.Extra = append(p.Extra, x.Raw...)
	}
	return err
}

// AddPolicy adds a policy (X_SPDADD) and returns its id. One with the same direction and selector is in its way
// (EEXIST).
func (c *Client) AddPolicy(ctx context.Context, p Policy) (id uint32, err error) {
	return c.putPolicy(ctx, wire.KAMEMsgXSPDAdd, p)
}

// SetPolicyIndex is AddPolicy by X_SPDSETIDX, which Linux does not tell apart. On its BSD ancestors such a policy is
// without templates.
func (c *Client) SetPolicyIndex(ctx context.Context, p Policy) (id uint32, err error) {
	return c.putPolicy(ctx, wire.KAMEMsgXSPDSetIdx, p)
}

// UpdatePolicy adds a policy, or replaces the one with the same direction and selector, whose id it gets (X_SPDUPDATE).
// It returns the id.
func (c *Client) UpdatePolicy(ctx context.Context, p Policy) (id uint32, err error) {
	return c.putPolicy(ctx, wire.KAMEMsgXSPDUpdate, p)
}

func (c *Client) putPolicy(ctx context.Context, t wire.MsgType, p Policy) (id uint32, err error) {
	if _, err := c.has(t); err != nil {
		return 0, err
	}
	msg := c.dialect.Finish(p.AppendExtensions(c.dialect, c.begin(t, wire.SATypeUnspec, 0)))
	h, _ := c.dialect.Header(msg) // it is our own
	if err := c.whole(msg); err != nil {
		return 0, err
	}
	if t == wire.KAMEMsgXSPDSetIdx {
		t = wire.KAMEMsgXSPDAdd // as which Linux answers it
	}
	answer, err := c.do(ctx, msg, h, t)
	if err != nil {
		return 0, err
	}
	got, err := c.parsePolicy(answer)
	if err != nil {
		return 0, err
	}
	return got.ID, nil
}

// parsePolicy reads an answer that must describe a policy.
func (c *Client) parsePolicy(answer []byte) (*Policy, error) {
	p, err := ParsePolicy(c.dialect, answer)
	if err != nil {
		return nil, c.fail(OpAnswer, answer, err)
	}
	return p, nil
}

// DeletePolicy removes the policy with the direction and selector of p (X_SPDDELETE). Nothing else of p counts.
func (c *Client) DeletePolicy(ctx context.Context, p Policy) error {
	t, err := c.has(wire.KAMEMsgXSPDDelete)
	if err != nil {
		return err
	}
	msg := appendAddresses(c.dialect, c.begin(t, wire.SATypeUnspec, 0), p.Src, p.Dst)
	return c.tell(ctx, c.dialect.AppendPolicy(msg, wire.Policy{Direction: p.Direction}))
}

// DeletePolicyID removes the policy with an id (X_SPDDELETE2).
func (c *Client) DeletePolicyID(ctx context.Context, id uint32) error {
	t, err := c.has(wire.KAMEMsgXSPDDelete2)
	if err != nil {
		return err
	}
	return c.tell(ctx, c.dialect.AppendPolicy(c.begin(t, wire.SATypeUnspec, 0), wire.Policy{ID: id}))
}

// GetPolicy reads the policy with an id (X_SPDGET), such as the one that an ACQUIRE names.
func (c *Client) GetPolicy(ctx context.Context, id uint32) (*Policy, error) {
	t, err := c.has(wire.KAMEMsgXSPDGet)
	if err != nil {
		return nil, err
	}
	answer, err := c.request(ctx, c.dialect.AppendPolicy(c.begin(t, wire.SATypeUnspec, 0), wire.Policy{ID: id}))
	if err != nil {
		return nil, err
	}
	return c.parsePolicy(answer)
}

// DumpPolicies ranges over all policies, the newest first on Linux (X_SPDDUMP). It is as [Client.Dump] in everything
// else.
func (c *Client) DumpPolicies(ctx context.Context) iter.Seq2[*Policy, error] {
	t, err := c.has(wire.KAMEMsgXSPDDump)
	if err != nil {
		return func(yield func(*Policy, error) bool) { yield(nil, err) }
	}
	return dump(ctx, c, t, wire.SATypeUnspec, c.parsePolicy)
}

// FlushPolicies removes all policies (X_SPDFLUSH).
func (c *Client) FlushPolicies(ctx context.Context) error {
	t, err := c.has(wire.KAMEMsgXSPDFlush)
	if err != nil {
		return err
	}
	_, err = c.request(ctx, c.begin(t, wire.SATypeUnspec, 0))
	return err
}

// Move is one change that a MIGRATE makes: From and To have protocol, mode and request id in common, and addresses in
// every mode.
type Move struct{ From, To wire.IPsecRequest }

// Migrate moves the policy with the direction and selector of p, and the security associations that its templates use,
// to other addresses (X_MIGRATE). Extra of p may hold an X_KMADDRESS; nothing else of it counts.
//
// Linux tells everybody that it was done, in a message without numbers, so that it shows as an event here too.
func (c *Client) Migrate(ctx context.Context, p Policy, moves ...Move) error {
	t, err := c.has(wire.LinuxMsgXMigrate)
	if err != nil {
		return err
	}
	v := wire.Policy{Type: wire.KAMEPolicyIPsec, Direction: p.Direction}
	for _, m := range moves {
		v.Requests = append(v.Requests, m.From, m.To)
	}
	msg := appendAddresses(c.dialect, c.begin(t, wire.SATypeUnspec, 0), p.Src, p.Dst)
	return c.tell(ctx, append(c.dialect.AppendPolicy(msg, v), p.Extra...))
}
