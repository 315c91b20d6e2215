//go:build unix

package pfkey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/wire"
)

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
