package pfkey

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"sync"

	"github.com/pfkeyd/pfkeyd/wire"
)

// A transport carries messages between a client and a kernel. The client calls send from one goroutine at a time, and
// recv from one goroutine at a time; close may come at any moment and ends both.
type transport interface {
	send(ctx context.Context, msg []byte) error
	// recv waits for a message, which belongs to the caller.
	recv(ctx context.Context) ([]byte, error)
	close() error
}

// errTruncated is in the chain when a kernel's message was longer than any can be.
var errTruncated = errors.New("message is longer than any can be")

// maxMessage is one byte more than the longest message the 16-bit length field can express, so that longer ones show.
const maxMessage = wire.MaxLen + 1

// messageBuffers have room for any message on its way, and for one byte more.
var messageBuffers = sync.Pool{New: func() any {
	b := make([]byte, maxMessage)
	return &b
}}

// A localTransport is a socket of an engine in the same process.
type localTransport struct {
	sock   Socket
	cred   Cred
	ready  chan struct{} // holds one: the queue may have become non-empty
	closed chan struct{}
	once   sync.Once
}

func newLocalTransport(sock Socket, cred Cred) *localTransport {
	t := &localTransport{sock: sock, cred: cred, ready: make(chan struct{}, 1), closed: make(chan struct{})}
	sock.Notify(func() { signal(t.ready) })
	return t
}

func (t *localTransport) send(ctx context.Context, msg []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if isClosed(t.closed) {
		return net.ErrClosed
	}
	return os.NewSyscallError("send", hostError(t.sock.Send(msg, t.cred)))
}

func (t *localTransport) recv(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	buf := messageBuffers.Get().(*[]byte)
	defer messageBuffers.Put(buf)
	for {
		if isClosed(t.closed) {
			return nil, net.ErrClosed
		}
		n, size, errno := t.sock.Recv(*buf, RecvTrunc)
		switch {
		case errno == wire.OK && size > n:
			return nil, errTruncated
		case errno == wire.OK:
			msg := slices.Clone((*buf)[:n])
			clear((*buf)[:n]) // there may be keys in it, and the buffer serves others
			return msg, nil
		case errno != wire.EAGAIN:
			return nil, os.NewSyscallError("recv", hostError(errno))
		}
		select {
		case <-t.ready:
		case <-t.closed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (t *localTransport) close() error {
	t.once.Do(func() {
		close(t.closed)
		t.sock.Close()
	})
	return nil
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// signal sends to a channel that holds one and says that it is time to look again.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
