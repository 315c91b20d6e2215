package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/pfkey"
)

// A Handler decides what comes of the calls that the filter stops. [Switchboard] is one.
type Handler interface {
	// Socket returns the client's end of a new PF_KEY socket for cred, which is closed once the program has it. An error
	// with a unix.Errno in its chain fails the program's socket(2) with that.
	Socket(cred pfkey.Cred) (*os.File, error)
	// Gate returns when all that programs have sent until now has been handled and the answers lie in their sockets. It must
	// not wait for a program, they are stopped.
	Gate()
}

// A Program is a process under the filter, with all that it starts.
type Program struct {
	// Cmd is the first process. Its Wait may be called while Supervise runs.
	Cmd *exec.Cmd

	listener *os.File
	counts   Counts
	mu       sync.Mutex // guards counts
}

// Counts tell how often a program was stopped.
type Counts struct {
	Sockets uint64 // PF_KEY sockets made
	Refused uint64 // socket calls that failed
	Gated   uint64 // looks for an answer that were held up
	Gone    uint64 // calls whose caller was killed or interrupted meanwhile
}

// Start starts cmd under the filter. [Program.Supervise] must be called at once: until then the first PF_KEY socket waits.
// The caller itself stays outside of the filter.
func Start(cmd *exec.Cmd, o Options) (*Program, error) {
	if err := Supported(); err != nil {
		return nil, err
	}
	p := &Program{Cmd: cmd}
	if err := onOwnThread(func() error { return p.start(o) }); err != nil {
		return nil, fmt.Errorf("launch: %w", err)
	}
	return p, nil
}

// onOwnThread runs f on a thread that is destroyed afterwards, and with it the filter that f has put on it. The main thread
// cannot be destroyed: if the goroutine lands there, another one is started while the main thread is taken.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- onOwnThread(f)
			runtime.UnlockOSThread()
			return
		}
		done <- f() // and the goroutine ends while the thread is locked to it
	}()
	return <-done
}

// start runs on a thread of its own. A filter belongs to the thread that installs it; what it starts inherits it.
func (p *Program) start(o Options) error {
	listener, err := install(assemble(o.rules()))
	if err != nil {
		return err
	}
	p.listener = os.NewFile(uintptr(listener), "seccomp")
	if err = checkListener(listener); err == nil {
		err = p.Cmd.Start()
	}
	if err != nil {
		p.listener.Close()
	}
	return err
}

// Supervise answers the calls that the filter stops, until the last process under the filter is gone, or ctx ends: then every
// stopped call of the programs fails with ENOSYS. It returns nil when all are gone.
func (p *Program) Supervise(ctx context.Context, h Handler) error {
	defer p.listener.Close()
	wake, stop, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("launch: %w", err)
	}
	defer wake.Close()
	defer context.AfterFunc(ctx, func() { stop.Close() })()
	defer stop.Close()
	// Fd of the listener is never called elsewhere, so that the descriptor stays as it is.
	listener := int(p.listener.Fd())
	fds := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}, {Fd: int32(wake.Fd()), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err == unix.EINTR {
			continue
		} else if err != nil {
			return fmt.Errorf("launch: %w", os.NewSyscallError("poll", err))
		}
		switch {
		case fds[1].Revents != 0:
			return ctx.Err()
		case fds[0].Revents&unix.POLLIN != 0:
			// RECV waits, and nothing but a call ends its wait. So it is done only when there is one.
			n, err := receive(listener)
			switch {
			case err == unix.ENOENT:
				p.count(func(c *Counts) { c.Gone++ })
			case err != nil:
				return fmt.Errorf("launch: %w", os.NewSyscallError("ioctl", err))
			default:
				p.handle(listener, &n, h)
			}
		case fds[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0:
			return nil
		}
	}
}

// handle answers one call.
func (p *Program) handle(listener int, n *notification, h Handler) {
	if n.call != unix.SYS_SOCKET {
		h.Gate()
		p.count(func(c *Counts) { c.Gated++ })
		p.gone(proceed(listener, n.id))
		return
	}
	err := p.socket(listener, n, h)
	switch {
	case err == nil:
		p.count(func(c *Counts) { c.Sockets++ })
	case errors.Is(err, unix.ENOENT):
		p.gone(err)
	default:
		p.count(func(c *Counts) { c.Refused++ })
		errno := unix.ENOBUFS
		errors.As(err, &errno)
		p.gone(answer(listener, n.id, errno))
	}
}

// gone counts callers that did not wait for their answer.
func (p *Program) gone(err error) {
	if err != nil {
		p.count(func(c *Counts) { c.Gone++ })
	}
}

func (p *Program) count(f func(*Counts)) {
	p.mu.Lock()
	f(&p.counts)
	p.mu.Unlock()
}

// Counts reads the counters.
func (p *Program) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// socket does what socket(AF_KEY, type, protocol) does. ENOENT says that the caller is gone.
func (p *Program) socket(listener int, n *notification, h Handler) error {
	const flags = unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
	typ, proto := int32(n.args[1]), int32(n.args[2])
	switch {
	case typ&^0xf&^flags != 0:
		return unix.EINVAL
	case typ&0xf > unix.SOCK_PACKET:
		return unix.EINVAL // there are no such types at all
	case typ&0xf != unix.SOCK_RAW:
		return unix.ESOCKTNOSUPPORT
	case proto != pfkeyV2:
		return unix.EPROTONOSUPPORT
	}
	cred := credOf(n.tid)
	if !valid(listener, n.id) {
		return unix.ENOENT
	}
	end, err := h.Socket(cred)
	if err != nil {
		return err
	}
	defer end.Close()
	fd := int(end.Fd()) // which also makes it a blocking one
	if typ&unix.SOCK_NONBLOCK != 0 {
		if err := unix.SetNonblock(fd, true); err != nil {
			return err
		}
	}
	return give(listener, n.id, fd, typ&unix.SOCK_CLOEXEC != 0)
}

const pfkeyV2 = 2 // PF_KEY_V2
