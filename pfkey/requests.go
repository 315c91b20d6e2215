package pfkey

import (
	"context"
	"errors"
	"fmt"

	"github.com/pfkeyd/pfkeyd/wire"
)

// begin starts a message of the client's own: a base header, to which extensions are appended before it is finished. A
// seq of 0 becomes the client's next one.
func (c *Client) begin(t wire.MsgType, sat wire.SAType, seq wire.Seq) []byte {
	if seq == 0 {
		seq = c.NextSeq()
	}
	return c.dialect.AppendHeader(make([]byte, 0, 256), wire.Header{
		Version: wire.Version, Type: t, SAType: sat, Seq: seq, PID: c.pid,
	})
}

// has gives back the type of a message that not every dialect has. The error has [errors.ErrUnsupported] in its chain.
func (c *Client) has(t wire.MsgType) (wire.MsgType, error) {
	if _, ok := c.dialect.MsgNumber(t); ok {
		return t, nil
	}
	return t, c.lacks(t.String(), t.String())
}

// lacks is the error for something that the dialect does not have, in a message called msg.
func (c *Client) lacks(msg, what string) error {
	return &OpError{Op: OpSend, Msg: msg, Err: fmt.Errorf("the dialect %s has no %s: %w", c.dialect.Name, what,
		errors.ErrUnsupported)}
}

// whole is an error for a message with an extension that the dialect does not have.
func (c *Client) whole(msg []byte) error {
	if lack, ok := errors.AsType[*wire.LackError](c.dialect.Lacks(msg)); ok {
		h, _ := c.dialect.Header(msg) // it is our own
		return c.lacks(c.dialect.MsgName(h.Type), lack.Ext.String())
	}
	return nil
}

// request finishes a message, sends it and waits for its answer.
func (c *Client) request(ctx context.Context, msg []byte) ([]byte, error) {
	if err := c.whole(msg); err != nil {
		return nil, err
	}
	return c.Do(ctx, c.dialect.Finish(msg))
}

// NoAcquire, 0, is the sequence number of an ADD, an UPDATE or a GETSPI that answers no ACQUIRE. The message is sent
// with the client's next own number ([Client.NextSeq]).
const NoAcquire wire.Seq = 0

// GetSPIParams are what a GETSPI asks for.
type GetSPIParams struct {
	Type     wire.SAType
	Src, Dst wire.Address
	Min, Max wire.SPI   // both 0: 0x100 to 0xffffffff, everything that is not reserved
	Seq      wire.Seq   // of the ACQUIRE that this answers, or NoAcquire
	Extra    Extensions // sent behind the others, such as Linux' X_SA2
}

// GetSPI has the kernel choose an SPI and make a LARVAL security association with it (RFC 2367 section 3.1.1).
func (c *Client) GetSPI(ctx context.Context, p GetSPIParams) (wire.SPI, error) {
	if p.Min == 0 && p.Max == 0 {
		p.Min, p.Max = 0x100, 0xffffffff
	}
	msg := appendAddresses(c.dialect, c.begin(wire.MsgGetSPI, p.Type, p.Seq), p.Src, p.Dst)
	msg = c.dialect.AppendSPIRange(msg, wire.SPIRange{Min: p.Min, Max: p.Max})
	answer, err := c.request(ctx, append(msg, p.Extra...))
	if err != nil {
		return 0, err
	}
	sa, err := c.parseSA(answer)
	if err != nil {
		return 0, err
	}
	return sa.SPI, nil
}

// Add makes a complete security association (RFC 2367 section 3.1.3). seq is that of the ACQUIRE that asked for it,
// [Acquire].Seq, by which the kernel finds the packets that wait for it; [NoAcquire] if none did.
func (c *Client) Add(ctx context.Context, sa SA, seq wire.Seq) error {
	return c.put(ctx, wire.MsgAdd, sa, seq)
}

// Update completes the LARVAL security association that GetSPI made, or changes the lifetimes of a complete one (RFC
// 2367 section 3.1.2). seq is as for [Client.Add].
func (c *Client) Update(ctx context.Context, sa SA, seq wire.Seq) error {
	return c.put(ctx, wire.MsgUpdate, sa, seq)
}

func (c *Client) put(ctx context.Context, t wire.MsgType, sa SA, seq wire.Seq) error {
	if sa.SA2 != nil && !hasExt(c.dialect, wire.KAMEExtXSA2) {
		return c.lacks(c.dialect.MsgName(t), wire.KAMEExtXSA2.String())
	}
	_, err := c.request(ctx, sa.AppendExtensions(c.dialect, c.begin(t, sa.Type, seq)))
	return err
}

// name starts a message that names a security association.
func (c *Client) name(t wire.MsgType, id SAID) []byte {
	msg := c.dialect.AppendSA(c.begin(t, id.Type, 0), wire.SA{SPI: id.SPI, State: wire.StateMature, Flags: id.Flags})
	return appendAddresses(c.dialect, msg, id.Src, id.Dst)
}

// Delete removes a security association (RFC 2367 section 3.1.4).
func (c *Client) Delete(ctx context.Context, id SAID) error {
	_, err := c.request(ctx, c.name(wire.MsgDelete, id))
	return err
}

// Get reads a security association, with its keys (RFC 2367 section 3.1.5).
func (c *Client) Get(ctx context.Context, id SAID) (*SA, error) {
	answer, err := c.request(ctx, c.name(wire.MsgGet, id))
	if err != nil {
		return nil, err
	}
	return c.parseSA(answer)
}

// parseSA reads an answer that must describe a security association.
func (c *Client) parseSA(answer []byte) (*SA, error) {
	sa, err := ParseSA(c.dialect, answer)
	if err != nil {
		return nil, c.fail(OpAnswer, answer, err)
	}
	return sa, nil
}

// Flush removes all security associations of a type, with wire.SATypeUnspec all of every type (RFC 2367 section 3.1.9).
func (c *Client) Flush(ctx context.Context, t wire.SAType) error {
	_, err := c.request(ctx, c.begin(wire.MsgFlush, t, 0))
	return err
}

// Algorithms are what a kernel can do, in its own order and numbers.
type Algorithms struct{ Auth, Encrypt []wire.Alg }

// Register makes the kernel send its ACQUIREs for a type to this client, see [Client.Recv], and returns the algorithms
// it supports (RFC 2367 section 3.1.7).
func (c *Client) Register(ctx context.Context, t wire.SAType) (Algorithms, error) {
	answer, err := c.request(ctx, c.begin(wire.MsgRegister, t, 0))
	if err != nil {
		return Algorithms{}, err
	}
	return c.algorithms(answer)
}

// RegisterExtended is illumos' REGISTER for several types at once: the kernel sends this client ACQUIREs in their
// extended form, whose proposals name the algorithms of all protocols, and no others. Only a client that has not
// registered yet can do it (EBUSY). Algorithms are by type; a type that the kernel does not know has none, and makes an
// error beside those of the others.
func (c *Client) RegisterExtended(ctx context.Context, types ...wire.SAType) (map[wire.SAType]Algorithms, error) {
	if !hasExt(c.dialect, wire.IllumosExtXEReg) {
		return nil, c.lacks(c.dialect.MsgName(wire.MsgRegister), wire.IllumosExtXEReg.String())
	}
	answers, err := c.collect(ctx, c.dialect.AppendEReg(c.begin(wire.MsgRegister, wire.SATypeUnspec, 0),
		wire.EReg{Types: types}))
	if err != nil {
		return nil, err
	}
	algorithms := map[wire.SAType]Algorithms{}
	var errs []error
	for _, answer := range answers {
		h, _ := c.dialect.Header(answer) // or it would not have been recognised
		err := answerError(c.dialect, h, nil)
		if err == nil {
			algorithms[h.SAType], err = c.algorithms(answer)
		}
		errs = append(errs, err)
	}
	return algorithms, errors.Join(errs...)
}

// algorithms reads the answer to a REGISTER.
func (c *Client) algorithms(answer []byte) (Algorithms, error) {
	var a Algorithms
	for x, err := range c.dialect.Walk(answer) {
		var s wire.Supported
		if err == nil && (x.Type == wire.ExtSupportedAuth || x.Type == wire.ExtSupportedEncrypt) {
			s, err = c.dialect.ParseSupported(x.Raw)
		}
		switch {
		case err != nil:
			return Algorithms{}, c.fail(OpAnswer, answer, err)
		case x.Type == wire.ExtSupportedAuth:
			a.Auth = s.Algs
		case x.Type == wire.ExtSupportedEncrypt:
			a.Encrypt = s.Algs
		}
	}
	return a, nil
}
