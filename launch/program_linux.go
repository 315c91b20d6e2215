package launch

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// A Program is a process under the filter, with all that it starts.
type Program struct {
	// Cmd is the first process. Its Wait may be called while Supervise runs.
	Cmd *exec.Cmd

	listener *os.File
	fd       int // of the listener
	guard    *guardian
	own      *OwnKernel // nil: the kernel is emulated
	sockets  uint64     // the device of all sockets

	mu     sync.Mutex // guards counts
	counts Counters
}

// Counters tell how often a program was stopped.
type Counters struct {
	Sockets uint64 // PF_KEY sockets made
	Refused uint64 // socket calls that failed
	Sent    uint64 // calls that sent, and were carried out
	Denied  uint64 // other calls on PF_KEY sockets, and calls that sent what a kernel refuses
	Passed  uint64 // calls that went on as if they had not been stopped
	Gone    uint64 // calls whose caller was killed or interrupted meanwhile
}

// Start starts cmd under the filter. [Program.Supervise] must be called at once: until then the first PF_KEY socket
// waits. The caller itself stays outside of the filter.
//
// This process starts itself once more, as a guardian that does nothing until this process is killed: then it kills the
// programs, whose stopped calls nobody would answer any more. Package launch makes a guardian of a process before its
// main function runs. For it the program gets a variable more in its environment.
func Start(cmd *exec.Cmd, o Options) (_ *Program, err error) {
	if err := Supported(); err != nil {
		return nil, err
	}
	p := &Program{Cmd: cmd, own: o.Own}
	if p.guard, err = startGuardian(o.Remove); err != nil {
		return nil, fmt.Errorf("launch: %w", err)
	}
	line, err := fileID(int(p.guard.line.Fd()))
	if err != nil {
		p.guard.end(farewell)
		return nil, fmt.Errorf("launch: %w", err)
	}
	p.sockets = line.Device
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, p.guard.mark)
	if err := p.start(o); err != nil {
		p.guard.end(farewell)
		return nil, fmt.Errorf("launch: %w", err)
	}
	return p, nil
}

// start starts the program, and has the guardian answer in the meantime: the thread that installs the filter is itself
// under it, and so is what it makes before that has become the program, and neither may wait for a goroutine of this
// process.
func (p *Program) start(o Options) (err error) {
	filter := assemble(o.rules(!mayTrace()))
	installed, guarded, done := make(chan int), make(chan error), make(chan error, 1)
	go func() {
		done <- onOwnThread(func() error {
			if o.Enter != nil {
				if err := o.Enter(); err != nil {
					return err
				}
			}
			// A filter belongs to the thread that installs it; what it starts inherits it.
			listener, err := install(filter)
			if err != nil {
				return err
			}
			installed <- listener
			if err := <-guarded; err != nil {
				return err
			}
			return p.Cmd.Start()
		})
	}()
	select {
	case p.fd = <-installed:
	case err := <-done:
		return err
	}
	hasten(p.fd)
	p.listener = os.NewFile(uintptr(p.fd), "seccomp")
	guarded <- p.guard.watch(p.fd)
	if err = <-done; err == nil {
		_ = p.guard.protect(p.Cmd.Process.Pid) // without a guardian nothing is lost but its help
		return nil
	}
	p.listener.Close()
	return err
}

// mayTrace says whether this process may read the memory of processes that hide it.
func mayTrace() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&header, &data[0])
	return err == nil && data[0].Effective&(1<<unix.CAP_SYS_PTRACE) != 0
}

// Guardian is the number of the guardian's process, which is a child of this one and is waited for by Supervise.
func (p *Program) Guardian() int { return p.guard.cmd.Process.Pid }

// onOwnThread runs f on a thread that is destroyed afterwards, and with it the filter that f has put on it. The main
// thread cannot be destroyed: if the goroutine lands there, another one is started while the main thread is taken.
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

// look answers a call that has to do with no PF_KEY socket, and says what to do about one that has.
func (p *Program) look(c *caller, h Handler) (todo func()) {
	if c.call == unix.SYS_SOCKET {
		return func() { p.opened(c, p.socket(c, h)) }
	}
	if c.call == unix.SYS_OPENAT || c.call == callOpen && callOpen != 0 {
		return func() { // the name may lie in memory that somebody under the filter must provide first
			if c.tid != 0 && c.opens() {
				p.list(c, h)
			} else {
				p.pass(c)
			}
		}
	}
	if c.call == unix.SYS_SETSOCKOPT && c.args[1]&0xffffffff != unix.SOL_SOCKET {
		return func() { p.settle(c, 0, p.socketPolicy(c)) }
	}
	if h.Sockets() > 0 && c.tid != 0 {
		// A descriptor that is not there, or that is none of our business, is not ours.
		if inode, ok := c.socket(c.fd()); ok {
			if client := h.Find(FileID{p.sockets, inode}); client != nil {
				return func() { p.serve(c, client) }
			}
		}
	}
	p.pass(c)
	return nil
}

// pass lets a call be done as if it had not been stopped.
func (p *Program) pass(c *caller) {
	p.count(func(c *Counters) { c.Passed++ })
	p.gone(proceed(p.fd, c.id))
}

// errGone says that the caller has been killed meanwhile.
var errGone = errors.New("the caller is gone")

// waits says whether the caller still waits, so that what was read of its process was its own.
func (p *Program) waits(c *caller) bool { return valid(p.fd, c.id) }

// serve does a call on one of our sockets.
func (p *Program) serve(c *caller, client Socket) {
	var result uint64
	var err error
	if c.sends() {
		result, err = p.send(c, client)
	} else {
		err = p.other(c, client)
	}
	p.settle(c, result, err)
}

// settle tells the caller what became of its call. An error without an errno lets it be done as if it had not been
// stopped.
func (p *Program) settle(c *caller, result uint64, err error) {
	var errno unix.Errno
	switch {
	case err == nil, err == errNothing:
		p.count(func(counts *Counters) {
			if c.sends() {
				counts.Sent++
			}
		})
		p.gone(finish(p.fd, c.id, result))
	case err == errGone:
		p.gone(err)
	case errors.As(err, &errno):
		p.count(func(c *Counters) { c.Denied++ })
		p.gone(answer(p.fd, c.id, errno))
	default: // no engine, or no memory to be read: it goes into the socket, and is handled from there
		p.pass(c)
	}
}

// opened tells the caller what became of its socket(2), unless it knows.
func (p *Program) opened(c *caller, err error) {
	switch {
	case err == nil:
		p.count(func(c *Counters) { c.Sockets++ })
	case errors.Is(err, unix.ENOENT):
		p.gone(err)
	default:
		p.count(func(c *Counters) { c.Refused++ })
		errno := unix.ENOBUFS
		errors.As(err, &errno)
		p.gone(answer(p.fd, c.id, errno))
	}
}

// gone counts callers that did not wait for their answer.
func (p *Program) gone(err error) {
	if err != nil {
		p.count(func(c *Counters) { c.Gone++ })
	}
}

func (p *Program) count(f func(*Counters)) {
	p.mu.Lock()
	f(&p.counts)
	p.mu.Unlock()
}

// Counters reads the counters.
func (p *Program) Counters() Counters {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// socket does what socket(AF_KEY, type, protocol) does. ENOENT says that the caller is gone.
func (p *Program) socket(c *caller, h Handler) error {
	const flags = unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
	typ, proto := int32(c.args[1]), int32(c.args[2])
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
	cred := credOf(c.tid)
	if p.own != nil {
		cred.Privileged = c.administersOurs()
	}
	if !p.waits(c) {
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
	if id, err := fileID(fd); err == nil {
		p.guard.note(id)
	}
	return give(p.fd, c.id, fd, typ&unix.SOCK_CLOEXEC != 0)
}

const pfkeyV2 = 2 // PF_KEY_V2
