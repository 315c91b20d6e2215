//go:build unix

package pfkey

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/door"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Dial connects to the kernel at address, KERNEL:PATH for an engine or "af_key:" for the host's own PF_KEY (Linux only,
// needs root or CAP_NET_ADMIN). An empty address is that of [DefaultAddress]. The error has ErrNoEngine in its chain if
// there is no kernel to talk to. It refuses an engine that runs as another user than root and the own one, because it
// would get the keys. The end of ctx ends only dialing.
func Dial(ctx context.Context, address string, options ...ClientOption) (*Client, error) {
	c, err := dial(ctx, address, options)
	if err != nil {
		return nil, &OpError{Op: OpDial, Err: err}
	}
	return c, nil
}

func dial(ctx context.Context, address string, options []ClientOption) (*Client, error) {
	var a Address
	var err error
	if address == "" {
		a, err = DefaultAddress()
	} else {
		a, err = ParseAddress(address)
	}
	if err != nil {
		return nil, err
	}
	d, err := a.Dialect()
	if err != nil {
		return nil, err
	}
	var t transport
	if a.Kernel == HostKernel {
		t, err = openHost()
	} else {
		t, err = dialEngine(ctx, a)
	}
	if err != nil {
		return nil, err
	}
	return newClient(t, d, uint32(os.Getpid()), randomSeq(), options), nil
}

// dialPause and dialTries bound the wait for an engine that has more clients waiting than the kernel keeps.
const (
	dialPause = 10 * time.Millisecond
	dialTries = 500
)

func dialEngine(ctx context.Context, a Address) (transport, error) {
	for try := 0; ; try++ {
		uc, err := door.Dial(ctx, "unixpacket", a.Path)
		switch {
		case err == nil:
			return newSocketTransport(uc)
		case errors.Is(err, unix.EAGAIN) && try < dialTries && ctx.Err() == nil:
			pause(ctx, dialPause)
			continue
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED):
			return nil, fmt.Errorf("%w at %s: %w", ErrNoEngine, a, errnoOf(err))
		case errors.Is(err, unix.EPROTOTYPE):
			return nil, fmt.Errorf("%s is not a PF_KEY socket, it is of another type: %w", a.Path, errnoOf(err))
		}
		return nil, err
	}
}

// errnoOf is the system call's error inside one of package net, without the repetitions around it.
func errnoOf(err error) error {
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		return sys
	}
	return err
}

// NewClient makes a client of a connection whose other end is a PF_KEY server. Every Read of it must give one message
// and every Write take one, as those of SOCK_SEQPACKET Unix sockets do. The client owns conn from here on.
func NewClient(conn net.Conn, d *wire.Dialect, options ...ClientOption) (*Client, error) {
	var t transport = connTransport{conn}
	if uc, ok := conn.(*net.UnixConn); ok {
		var err error
		if t, err = newSocketTransport(uc); err != nil {
			return nil, &OpError{Op: OpDial, Err: err}
		}
	}
	return newClient(t, d, uint32(os.Getpid()), randomSeq(), options), nil
}

// NewClientFile makes a client of an open descriptor: a PF_KEY socket of the host, or one end of a SOCK_SEQPACKET pair.
// It closes file and goes on with a duplicate, unless there is an error.
func NewClientFile(file *os.File, d *wire.Dialect, options ...ClientOption) (*Client, error) {
	dup := -1
	err := control(file, func(fd int) (err error) {
		if dup, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		return os.NewSyscallError("fcntl", unix.SetNonblock(dup, true))
	})
	var t transport
	if err == nil {
		t, err = newSocketTransport(os.NewFile(uintptr(dup), file.Name()))
	}
	if err != nil {
		if dup >= 0 {
			unix.Close(dup)
		}
		return nil, &OpError{Op: OpDial, Err: err}
	}
	file.Close()
	return newClient(t, d, uint32(os.Getpid()), randomSeq(), options), nil
}

// randomSeq is below half of what fits: illumos takes higher ones for answers to an ACQUIRE.
func randomSeq() wire.Seq {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return wire.Seq(binary.NativeEndian.Uint32(b[:])&0x3fffffff | 1)
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}
