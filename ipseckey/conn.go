package ipseckey

import (
	"context"

	"github.com/pfkeyd/pfkeyd/pfkey"
)

// ClientConn makes a [Conn] of a client that nobody else uses. Closing it closes the client.
func ClientConn(c *pfkey.Client) Conn { return clientConn{c} }

type clientConn struct{ c *pfkey.Client }

func (c clientConn) Send(ctx context.Context, msg []byte) error { return c.c.Send(ctx, msg) }

func (c clientConn) Recv(ctx context.Context, buf []byte) (int, error) {
	msg, err := c.c.Recv(ctx)
	return copy(buf, msg), err
}

func (c clientConn) Close() error { return c.c.Close() }
