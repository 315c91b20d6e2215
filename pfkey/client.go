package pfkey

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/wire"
)

// A Client speaks PF_KEY with a kernel, emulated or real, over one socket. All its errors are of type *OpError. It is
// safe for concurrent use: requests of several goroutines may be under way at once.
//
// It has no goroutine of its own. Whoever waits for a message, in Do or Recv, reads for all others meanwhile; messages
// that no request is waiting for are set aside for [Client.Recv].
type Client struct {
	transport transport
	dialect   *wire.Dialect
	pid       uint32
	seq       atomic.Uint32
	trace     func(sent bool, msg []byte)
	lost      atomic.Uint64
	own       atomic.Bool // the kernel shows this client its own requests, see Promisc

	sending chan struct{} // a lock that a context can interrupt: who sends
	reading chan struct{} // who reads from the transport
	dumping chan struct{} // who dumps
	rest    *waiter       // a dump that was left before its end; guarded by dumping
	closed  chan struct{}
	once    sync.Once

	mu      sync.Mutex
	waiters []*waiter // guarded by mu
	events  *waiter   // what nobody else waits for
}

// maxEvents is how many messages are set aside for Recv.
const maxEvents = 4096

// A ClientOption changes how a [Client] is made.
type ClientOption func(*Client)

// WithPID sets the process number in the messages that the client makes. Without it: that of this process; in process,
// that of the socket's owner.
func WithPID(pid uint32) ClientOption { return func(c *Client) { c.pid = pid } }

// WithFirstSeq sets the sequence number of the first message that the client makes. Without it clients of sockets begin
// somewhere at random, because kernels tell answers to everybody and other clients of the same process would recognise
// them as their own; in process they begin with 1.
func WithFirstSeq(seq wire.Seq) ClientOption { return func(c *Client) { c.seq.Store(uint32(seq) - 1) } }

// WithDialect sets the dialect instead of that of the address, such as one in another byte order.
func WithDialect(d *wire.Dialect) ClientOption { return func(c *Client) { c.dialect = d } }

// WithTrace has f called for every message after it was sent or received. It must not keep or change msg, which may
// contain keys ([wire.Dialect.Format] hides them), and may be called from several goroutines at once.
func WithTrace(f func(sent bool, msg []byte)) ClientOption { return func(c *Client) { c.trace = f } }

// NewClientOn makes a client in the process of the engine, on one of its sockets. cred says who sends. What send(2)
// would return is an error of Send here, and the client's Close closes sock.
func NewClientOn(sock Socket, d *wire.Dialect, cred Cred, options ...ClientOption) *Client {
	return newClient(newLocalTransport(sock, cred), d, uint32(cred.PID), 1, options)
}

func newClient(t transport, d *wire.Dialect, pid uint32, first wire.Seq, options []ClientOption) *Client {
	c := &Client{
		transport: t,
		dialect:   d,
		pid:       pid,
		sending:   make(chan struct{}, 1),
		reading:   make(chan struct{}, 1),
		dumping:   make(chan struct{}, 1),
		closed:    make(chan struct{}),
		events:    newWaiter(),
	}
	c.seq.Store(uint32(first) - 1)
	for _, o := range options {
		o(c)
	}
	return c
}

// Dialect is the dialect that the kernel speaks.
func (c *Client) Dialect() *wire.Dialect { return c.dialect }

// PID is the process number in the messages that the client makes.
func (c *Client) PID() uint32 { return c.pid }

// NextSeq is a sequence number that this client has not used yet. It is never 0, and never above 0x7fffffff: kernels
// use the upper half for the numbers of their ACQUIREs.
func (c *Client) NextSeq() wire.Seq {
	for {
		if s := c.seq.Add(1) & 0x7fffffff; s != 0 {
			return wire.Seq(s)
		}
	}
}

// Lost is how many messages were thrown away because too many had been set aside for Recv.
func (c *Client) Lost() uint64 { return c.lost.Load() }

// Close closes the socket; whoever waits gets an error with net.ErrClosed in its chain. A second call does nothing.
func (c *Client) Close() error {
	var err error
	c.once.Do(func() {
		close(c.closed)
		err = c.transport.close()
	})
	return err
}

// Send sends one message as it is and does not wait for an answer. msg may be reused after it.
func (c *Client) Send(ctx context.Context, msg []byte) error {
	return c.fail(OpSend, msg, c.send(ctx, msg))
}

func (c *Client) send(ctx context.Context, msg []byte) error {
	if err := c.lock(ctx, c.sending); err != nil {
		return err
	}
	err := c.transport.send(ctx, msg)
	<-c.sending
	if err == nil && c.trace != nil {
		c.trace(true, msg)
	}
	return err
}

// Recv waits for a message that no Do or Dump is waiting for: what the kernel says by itself, such as ACQUIRE and
// EXPIRE, and what it tells everybody about the requests of others. Without any Do it gives every message. The message
// belongs to the caller.
//
// Messages that come while nobody calls Recv are set aside; beyond a few thousand they are lost, see [Client.Lost].
func (c *Client) Recv(ctx context.Context) ([]byte, error) {
	msg, err := c.await(ctx, c.events)
	return msg, c.fail(OpReceive, nil, err)
}

// Events ranges over the messages that Recv gives, until the first error, which comes with a nil message; the end of
// ctx is one.
func (c *Client) Events(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for {
			msg, err := c.Recv(ctx)
			if !yield(msg, err) || err != nil {
				return
			}
		}
	}
}

// Do sends a request and waits for the answer: the first message of the same type with its sequence and process
// numbers. The answer belongs to the caller. If it has an errno, Do returns the answer and an error of Op OpAnswer.
//
// The numbers in the header must not be those of another request under way; see [Client.NextSeq] and [Client.PID]. Some
// messages have no answer: use Send for them.
func (c *Client) Do(ctx context.Context, msg []byte) ([]byte, error) {
	h, err := c.dialect.Header(msg)
	if err != nil {
		return nil, c.fail(OpSend, nil, err)
	}
	return c.do(ctx, msg, h, h.Type)
}

// do is Do for a request with header h, whose answer is of type answer.
func (c *Client) do(ctx context.Context, msg []byte, h wire.Header, answer wire.MsgType) ([]byte, error) {
	w := c.newWaiter(msg, h)
	w.answer = answer
	c.add(w)
	defer c.remove(w)
	if err := c.send(ctx, msg); err != nil {
		return nil, c.fail(OpSend, msg, err)
	}
	got, err := c.await(ctx, w)
	if err != nil {
		return nil, c.fail(OpReceive, msg, err)
	}
	h, err = c.dialect.Header(got)
	if err != nil {
		return got, c.fail(OpAnswer, msg, err)
	}
	return got, answerError(c.dialect, h, msg)
}

// collect sends a request that may have no answer, or several, and returns what there is. A GET of nothing follows the
// request; since requests are handled in their order, and answers come in theirs, everything is there when that has
// been refused.
func (c *Client) collect(ctx context.Context, msg []byte) ([][]byte, error) {
	msg = c.dialect.Finish(msg)
	h, _ := c.dialect.Header(msg) // it is our own
	w := c.newWaiter(msg, h)
	w.many = true
	c.add(w)
	defer c.remove(w)
	if err := c.send(ctx, msg); err != nil {
		return nil, c.fail(OpSend, msg, err)
	}
	if err := c.fence(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return w.messages, nil
}

// fence returns when every earlier request of this client has been handled and its answers have arrived.
func (c *Client) fence(ctx context.Context) error {
	msg := c.begin(wire.MsgGet, wire.SATypeESP, 0)
	if !c.dialect.DumpEnds() { // it answers whole requests only
		msg = c.dialect.AppendSA(msg, wire.SA{})
		msg = c.dialect.AppendAddress(msg, wire.ExtAddressDst, wire.Address{Addr: netip.IPv4Unspecified()})
	}
	_, err := c.request(ctx, msg)
	if op := (*OpError)(nil); errors.As(err, &op) && op.Op == OpAnswer {
		return nil // there is nothing to get, and the kernel has said so
	}
	return err
}

// tell sends a request that may have no answer, and returns the error in the one it has, if it has one.
func (c *Client) tell(ctx context.Context, msg []byte) error {
	if err := c.whole(msg); err != nil {
		return err
	}
	answers, err := c.collect(ctx, msg)
	if err != nil {
		return err
	}
	for _, answer := range answers {
		h, _ := c.dialect.Header(answer) // or it would not have been recognised
		if err := answerError(c.dialect, h, msg); err != nil {
			return err
		}
	}
	return nil
}

// fail makes an OpError about msg, which may be nil; nil stays nil.
func (c *Client) fail(op string, msg []byte, err error) error {
	if err == nil {
		return nil
	}
	if isClosed(c.closed) {
		err = net.ErrClosed
	}
	e := &OpError{Op: op, Err: err}
	if h, err := c.dialect.Header(msg); err == nil {
		e.Msg = c.dialect.MsgName(h.Type)
	}
	return e
}

// A waiter is somebody who waits for messages. Its fields are guarded by the client's mu, but for arrived and the
// Header.
type waiter struct {
	wire.Header               // of the request
	answer      wire.MsgType  // the type of its answer, mostly that of the request
	request     []byte        // not nil: the kernel shows it to the client before it answers
	dump        bool          // it waits for messages up to an end, not for one
	many        bool          // it waits for any number of them, without an end
	messages    [][]byte      // arrived and not taken
	arrived     chan struct{} // holds one: messages may be non-empty
	discard     bool          // nobody wants them, only the end matters
	over        bool          // the end of the dump has arrived
}

func newWaiter() *waiter { return &waiter{arrived: make(chan struct{}, 1)} }

// newWaiter makes a waiter for the answer to a request with header h.
func (c *Client) newWaiter(msg []byte, h wire.Header) *waiter {
	w := newWaiter()
	w.Header, w.answer = h, h.Type
	if c.own.Load() {
		w.request = slices.Clone(msg)
	}
	return w
}

// wants says whether a message with header h answers the request. Kernels may blank a type that they do not know.
func (w *waiter) wants(h wire.Header) bool {
	if w.dump {
		return !w.over && h.Type == w.Type && h.PID == w.PID
	}
	return h.Seq == w.Seq && h.PID == w.PID && (h.Type == w.Type || h.Type == w.answer || h.Type == 0 && h.Errno != 0)
}

// isRequest says whether msg is the request itself, which comes once, before its answer.
func (w *waiter) isRequest(msg []byte) bool {
	if w.request == nil || !bytes.Equal(msg, w.request) {
		return false
	}
	w.request = nil
	return true
}

// put gives w a message. It needs the client's mu.
func (w *waiter) put(msg []byte) {
	w.messages = append(w.messages, msg)
	signal(w.arrived)
}

func (c *Client) add(w *waiter) {
	c.mu.Lock()
	c.waiters = append(c.waiters, w)
	c.mu.Unlock()
}

func (c *Client) remove(w *waiter) {
	c.mu.Lock()
	if i := slices.Index(c.waiters, w); i >= 0 {
		c.waiters = slices.Delete(c.waiters, i, i+1)
	}
	c.mu.Unlock()
}

// take removes a message of w, nil if there is none.
func (c *Client) take(w *waiter) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(w.messages) == 0 {
		return nil
	}
	msg := w.messages[0]
	w.messages[0] = nil
	if w.messages = w.messages[1:]; len(w.messages) > 0 {
		signal(w.arrived) // several goroutines may wait for events
	}
	return msg
}

// deliver gives a message to who waits for it.
func (c *Client) deliver(msg []byte) {
	if c.trace != nil {
		c.trace(false, msg)
	}
	h, err := c.dialect.Header(msg)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		for i, w := range c.waiters {
			if !w.wants(h) {
				continue
			}
			if w.isRequest(msg) {
				break
			}
			if !w.dump && !w.many {
				c.waiters = slices.Delete(c.waiters, i, i+1) // the next one like it is for somebody else
				w.put(msg)
				return
			}
			w.over = w.dump && !w.many && (h.Seq == 0 || h.Errno != 0)
			if w.over || !w.discard {
				w.put(msg)
			}
			return
		}
	}
	if len(c.events.messages) >= maxEvents {
		c.lost.Add(1)
		return
	}
	c.events.put(msg)
}

// await returns the next message for w. While nobody else reads from the transport it reads itself, for everybody.
func (c *Client) await(ctx context.Context, w *waiter) ([]byte, error) {
	for {
		if msg := c.take(w); msg != nil {
			return msg, nil
		}
		select {
		case <-w.arrived:
			continue
		case c.reading <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.closed:
			return nil, net.ErrClosed
		}
		// Somebody may have read it between the look and getting the turn.
		if msg := c.take(w); msg != nil {
			<-c.reading
			return msg, nil
		}
		msg, err := c.transport.recv(ctx)
		if err == nil {
			c.deliver(msg)
		}
		<-c.reading
		if err != nil {
			return nil, err
		}
	}
}

// lock takes one of the locks that are channels.
func (c *Client) lock(ctx context.Context, l chan struct{}) error {
	select {
	case l <- struct{}{}:
		return nil
	default:
	}
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.closed:
		return net.ErrClosed
	}
}
