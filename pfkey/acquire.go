package pfkey

import (
	"context"
	"fmt"

	"github.com/pfkeyd/pfkeyd/wire"
)

// Acquire is a request for a security association (RFC 2367 section 3.1.6): by the kernel, for a packet, when it is an
// [Event]; by a program, when it is given to [Client.Acquire].
//
// Who can make the association answers by an ADD with this Seq for it; the one for the other direction comes from
// GETSPI and UPDATE. Who cannot, calls [Client.FailAcquire].
type Acquire struct {
	Type wire.SAType // unspecified in illumos' extended form, whose proposal names types
	Seq  wire.Seq    // in a request 0 becomes the client's next one
	PID  uint32      // events only: the program that asks, 0 for the kernel
	// events only: a program says by this, with an errno in the chain, that it cannot be done; there may be nothing
	// else
	Err error

	// the ends of the association; with ports and protocol of what it is for, as far as the kernel tells
	Src, Dst wire.Address

	// InnerSrc and InnerDst are, on illumos in tunnel mode, which packets it is for; without an address otherwise.
	InnerSrc, InnerDst wire.Address

	// preferred first; nil or without any where the kernel leaves the choice to key management, as Linux mostly does
	Proposal *wire.Proposal
	Extended *wire.EProp  // illumos' extended form has this instead
	Policy   *wire.Policy // Linux: direction and ID of the policy that wants it, for [Client.GetPolicy]

	// Extra are further extensions, as in [SA].
	Extra Extensions
}

// AppendExtensions appends what a says to b, as the extensions of an ACQUIRE in the order of RFC 2367. What the dialect
// does not have is left out.
func (a Acquire) AppendExtensions(d *wire.Dialect, b []byte) []byte {
	b = appendAddresses(d, b, a.Src, a.Dst)
	inner := hasExt(d, wire.IllumosExtXAddressInnerDst)
	if inner && a.InnerSrc.Addr.IsValid() {
		b = d.AppendAddress(b, wire.IllumosExtXAddressInnerSrc, a.InnerSrc)
	}
	if inner && a.InnerDst.Addr.IsValid() {
		b = d.AppendAddress(b, wire.IllumosExtXAddressInnerDst, a.InnerDst)
	}
	if hasExt(d, wire.KAMEExtXPolicy) && a.Policy != nil {
		b = d.AppendPolicy(b, *a.Policy)
	}
	if a.Proposal != nil {
		b = d.AppendProposal(b, *a.Proposal)
	}
	if hasExt(d, wire.IllumosExtXEProp) && a.Extended != nil {
		b = d.AppendEProp(b, *a.Extended)
	}
	return append(b, a.Extra...)
}

// parseAcquire reads an ACQUIRE, which is well formed.
func parseAcquire(d *wire.Dialect, h wire.Header, msg []byte) (*Acquire, error) {
	a := &Acquire{Type: h.SAType, Seq: h.Seq, PID: h.PID}
	if h.PID != 0 { // of the kernel it means nothing
		a.Err = answerError(d, h, nil)
	}
	for x, err := range d.Walk(msg) {
		if err == nil {
			err = a.parse(d, x)
		}
		if err != nil {
			return nil, err
		}
	}
	// A flow of OpenBSD need not say between whom: X_ASKPOLICY does.
	if a.Err == nil && !(a.Src.Addr.IsValid() && a.Dst.Addr.IsValid()) && !hasExt(d, wire.OpenBSDExtXPolicy) {
		return nil, fmt.Errorf("%s does not say between whom", d.MsgName(h.Type))
	}
	return a, nil
}

// parse reads one extension.
func (a *Acquire) parse(d *wire.Dialect, x wire.Ext) (err error) {
	switch {
	case x.Type == wire.ExtAddressSrc:
		a.Src, err = d.ParseAddress(x.Raw)
	case x.Type == wire.ExtAddressDst:
		a.Dst, err = d.ParseAddress(x.Raw)
	case x.Type == wire.IllumosExtXAddressInnerSrc && hasExt(d, wire.IllumosExtXAddressInnerDst):
		a.InnerSrc, err = d.ParseAddress(x.Raw)
	case x.Type == wire.IllumosExtXAddressInnerDst:
		a.InnerDst, err = d.ParseAddress(x.Raw)
	case x.Type == wire.ExtProposal:
		a.Proposal, err = ptr(d.ParseProposal(x.Raw))
	case x.Type == wire.IllumosExtXEProp:
		a.Extended, err = ptr(d.ParseEProp(x.Raw))
	case x.Type == wire.KAMEExtXPolicy:
		a.Policy, err = ptr(d.ParsePolicy(x.Raw))
	default:
		a.Extra = append(a.Extra, x.Raw...)
	}
	return err
}

func ptr[T any](v T, err error) (*T, error) { return &v, err }

// Acquire asks key management for a security association, as programs do that use IPsec without being the kernel (RFC
// 2367 section 3.1.6), and returns the sequence number that the ADD or UPDATE of it will have, which shows as an event.
// PID and Err of a do not count.
//
// A kernel that takes it does not answer. So that one that does not is heard (Linux: EOPNOTSUPP), a GET that finds
// nothing follows, whose answer ends the wait. illumos takes it, and tells promiscuous sockets only.
func (c *Client) Acquire(ctx context.Context, a Acquire) (wire.Seq, error) {
	msg := a.AppendExtensions(c.dialect, c.begin(wire.MsgAcquire, a.Type, a.Seq))
	h, _ := c.dialect.Header(msg) // it is our own
	if err := c.tell(ctx, msg); err != nil {
		return 0, err
	}
	return h.Seq, nil
}

// FailAcquire tells the kernel that no security association can be made for its ACQUIRE with this sequence number (RFC
// 2367 section 3.1.6). errno says why, such as wire.ETIMEDOUT. There is no answer.
func (c *Client) FailAcquire(ctx context.Context, t wire.SAType, seq wire.Seq, errno Errno) error {
	msg := c.dialect.AppendHeader(nil, wire.Header{
		Version: wire.Version, Type: wire.MsgAcquire, Errno: c.dialect.ErrnoNumber(errno), SAType: t, Seq: seq,
		PID: c.pid,
	})
	return c.Send(ctx, c.dialect.Finish(msg))
}

// InverseAcquire asks what the kernel's policy would ask for, between the addresses of a and, for a tunnel, its inner
// ones: illumos' X_INVERSE_ACQUIRE, for a responder that has to judge what a peer proposes. The answer is in the
// extended form. ENOENT: there is no such policy.
func (c *Client) InverseAcquire(ctx context.Context, a Acquire) (*Acquire, error) {
	t, err := c.has(wire.IllumosMsgXInverseAcquire)
	if err != nil {
		return nil, err
	}
	msg := c.dialect.Finish(a.AppendExtensions(c.dialect, c.begin(t, a.Type, a.Seq)))
	h, _ := c.dialect.Header(msg) // it is our own
	answer, err := c.do(ctx, msg, h, wire.MsgAcquire)
	if err != nil {
		return nil, err
	}
	if err := c.dialect.Validate(answer); err != nil {
		return nil, c.fail(OpAnswer, answer, err)
	}
	h, _ = c.dialect.Header(answer)
	got, err := parseAcquire(c.dialect, h, answer)
	if err != nil {
		return nil, c.fail(OpAnswer, answer, err)
	}
	return got, nil
}
