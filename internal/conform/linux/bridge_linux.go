package linux

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	emulated "github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// bridgeMachine is an engine of the host's own kernel, in a network namespace as [Host] makes them.
type bridgeMachine struct {
	*hostMachine
	e      *engine.Engine
	bridge *emulated.Bridge
	told   chan struct{} // a socket has heard something
}

// Boot implements [conform.Target].
func (b Bridge) Boot(sc *conform.Scenario, _ func(string, *packet.Packet)) (conform.Machine, error) {
	h, err := newHostMachine(b.Clock, sc.Net)
	if err != nil {
		return nil, err
	}
	m := &bridgeMachine{hostMachine: h, told: make(chan struct{}, 1)}
	err = m.inside(func() (err error) {
		o := engine.Options{Clock: b.Clock}
		m.e, err = engine.New("xfrm", o, func(e *engine.Engine) (engine.Kernel, error) {
			m.bridge, err = emulated.NewBridge(e, o)
			return m.bridge, err
		})
		return err
	})
	if err != nil {
		h.Close()
		return nil, &conform.GoneError{Err: err}
	}
	return m, nil
}

// Open implements [pfkey.Engine].
func (m *bridgeMachine) Open(c pfkey.Cred, typ, proto int) (pfkey.Socket, pfkey.Errno) {
	s, errno := m.e.Open(c, typ, proto)
	if errno != wire.OK {
		return nil, errno
	}
	s.Notify(func() {
		select {
		case m.told <- struct{}{}:
		default:
		}
	})
	return &bridgeSocket{s, m}, wire.OK
}

// Close implements [conform.Machine].
func (m *bridgeMachine) Close() {
	m.e.Close()
	m.hostMachine.Close()
}

// Wait implements [conform.Passing].
func (m *bridgeMachine) Wait(until time.Time) {
	d := until.Sub(m.clock())
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-m.told:
	case <-t.C:
	}
}

// bridgeSocket is a socket that hears at once what the host has told.
type bridgeSocket struct {
	pfkey.Socket
	m *bridgeMachine
}

func (s *bridgeSocket) Send(msg []byte, c pfkey.Cred) pfkey.Errno {
	errno := s.Socket.Send(msg, c)
	if len(msg) > 1 && slices.Contains(adding, wire.Linux().MsgType(msg[1])) {
		_, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // never fails
	}
	return errno
}

func (s *bridgeSocket) Recv(buf []byte, flags pfkey.RecvFlags) (n, size int, e pfkey.Errno) {
	s.m.e.Do(s.m.bridge.Hear)
	return s.Socket.Recv(buf, flags)
}

// Call implements [pfkey.Caller].
func (s *bridgeSocket) Call(c pfkey.Call) pfkey.Errno { return s.Socket.(pfkey.Caller).Call(c) }
