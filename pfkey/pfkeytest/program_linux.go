package pfkeytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pfkeyd/pfkeyd/launch"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// A Program is an unmodified program on the kernel of a [Host], with all that it starts. It is safe for concurrent use.
type Program struct {
	t    TB
	name string
	cmd  *exec.Cmd
	mark string // an assignment in the environment of all that it starts

	exited chan struct{} // closed when the first process has ended; err is set then
	err    error
	gone   chan struct{} // closed when the supervisor has ended: with the last process, or because it failed

	ending  sync.Once
	abandon context.CancelFunc // ends the supervisor
	board   *launch.Switchboard
	output  sync.WaitGroup // copies what the program writes
	read    *os.File       // our end of the pipe for that, nil if there is none
	lines   *lineWriter
	write   *os.File // our end of the pipe for what it reads, nil if there is none
}

// programs counts those of this process.
var programs atomic.Uint64

// Start runs an unmodified program, such as exec.Command("iked", "-d"), on the host's kernel: the PF_KEY sockets that
// it and its children open are the host's, whatever the machine's own kernel has. [Host.WaitRequest] hears what it
// asks. It needs no privilege and nothing that the program is linked with; see package launch for the few limits.
//
// What the program writes appears in the log of t, line by line, unless cmd says where it goes. PFKEY_ENGINE is set in
// its environment. On a kernel of the BSDs its sockets are hosted ones, as with "pfkeyd run --hosted": the program was
// compiled on this machine, and has this machine's socket addresses in its messages. On this machine's own kernel it
// runs in the network namespace of the host.
//
// When t ends, the program is ended with everything that it has started: its first process by SIGTERM, then whoever is
// left by SIGTERM, and by SIGKILL who does not go.
// A context of cmd that ends before kills its first process at once, as package exec says; that of a test, t.Context,
// is one. Who wants its exit status calls [Program.Wait]; cmd.Wait must not be called.
//
// A program that cannot be started fails t. Where programs cannot be run in this way (other systems than Linux, or
// inside of another seccomp supervisor) t is skipped with the reason.
func (h *Host) Start(t TB, cmd *exec.Cmd, options ...ProgramOption) *Program {
	t.Helper()
	var c programConfig
	for _, set := range options {
		set(&c)
	}
	name := filepath.Base(cmd.Path)
	p, err := h.start(t, name, cmd, c.launch)
	switch {
	case errors.Is(err, launch.ErrUnsupported), errors.Is(err, launch.ErrNested):
		t.Skipf("%s cannot be started: %v", name, err)
	case err != nil:
		t.Fatalf("%s cannot be started: %v", name, err)
	default:
		h.mu.Lock()
		closed := h.closed // and so nobody else ends it
		h.programs = append(h.programs, p)
		h.mu.Unlock()
		if closed {
			p.end()
		}
		t.Cleanup(p.end)
	}
	return p
}

func (h *Host) start(t TB, name string, cmd *exec.Cmd, o launch.Options) (_ *Program, err error) {
	if err := launch.Supported(); err != nil {
		return nil, err
	}
	a, err := pfkey.ParseAddress(h.Serve())
	if err != nil {
		return nil, err
	}
	p := &Program{
		t: t, name: name, cmd: cmd, mark: fmt.Sprintf("PFKEYTEST_PROGRAM=%s,%d", a.Path, programs.Add(1)),
		exited: make(chan struct{}), gone: make(chan struct{}), lines: &lineWriter{prefix: name, w: t.Output()},
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.board, err = launch.NewSwitchboard(launch.SwitchboardOptions{
		Log:    h.options.Log,
		Hosted: h.engine.Dialect().SockaddrLen,
	}); err != nil {
		return nil, err
	}
	session, err := launch.Dial(launch.AttachPath(a.Path))
	if err != nil {
		return nil, err
	}
	if err := p.board.Use(session); err != nil {
		return nil, err
	}
	cmd.Env = append(cmd.Environ(), pfkey.EngineVariable+"="+a.String(), p.mark)
	// Pipes of ours: those of package exec would have Wait wait for every daemon that has inherited the one, and for a
	// reader that has no end to fill the other.
	if cmd.Stdout == nil || cmd.Stderr == nil {
		var theirs *os.File
		if p.read, theirs, err = os.Pipe(); err != nil {
			return nil, err
		}
		defer theirs.Close()
		if cmd.Stdout == nil {
			cmd.Stdout = theirs
		}
		if cmd.Stderr == nil {
			cmd.Stderr = theirs
		}
	}
	input := cmd.Stdin
	if _, ok := input.(*os.File); !ok && input != nil {
		var theirs *os.File
		if theirs, p.write, err = os.Pipe(); err != nil {
			return nil, err
		}
		defer theirs.Close()
		cmd.Stdin = theirs
	}
	if err := h.ownProgram(&o); err != nil {
		return nil, err
	}
	program, err := launch.Start(cmd, o)
	if err != nil {
		return nil, err
	}
	if p.read != nil {
		p.output.Go(func() { _, _ = io.Copy(p.lines, p.read) })
	}
	if p.write != nil {
		go func() { // ends with the input, or with a write once the program is gone; nothing takes it from a read
			defer p.write.Close()
			_, _ = io.Copy(p.write, input)
		}()
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.abandon = cancel
	go func() {
		defer close(p.gone)
		_ = program.Supervise(ctx, p.board) // whether programs are left is seen by looking for them
	}()
	go func() {
		defer close(p.exited)
		p.err = cmd.Wait()
	}()
	return p, nil
}

// PID is the number of the first process.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to the first process. It is an error, [os.ErrProcessDone], if that has ended.
func (p *Program) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Wait waits until the first process has ended, and returns what cmd.Wait would: nil for exit status 0, an
// [exec.ExitError] for others. Daemons that it has left behind may still run. If ctx ends before, the error says so and
// has the cause of ctx in its chain. It may be called more than once.
func (p *Program) Wait(ctx context.Context) error {
	select {
	case <-p.exited:
	case <-ctx.Done():
	}
	select {
	case <-p.exited: // also if ctx has ended as well
		return p.err
	default:
		return fmt.Errorf("pfkeytest: %s still runs: %w", p.name, context.Cause(ctx))
	}
}

// Stop ends the program with everything that it has started, as the end of the test does, and returns what
// [Program.Wait] returns then. It may be called more than once, also in a Cleanup of the test.
func (p *Program) Stop() error {
	p.t.Helper()
	p.end()
	// The test's own context has ended in a Cleanup. There is nothing to wait for but the status, unless end has
	// failed.
	ctx, cancel := context.WithTimeout(context.Background(), killPatience)
	defer cancel()
	return p.Wait(ctx)
}

// state is what a reader of an error wants to know.
func (p *Program) state() string {
	select {
	case <-p.exited:
		if p.err != nil {
			return "has ended: " + p.err.Error()
		}
		return "has ended: exit status 0"
	default:
		return "runs"
	}
}

const (
	// A program gets this long to go by itself,
	termPatience = 2 * time.Second
	// and this long to be gone once it is killed.
	killPatience = 10 * time.Second
	// So long its output may take to come through the pipe after that.
	outputPatience = time.Second
	lookPause      = 20 * time.Millisecond
)

// end ends the program, unless that has been done, and waits for that.
func (p *Program) end() {
	p.ending.Do(func() {
		// The first process ends those that it has started, in its own way.
		if p.Signal(syscall.SIGTERM) == nil {
			p.within(termPatience, p.exited)
		}
		p.signalAll(syscall.SIGTERM)
		if !p.goneWithin(termPatience, nil) {
			// Again and again: a program may start others meanwhile.
			if !p.goneWithin(killPatience, func() { p.signalAll(syscall.SIGKILL) }) {
				p.t.Errorf("%s cannot be ended: processes %v", p.name, p.processes())
			}
		}
		p.close()
	})
}

// goneWithin says whether all processes are gone before d is over. In every round it calls again, if that is not nil.
//
// They are looked for: the supervisor goes on for a process that has ended and that nobody buries, and its own end may
// have another reason. It only tells when to look.
func (p *Program) goneWithin(d time.Duration, again func()) bool {
	gone := (<-chan struct{})(p.gone)
	for ; d > 0; d -= lookPause {
		if again != nil {
			again()
		}
		if p.within(lookPause, gone) {
			gone = nil
		}
		if len(p.processes()) == 0 {
			return true
		}
	}
	return false
}

// within says whether c is closed before d is over.
func (p *Program) within(d time.Duration, c <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c:
		return true
	case <-timer.C:
		return false
	}
}

// processes finds the processes that the program has.
func (p *Program) processes() []process {
	root := p.PID()
	select {
	case <-p.exited:
		root = 0 // somebody else may have its number
	default:
	}
	return processes(p.mark, root)
}

// signalAll sends a signal to every process of the program.
func (p *Program) signalAll(s syscall.Signal) {
	for _, found := range p.processes() {
		found.signal(s)
	}
}

// close gives up what belongs to a program that is gone, or has not started.
func (p *Program) close() {
	if p.abandon != nil {
		p.abandon()
		<-p.gone
	}
	if p.board != nil {
		p.board.Close()
	}
	if p.read != nil {
		read := make(chan struct{})
		go func() {
			defer close(read)
			p.output.Wait()
		}()
		p.within(outputPatience, read)
		p.read.Close() // ends the copying if somebody still holds the other end
		<-read
	}
	if p.write != nil {
		p.write.Close()
	}
	p.lines.flush()
}
