package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/internal/files"
	"github.com/pfkeyd/pfkeyd/launch"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

const (
	// enginePatience is how long an engine may take to stop once its programs are gone.
	enginePatience = 3 * time.Second
	// A successor is started at once; one that dies young makes the next wait longer, up to a second.
	firstPause, lastPause = 10 * time.Millisecond, time.Second
	grownUp               = 10 * time.Second
)

// runner is one run.
type runner struct {
	env     *env
	f       *runFlags
	log     *slog.Logger
	board   *launch.Switchboard
	trace   *traceOutput // nil: none
	dir     string       // of an engine of its own, removed at the end; empty if it lies where engines are looked for
	path    string       // of its socket
	engines sync.WaitGroup

	mu     sync.Mutex
	engine *exec.Cmd     // the engine of its own, nil if there is none now
	ended  chan struct{} // closed when that process is gone
	over   bool          // no successor is wanted any more
	pid    int           // the program's, 0 when it is gone
	told   map[int]bool  // processes that have been told to end; nil if nobody was
	ending syscall.Signal
	guard  int // the guardian's
}

// runProgram hears the end of ctx, a signal, until the program runs; from then on signals are the program's.
func (e *env) runProgram(ctx context.Context, f *runFlags, args []string) (err error) {
	if err := launch.Supported(); err != nil {
		return command.Failed(err)
	}
	program, err := exec.LookPath(args[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		if errors.Is(err, fs.ErrPermission) {
			return &command.Failure{Code: exitCannotExec, Err: err}
		}
		return &command.Failure{Code: exitNotFound, Err: err}
	}
	r := &runner{env: e, f: f, log: slog.New(slog.DiscardHandler)}
	if f.serve.verbose {
		r.log = slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if f.trace != "" {
		if r.trace, err = openTrace(ctx, f.trace, e.stdout, e.sayf); err != nil {
			return command.Failed(fmt.Errorf("--trace: %w", err))
		}
		defer func() {
			incomplete := r.trace.finish()
			switch {
			case incomplete != nil && err == nil:
				err = command.Failed(incomplete)
			case incomplete != nil: // the program has an exit code of its own
				e.sayf("%v", incomplete)
			}
		}()
	}
	if r.board, err = launch.NewSwitchboard(launch.SwitchboardOptions{Log: r.log, Hosted: f.hosted}); err != nil {
		return command.Failed(err)
	}
	defer r.stopEngine()
	defer r.board.Close()
	s, err := r.firstSession(ctx, args[0])
	if err != nil {
		return err
	}
	address := s.Address()
	if err := r.use(s); err != nil {
		return command.Failed(err)
	}
	if f.serve.verbose {
		e.sayf("the engine is at %s", address)
	}

	var page *keptPage
	if f.live {
		if page, err = r.showPage(ctx, address, args[0]); err != nil {
			return err
		}
		defer page.close()
		defer e.openPage(page.address)()
	}
	cmd := exec.Command(program, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.stdin, e.stdout, e.stderr
	cmd.Env = append(os.Environ(), pfkey.EngineVariable+"="+address)
	err = r.supervise(ctx, cmd)
	if _, ended := errors.AsType[command.Told](err); page != nil && (ended || err == nil) {
		err = errors.Join(err, r.keep(page))
	}
	return err
}

// supervise starts the program and returns when it and all that it started are gone.
func (r *runner) supervise(ctx context.Context, cmd *exec.Cmd) error {
	// Orphans become children of ours, to be told of signals and to be buried, also where nobody else would do that.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		r.log.Warn("orphans are not seen", "err", err)
	}
	signals := make(chan os.Signal, 16)
	for _, s := range append(slices.Clone(endings), passedOn...) {
		if !signal.Ignored(s) { // what is ignored shall be so in the program too
			signal.Notify(signals, s)
		}
	}
	signal.Notify(signals, unix.SIGCHLD)
	defer signal.Stop(signals)
	if ctx.Err() != nil {
		return command.Failed(files.ErrInterrupted) // before the signals went anywhere else
	}
	command.KeepSignals(ctx)

	o := r.f.launch
	if r.f.engine == "" && r.f.serve.socket == "" {
		o.Remove = append(o.Remove, ports(r.path)...)
	}
	if r.dir != "" {
		o.Remove = append(o.Remove, r.dir)
	}
	p, err := launch.Start(cmd, o)
	if err != nil {
		switch {
		case errors.Is(err, launch.ErrNested):
			where := "the supervisor of a container, a sandbox, or another 'pfkeyd run'"
			if a := os.Getenv(pfkey.EngineVariable); a != "" {
				where = fmt.Sprintf(
					"if that is another 'pfkeyd run', its engine %s serves everything below it already: start the program without run", a)
			}
			return command.Failed(fmt.Errorf("%w (%s)", err, where))
		case errors.Is(err, launch.ErrUnsupported):
			return command.Failed(err)
		}
		return &command.Failure{Code: exitCannotExec, Err: err}
	}
	r.mu.Lock()
	r.pid, r.guard = cmd.Process.Pid, p.Guardian()
	r.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background()) // signals are the program's now
	var helpers sync.WaitGroup
	helpers.Go(func() { r.passOn(ctx, signals) })
	helpers.Go(func() { r.succeed(ctx) })
	supervised := make(chan error, 1)
	go func() { supervised <- p.Supervise(context.Background(), r.board) }()

	code, err := exitCode(cmd.Wait())
	r.mu.Lock()
	r.pid = 0
	r.mu.Unlock()
	if err2 := <-supervised; err == nil {
		err = err2
	}
	cancel()
	helpers.Wait()
	r.bury()
	r.log.Debug("all programs are gone", "counts", fmt.Sprintf("%+v", p.Counters()))
	switch {
	case err != nil:
		return command.Failed(err)
	case code != command.ExitDone:
		return command.Told(code)
	}
	return nil
}

// exitCode is the one that says how a program ended.
func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return command.ExitDone, err
	}
	if w := exit.Sys().(syscall.WaitStatus); w.Signaled() {
		return 128 + int(w.Signal()), nil
	}
	return exit.ExitCode(), nil
}

// firstSession starts the engine, or finds the one that runs. An engine of its own is named after the program.
func (r *runner) firstSession(ctx context.Context, program string) (*launch.Session, error) {
	if r.f.engine != "" {
		s, err := r.dial()
		if err != nil {
			return nil, command.Reached(err)
		}
		return s, nil
	}
	if r.path = r.f.serve.socket; r.path == "" {
		var err error
		if r.path, r.dir, err = runPath(r.f.serve.kernel, program); err != nil {
			return nil, command.Failed(err)
		}
	}
	s, code, err := r.startEngine(ctx)
	switch {
	case err == nil:
		return s, nil
	case code != command.ExitDone:
		return nil, command.Told(code) // it has said itself what is wrong
	}
	return nil, command.Failed(err)
}

func (r *runner) dial() (*launch.Session, error) {
	a, err := pfkey.ParseAddress(r.f.engine)
	if err != nil {
		return nil, err
	}
	return launch.Dial(launch.AttachPath(a.Path))
}

// startEngine starts a process that is the engine, and waits until it can be used. code is that of an engine that has
// ended instead. The end of ctx ends the wait and the engine, which may wait for a file.
func (r *runner) startEngine(ctx context.Context) (s *launch.Session, code int, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, 0, os.NewSyscallError("socketpair", err)
	}
	own, theirs := os.NewFile(uintptr(pair[0]), "session"), os.NewFile(uintptr(pair[1]), "session")
	// The executable as it was when this process started, also if a newer one has been installed.
	cmd := exec.Command("/proc/self/exe", append([]string{
		"serve", "--session=3", "--kernel=" + r.f.serve.kernel, "--socket=" + r.path,
	}, r.f.engineArg...)...)
	cmd.Args[0] = os.Args[0]
	cmd.Stderr = r.env.stderr
	cmd.ExtraFiles = []*os.File{theirs}
	// A session of its own: what is typed at the terminal is for the program, and the engine outlives it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	ended := make(chan struct{})
	r.mu.Lock()
	if err = cmd.Start(); err == nil {
		r.engine, r.ended = cmd, ended
	}
	r.mu.Unlock()
	theirs.Close()
	if err != nil {
		own.Close()
		return nil, 0, err
	}
	r.engines.Go(func() {
		err := cmd.Wait()
		r.log.Debug("the engine has ended", "err", err)
		r.mu.Lock()
		r.engine = nil
		r.mu.Unlock()
		close(ended)
	})
	impatient := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer impatient()
	if s, err = launch.NewSession(own); err == nil {
		return s, 0, nil
	}
	<-ended
	if ctx.Err() != nil {
		return nil, 0, files.ErrInterrupted
	}
	return nil, max(cmd.ProcessState.ExitCode(), command.ExitFailed), err
}

// use asks for the trace and hands all ends over.
func (r *runner) use(s *launch.Session) error {
	if r.trace != nil {
		q := r.f.traceRequest()
		q.File = r.trace.pipe
		r.trace.used = true
		if err := s.Trace(q); err != nil {
			s.Close()
			return err
		}
	}
	return r.board.Use(s)
}

// succeed finds a new engine whenever one has gone, until ctx ends.
func (r *runner) succeed(ctx context.Context) {
	wait := func(d time.Duration) {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}
	pause := firstPause
	for {
		begin := time.Now()
		select {
		case <-ctx.Done():
			return
		case <-r.board.Lost():
		}
		if time.Since(begin) > grownUp {
			pause = firstPause
		}
		r.env.sayf("the engine is gone; sockets that wait for a new one: %d", r.board.Sockets())
		for said := false; ctx.Err() == nil; {
			wait(pause)
			pause = min(2*pause, lastPause)
			s, err := r.successor(ctx)
			if err == nil {
				err = r.use(s)
			}
			if err == nil {
				if r.f.launch.Own != nil {
					r.env.sayf("a new engine has taken the sockets over")
				} else {
					r.env.sayf("a new engine has taken the sockets over; it knows nothing of what the old one was told")
				}
				break
			}
			if !said && ctx.Err() == nil {
				r.env.sayf("no new engine yet: %v", err)
				said = true
			}
		}
	}
}

func (r *runner) successor(ctx context.Context) (*launch.Session, error) {
	if r.f.engine != "" {
		return r.dial()
	}
	r.mu.Lock()
	over := r.over
	r.mu.Unlock()
	if over {
		return nil, os.ErrClosed
	}
	s, _, err := r.startEngine(ctx)
	return s, err
}

// stopEngine waits until the engine of its own, whose session is over, has stopped, and removes what is left of it.
func (r *runner) stopEngine() {
	r.mu.Lock()
	r.over = true
	engine, ended := r.engine, r.ended
	r.mu.Unlock()
	if engine != nil {
		select {
		case <-ended:
		case <-time.After(enginePatience):
			_ = engine.Process.Kill()
		}
	}
	r.engines.Wait()
	if r.f.engine == "" && r.f.serve.socket == "" {
		removePorts(r.path)
	}
	if r.dir != "" {
		os.RemoveAll(r.dir)
	}
}
