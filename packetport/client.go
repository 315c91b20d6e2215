package packetport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/door"
)

// RefusedError is the engine's no: to the connection (from [Dial]), or to one injected packet (from [Client.Recv],
// which can be called again).
type RefusedError struct {
	ID   uint64 // of the packet; 0 for the connection
	Text string // the engine's reason
}

func (e *RefusedError) Error() string {
	if e.ID == 0 {
		return fmt.Sprintf("packetport: refused by the engine: %s", e.Text)
	}
	return fmt.Sprintf("packetport: packet %d refused by the engine: %s", e.ID, e.Text)
}

// OverrunError says that verdicts are missing at this place because they were not received in time. Receiving goes on.
type OverrunError struct{ Lost uint64 }

func (e *OverrunError) Error() string {
	return fmt.Sprintf("packetport: %d verdicts lost, they were not received in time", e.Lost)
}

// Client is one connection to a packet port. It is safe for concurrent use; a client that injects much must receive at
// the same time, or verdicts are lost.
type Client struct {
	nc   net.Conn // immutable
	name string   // immutable

	lastID atomic.Uint64

	sending chan struct{} // holds one token: who has it owns these two
	out     []byte
	asked   bool // WATCH was sent

	receiving chan struct{} // holds one token: who has it owns what follows
	in        []byte
	pending   []pending // received by Watch, for Recv
	reset     bool      // the engine left with packets of ours unread

	watch    sync.Once
	watching chan struct{} // closed when the engine has said so
}

type pending struct {
	v   Verdict
	err error
}

// Dial connects to the packet port at path and waits for the engine's greeting. The error is a *RefusedError when the
// engine does not want this client, a *FrameError when something else speaks there, else one of the net package, or one
// that names the user who listens there and is neither root nor the own one.
func Dial(ctx context.Context, path string) (*Client, error) {
	nc, err := door.Dial(ctx, "unixpacket", path)
	if err != nil {
		return nil, err
	}
	return NewClient(ctx, nc)
}

// NewClient is [Dial] for a connection that is there already. It owns nc, and closes it on an error.
func NewClient(ctx context.Context, nc net.Conn) (*Client, error) {
	c := &Client{
		nc:        nc,
		in:        make([]byte, maxFrame+1),
		sending:   make(chan struct{}, 1),
		receiving: make(chan struct{}, 1),
		watching:  make(chan struct{}),
	}
	f, err := c.receive(ctx)
	if err == nil {
		switch f := f.(type) {
		case helloFrame:
			c.name = f.Name
			c.sending <- struct{}{}
			c.receiving <- struct{}{}
			return c, nil
		case refusedFrame:
			err = &RefusedError{Text: f.Text}
		default:
			err = &FrameError{f.frame(), 1, "type of the first frame", errType}
		}
	}
	nc.Close()
	return nil, err
}

// Name is what the engine calls its kernel.
func (c *Client) Name() string { return c.name }

// Close ends the connection. Packets still held by the engine end there as always.
func (c *Client) Close() error { return c.nc.Close() }

// Inject sends one IP datagram and returns its id, counting from 1. It does not wait for the verdict, but may wait for
// the engine to take packets sent before. packet may be used again at once. tunnel names the tunnel interface that an
// outbound packet belongs to and is empty otherwise. The error is a *FrameError for a packet that cannot be sent, ctx's
// error, or one of the net package.
func (c *Client) Inject(ctx context.Context, packet []byte, dir Direction, tunnel string) (id uint64, err error) {
	id = c.lastID.Add(1)
	return id, c.InjectAs(ctx, id, packet, dir, tunnel)
}

// InjectAs is [Client.Inject] with an id of the caller's choice. Ids need not be unique, but then their verdicts look
// alike.
func (c *Client) InjectAs(ctx context.Context, id uint64, packet []byte, dir Direction, tunnel string) error {
	if err := take(ctx, c.sending); err != nil {
		return err
	}
	defer func() { c.sending <- struct{}{} }()
	return c.send(ctx, injectFrame{Direction: dir, ID: id, Tunnel: tunnel, Packet: packet})
}

// send needs the token of sending.
func (c *Client) send(ctx context.Context, f frame) error {
	b, err := f.appendTo(c.out[:0])
	if err != nil {
		return err
	}
	c.out = b
	done := under(ctx, c.nc.SetWriteDeadline)
	_, err = c.nc.Write(b)
	done()
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Watch asks for all final verdicts of the engine. When it returns nil, [Client.Recv] will tell every packet that ends
// from now on, with Verdict.Watched set; a packet that this client injected is told twice then, once for each role.
// Verdicts that come in while it waits are kept for Recv.
func (c *Client) Watch(ctx context.Context) error {
	if err := take(ctx, c.sending); err != nil {
		return err
	}
	var err error
	if !c.asked {
		err = c.send(ctx, watchFrame{})
		c.asked = err == nil
	}
	c.sending <- struct{}{}
	if err != nil {
		return err
	}
	for {
		select {
		case <-c.watching:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-c.receiving:
		}
		// Nobody else receives: the answer is ours to fetch, and what comes before it is kept.
		select {
		case <-c.watching:
			c.receiving <- struct{}{}
			return nil
		default:
		}
		v, ok, err := c.step(ctx)
		if ok {
			c.pending = append(c.pending, pending{v, err})
		}
		c.receiving <- struct{}{}
		if !ok && err != nil {
			return err
		}
	}
}

// Recv waits for the next verdict. Its byte slices are the caller's. An *[OverrunError] and a *[RefusedError] stand
// between verdicts, and Recv can be called again; so it can after an error of ctx. io.EOF means that the engine has
// left, ECONNRESET that it left with packets of this client unread.
func (c *Client) Recv(ctx context.Context) (Verdict, error) {
	if err := take(ctx, c.receiving); err != nil {
		return Verdict{}, err
	}
	defer func() { c.receiving <- struct{}{} }()
	if len(c.pending) > 0 {
		p := c.pending[0]
		c.pending = c.pending[1:]
		return p.v, p.err
	}
	for {
		v, ok, err := c.step(ctx)
		if ok || err != nil {
			return v, err
		}
	}
}

// step receives one frame. ok says that the result is something for Recv, after which it goes on. It needs the token of
// receiving.
func (c *Client) step(ctx context.Context) (v Verdict, ok bool, err error) {
	f, err := c.receive(ctx)
	if err != nil {
		return v, false, err
	}
	switch f := f.(type) {
	case Verdict:
		// The views are into c.in.
		f.Packet, f.Inner = bytes.Clone(f.Packet), bytes.Clone(f.Inner)
		return f, true, nil
	case overrunFrame:
		return v, true, &OverrunError{Lost: f.Lost}
	case refusedFrame:
		return v, true, &RefusedError{ID: f.ID, Text: f.Text}
	case watchingFrame:
		c.watch.Do(func() { close(c.watching) })
		return v, false, nil
	}
	return v, false, &FrameError{f.frame(), 1, "type", errType}
}

// receive reads one frame into c.in.
func (c *Client) receive(ctx context.Context) (frame, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		done := under(ctx, c.nc.SetReadDeadline)
		n, err := c.nc.Read(c.in)
		done()
		switch {
		case err == nil:
			return decode(c.in[:n])
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, unix.ECONNRESET) && !c.reset:
			// The engine closed before it had read everything. What it sent before is still there to be read.
			c.reset = true
		case err == io.EOF && c.reset:
			return nil, unix.ECONNRESET
		default:
			return nil, err
		}
	}
}

// take gets the token or gives up with ctx.
func take(ctx context.Context, token chan struct{}) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-token:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// under makes a blocking call end when ctx does, by a deadline in the past; done takes the deadline away again.
func under(ctx context.Context, set func(time.Time) error) (done func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(fired)
		set(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			<-fired
			set(time.Time{})
		}
	}
}
