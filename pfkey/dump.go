package pfkey

import (
	"bytes"
	"context"
	"iter"
	"slices"

	"github.com/pfkeyd/pfkeyd/wire"
)

// Dump ranges over the security associations of a type, wire.SATypeUnspec for all of them, with their keys (RFC 2367
// section 3.1.10). An error comes last and with a nil SA; a database without any is none. What changes meanwhile may or
// may not show.
//
// The client dumps once at a time: a second Dump or DumpPolicies waits until the first has been ranged over. One that
// is left early, or whose ctx ends, is read to its end, unseen, by the next.
func (c *Client) Dump(ctx context.Context, t wire.SAType) iter.Seq2[*SA, error] {
	types := c.dialect.DumpTypes()
	if t != wire.SATypeUnspec || types == nil {
		return dump(ctx, c, wire.MsgDump, t, c.parseSA)
	}
	return func(yield func(*SA, error) bool) {
		for _, t := range append(slices.Clone(types), wire.SATypeUnspec) {
			for sa, err := range dump(ctx, c, wire.MsgDump, t, c.parseSA) {
				told := err == nil && t == wire.SATypeUnspec && sa.State != wire.StateLarval
				if !told && (!yield(sa, err) || err != nil) {
					return
				}
			}
		}
	}
}

// dump ranges over what parse makes of the messages of a dump.
func dump[T any](ctx context.Context, c *Client, t wire.MsgType, sat wire.SAType,
	parse func([]byte) (*T, error)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		err := c.dump(ctx, c.dialect.Finish(c.begin(t, sat, 0)), func(answer []byte) (bool, error) {
			v, err := parse(answer)
			return err == nil && yield(v, nil), err
		})
		if err != nil {
			yield(nil, err)
		}
	}
}

// dump sends msg and calls each for every message that describes something, until it returns false or an error, which
// dump returns.
func (c *Client) dump(ctx context.Context, msg []byte, each func([]byte) (bool, error)) error {
	if err := c.lock(ctx, c.dumping); err != nil {
		return c.fail(OpSend, msg, err)
	}
	defer func() { <-c.dumping }()
	if !c.dialect.DumpEnds() {
		return c.dumpWhole(ctx, msg, each)
	}
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

	h, _ := c.dialect.Header(msg) // it is our own
	w := c.newWaiter(msg, h)
	w.dump = true
	twice := w.request != nil // then it shows everything else once more, too
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
	var seen []byte
	for last = false; !last; {
		answer, err := c.await(ctx, w)
		if err != nil {
			return c.fail(OpReceive, msg, err)
		}
		last = c.isLast(answer)
		h, _ := c.dialect.Header(answer)
		if err := answerError(c.dialect, h, msg); err != nil {
			if e, ok := c.dialect.Errno(h.Errno); ok && e == wire.ENOENT {
				return nil // how Linux says that there is none
			}
			return err
		}
		if last && len(answer) == wire.HeaderLen {
			return nil // the end alone, as on illumos
		}
		if twice && bytes.Equal(answer, seen) {
			continue
		}
		seen = answer
		if more, err := each(answer); err != nil || !more {
			return err
		}
	}
	return nil
}

// dumpWhole is dump where a dump may have no end, nor anything else: all there is has come when a later request has
// been answered.
func (c *Client) dumpWhole(ctx context.Context, msg []byte, each func([]byte) (bool, error)) error {
	h, _ := c.dialect.Header(msg) // it is our own
	w := c.newWaiter(msg, h)
	w.dump, w.many = true, true
	c.add(w)
	defer c.remove(w)
	if err := c.send(ctx, msg); err != nil {
		return c.fail(OpSend, msg, err)
	}
	if err := c.fence(ctx); err != nil {
		return err
	}
	for answer := c.take(w); answer != nil; answer = c.take(w) {
		h, _ := c.dialect.Header(answer) // or it would not have been recognised
		if err := answerError(c.dialect, h, msg); err != nil {
			return err
		}
		if more, err := each(answer); err != nil || !more {
			return err
		}
	}
	return nil
}

// isLast says whether a message of a dump is its last one.
func (c *Client) isLast(msg []byte) bool {
	h, err := c.dialect.Header(msg)
	return err != nil || h.Seq == 0 || h.Errno != 0
}
