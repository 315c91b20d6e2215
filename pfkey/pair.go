package pfkey

import (
	"context"

	"github.com/pfkeyd/pfkeyd/wire"
)

// Pairs are illumos': two security associations of one type, one for each direction, each of which has an X_PAIR with
// the SPI of the other. In an ADD or UPDATE that extension is put into Extra of the [SA].

// UpdatePair changes the lifetimes of a security association and of the one it is paired with (X_UPDATEPAIR).
func (c *Client) UpdatePair(ctx context.Context, sa SA) error {
	t, err := c.has(wire.IllumosMsgXUpdatePair)
	if err != nil {
		return err
	}
	return c.put(ctx, t, sa, 0)
}

// DeletePair removes a security association and the one it is paired with (X_DELPAIR). Without a partner it is removed
// all the same, and the error is ESRCH with the diagnostic PAIR_SA_NOTFOUND.
func (c *Client) DeletePair(ctx context.Context, id SAID) error {
	t, err := c.has(wire.IllumosMsgXDelPair)
	if err != nil {
		return err
	}
	_, err = c.request(ctx, c.name(t, id))
	return err
}

// DeletePairState removes every outbound security association of a type from src that is in a state, and those paired
// with them (X_DELPAIR_STATE); dst only tells the address family. No real kernel is known that survives it: it is for
// emulated ones.
func (c *Client) DeletePairState(ctx context.Context, t wire.SAType, src, dst wire.Address, state wire.State) error {
	m, err := c.has(wire.IllumosMsgXDelPairState)
	if err != nil {
		return err
	}
	msg := c.dialect.AppendSA(c.begin(m, t, 0), wire.SA{State: state})
	return c.tell(ctx, appendAddresses(c.dialect, msg, src, dst))
}
