package pfkey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

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

// messageBuffers have room for any message on its way, and for one byte more.
var messageBuffers = sync.Pool{New: func() any {
	b := make([]byte, maxMessage)
	return &b
}}

// pollable is what os.File and net.UnixConn have in common.
type pollable interface {
	syscall.Conn
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	Close() error
}

// A socketTransport is a connected descriptor that keeps the bounds of messages: a Unix socket, or AF_KEY.
type socketTransport struct {
	pollable
	raw syscall.RawConn
}

func newSocketTransport(p pollable) (transport, error) {
	raw, err := p.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &socketTransport{p, raw}, nil
}

func ignoringEINTR(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

var longAgo = time.Unix(1, 0)

// untilDone makes the end of ctx end a wait for the descriptor, by a deadline in the past. The function it returns must
// be called after the wait.
func untilDone(ctx context.Context, set func(time.Time) error) (after func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	finished := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(finished)
		_ = set(longAgo)
	})
	return func() {
		if !stop() {
			<-finished
			_ = set(time.Time{})
		}
	}
}

// waitError puts the reason for the end of a wait into the place of what it looked like.
func waitError(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return ctx.Err()
	}
	return err
}

func (t *socketTransport) send(ctx context.Context, msg []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var after func()
	var err error
	e := t.raw.Write(func(fd uintptr) bool {
		if err = ignoringEINTR(func() error { return unix.Send(int(fd), msg, sendFlags) }); err != unix.EAGAIN {
			return true
		}
		if after == nil {
			after = untilDone(ctx, t.SetWriteDeadline) // only who has to wait pays for it
		}
		return false
	})
	if after != nil {
		after()
	}
	if e != nil {
		return waitError(ctx, e)
	}
	return os.NewSyscallError("send", err)
}

func (t *socketTransport) recv(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	buf := messageBuffers.Get().(*[]byte)
	defer messageBuffers.Put(buf)
	var after func()
	var n, flags int
	var err error
	e := t.raw.Read(func(fd uintptr) bool {
		err = ignoringEINTR(func() (err error) {
			n, _, flags, _, err = unix.Recvmsg(int(fd), *buf, nil, unix.MSG_DONTWAIT) // AF_KEY refuses other flags
			return err
		})
		if err != unix.EAGAIN {
			return true
		}
		if after == nil {
			after = untilDone(ctx, t.SetReadDeadline)
		}
		return false
	})
	if after != nil {
		after()
	}
	switch {
	case e != nil:
		return nil, waitError(ctx, e)
	case err != nil:
		return nil, os.NewSyscallError("recvmsg", err)
	case n == 0:
		return nil, fmt.Errorf("the engine has closed the connection: %w", io.EOF)
	case flags&unix.MSG_TRUNC != 0 || n > wire.MaxLen:
		return nil, errTruncated
	}
	msg := slices.Clone((*buf)[:n])
	clear((*buf)[:n]) // there may be keys in it, and the buffer serves others
	return msg, nil
}

func (t *socketTransport) close() error { return t.Close() }

// A connTransport is any connection that keeps the bounds of messages: one Read is one message.
type connTransport struct{ net.Conn }

func (t connTransport) send(ctx context.Context, msg []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	defer untilDone(ctx, t.SetWriteDeadline)()
	_, err := t.Write(msg)
	return waitError(ctx, err)
}

func (t connTransport) recv(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	defer untilDone(ctx, t.SetReadDeadline)()
	buf := messageBuffers.Get().(*[]byte)
	defer messageBuffers.Put(buf)
	n, err := t.Read(*buf)
	switch {
	case err != nil:
		return nil, waitError(ctx, err)
	case n > wire.MaxLen:
		return nil, errTruncated
	}
	msg := slices.Clone((*buf)[:n])
	clear((*buf)[:n]) // there may be keys in it, and the buffer serves others
	return msg, nil
}

func (t connTransport) close() error { return t.Close() }

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
