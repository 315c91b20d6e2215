package pfkey

import (
	"context"

	"github.com/pfkeyd/pfkeyd/wire"
)

// Promisc turns promiscuous mode on or off (RFC 2367 section 3.1.11 and appendix A): the client then hears every
// message that the kernel sends to anybody, and on Linux also every request, its own included, all of it as events.
// What the client asks for itself works as ever.
//
// No other call may be under way meanwhile.
func (c *Client) Promisc(ctx context.Context, on bool) error {
	t := wire.SATypeUnspec
	if on {
		t = c.dialect.SAType(1) // a switch, not a type
	}
	if _, err := c.request(ctx, c.begin(wire.MsgXPromisc, t, 0)); err != nil {
		return err
	}
	if !on {
		c.own.Store(false)
		return nil
	}
	if c.own.Load() {
		return nil // it was on
	}
	// A kernel that shows requests shows this one too, and it looks like an answer without an errno.
	msg := c.dialect.Finish(c.begin(wire.MsgGet, wire.SATypeESP, 0))
	answer, err := c.Do(ctx, msg)
	if answer == nil {
		return err
	}
	c.own.Store(err == nil)
	return nil
}
