package pfkey

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/wire"
)

// begin starts a message of the client's own: a base header, to which extensions are appended before it is finished. A seq
// of 0 becomes the client's next one.
func (c *Client) begin(t wire.MsgType, sat wire.SAType, seq wire.Seq) []byte {
	if seq == 0 {
		seq = c.NextSeq()
	}
	return c.dialect.AppendHeader(make([]byte, 0, 256), wire.Header{
		Version: wire.Version, Type: t, SAType: sat, Seq: seq, PID: c.pid,
	})
}

// request finishes a message, sends it and waits for its answer.
func (c *Client) request(ctx context.Context, msg []byte) ([]byte, error) {
	return c.Do(ctx, c.dialect.Finish(msg))
}

// GetSPIParams are what a GETSPI asks for.
type GetSPIParams struct {
	Type     wire.SAType
	Src, Dst wire.Address
	Min, Max wire.SPI   // both 0: 0x100 to 0xffffffff, everything that is not reserved
	Seq      wire.Seq   // of the ACQUIRE that this answers; 0: the client's next one
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

// Add makes a complete security association (RFC 2367 section 3.1.3). A seq other than 0 is that of the ACQUIRE that asked
// for it.
func (c *Client) Add(ctx context.Context, sa SA, seq wire.Seq) error {
	return c.put(ctx, wire.MsgAdd, sa, seq)
}

// Update completes the LARVAL security association that GetSPI made, or changes the lifetimes of a complete one (RFC 2367
// section 3.1.2). A seq other than 0 is that of the ACQUIRE that asked for it.
func (c *Client) Update(ctx context.Context, sa SA, seq wire.Seq) error {
	return c.put(ctx, wire.MsgUpdate, sa, seq)
}

func (c *Client) put(ctx context.Context, t wire.MsgType, sa SA, seq wire.Seq) error {
	if sa.SA2 != nil && !hasSA2(c.dialect) {
		return &OpError{Op: OpSend, Msg: c.dialect.MsgName(t), Err: fmt.Errorf("the dialect %s has no %s", c.dialect.Name, sa2Name)}
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

// Register makes the kernel send its ACQUIREs for a type to this client, see [Client.Recv], and returns the algorithms it
// supports (RFC 2367 section 3.1.7).
func (c *Client) Register(ctx context.Context, t wire.SAType) (Algorithms, error) {
	answer, err := c.request(ctx, c.begin(wire.MsgRegister, t, 0))
	if err != nil {
		return Algorithms{}, err
	}
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

// FailAcquire tells the kernel that no security association can be made for its ACQUIRE with this sequence number (RFC 2367
// section 3.1.6). errno says why, such as wire.ETIMEDOUT. There is no answer.
func (c *Client) FailAcquire(ctx context.Context, t wire.SAType, seq wire.Seq, errno Errno) error {
	msg := c.dialect.AppendHeader(nil, wire.Header{
		Version: wire.Version, Type: wire.MsgAcquire, Errno: c.dialect.ErrnoNumber(errno), SAType: t, Seq: seq, PID: c.pid,
	})
	return c.Send(ctx, c.dialect.Finish(msg))
}

// Dump ranges over the security associations of a type, wire.SATypeUnspec for all of them, with their keys (RFC 2367 section
// 3.1.10). An error comes last and with a nil SA; a database without any is none. What changes meanwhile may or may not show.
//
// The client dumps once at a time: a second Dump waits until the first has been ranged over. One that is left early, or whose
// ctx ends, is read to its end, unseen, by the next.
func (c *Client) Dump(ctx context.Context, t wire.SAType) iter.Seq2[*SA, error] {
	return func(yield func(*SA, error) bool) {
		if err := c.dump(ctx, t, func(sa *SA) bool { return yield(sa, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

func (c *Client) dump(ctx context.Context, t wire.SAType, yield func(*SA) bool) error {
	msg := c.dialect.Finish(c.begin(wire.MsgDump, t, 0))
	if err := c.lock(ctx, c.dumping); err != nil {
		return c.fail(OpSend, msg, err)
	}
	defer func() { <-c.dumping }()
	for c.rest != nil {
		answer, err := c.await(ctx, c.rest)
		if err != nil {
			return c.fail(OpReceive, msg, err)
		}
		if c.isLast(answer) {
			c.remove(c.rest)
			c.rest = nil
		}
	}

	w := newWaiter()
	w.Header, _ = c.dialect.Header(msg)
	w.dump = true
	c.add(w)
	last := true // nothing comes if nothing was sent
	defer func() {
		if last {
			c.remove(w)
			return
		}
		c.mu.Lock()
		w.discard = true
		if n := len(w.messages); n > 0 && !w.over {
			w.messages = nil
		} else if n > 0 {
			w.messages = w.messages[n-1:]
		}
		c.mu.Unlock()
		c.rest = w
	}()
	if err := c.send(ctx, msg); err != nil {
		return c.fail(OpSend, msg, err)
	}
	for last = false; !last; {
		answer, err := c.await(ctx, w)
		if err != nil {
			return c.fail(OpReceive, msg, err)
		}
		last = c.isLast(answer)
		h, _ := c.dialect.Header(answer)
		if err := answerError(c.dialect, h); err != nil {
			if errors.Is(err, unix.ENOENT) {
				return nil // how Linux says that there is none
			}
			return err
		}
		if last && len(answer) == wire.HeaderLen {
			return nil // the end alone, as on illumos
		}
		sa, err := c.parseSA(answer)
		if err != nil {
			return err
		}
		if !yield(sa) {
			return nil
		}
	}
	return nil
}

// isLast says whether a message of a dump is its last one.
func (c *Client) isLast(msg []byte) bool {
	h, err := c.dialect.Header(msg)
	return err != nil || h.Seq == 0 || h.Errno != 0
}
