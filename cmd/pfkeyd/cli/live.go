package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/cmd/internal/version"
	"github.com/pfkeyd/pfkeyd/internal/files"
	"github.com/pfkeyd/pfkeyd/internal/live"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// liveFlags are the options of live.
type liveFlags struct {
	engine string
	export string
	port   uint16
	noOpen bool
	keys   bool
}

func (e *env) live() *cobra.Command {
	var f liveFlags
	cmd := &cobra.Command{
		Use:   "live",
		Short: "Show what happens in a running engine as a page in a browser",
		Long: `Live serves a page to the browsers of this machine: what programs and the kernel
say to each other, packets that come, wait and end, SAs, policies, sockets and the
packet ledger, as it happens. First comes what has happened already, as far as the
engine has it in its history. Live prints the page's address; where there is a
desktop it has the browser open it. It ends on SIGINT or SIGTERM. When the engine
ends the page still has all that it has seen, and waits for the next one.

The page is at 127.0.0.1, on any free port. Its address has a secret: who knows it
may look, and move a virtual clock. Keys are not shown.

--export writes the page as one file that needs neither an engine nor this command,
with what has happened until now, and ends.

Exit status: 0 done; 1 failed; 2 usage; 3 no engine.`,
		Example: `  pfkeyd live
  pfkeyd live --export bug.html`,
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.runLive(cmd.Context(), &f) },
	}
	o := cmd.Flags()
	o.StringVar(&f.engine, "engine", "", command.EngineHelp)
	completeEngine(cmd)
	o.StringVar(&f.export, "export", "", "write the page into a `FILE` instead, and end")
	o.Uint16Var(&f.port, "port", 0, "the `PORT` of the page (default: any free one)")
	o.Lookup("port").DefValue = ""
	o.BoolVar(&f.noOpen, "no-open", false, "have no browser open the page")
	o.BoolVar(&f.keys, "show-keys", false, "show the keys in messages that come from now on")
	return cmd
}

func (e *env) runLive(ctx context.Context, f *liveFlags) error {
	if f.export != "" && (f.port != 0 || f.noOpen || f.keys) {
		return command.Usagef("--export: no page is served, so there is no --port, --no-open or --show-keys")
	}
	a, err := command.Engine(f.engine)
	if err != nil {
		return err
	}
	if a.Kernel == pfkey.HostKernel {
		return command.Usagef("%s: the host's own kernel has no control port", a)
	}
	if f.export != "" {
		r := live.NewRecorder(live.Options{Engine: a, Title: "pfkeyd live", Version: version.String()})
		if err := r.ReadPast(ctx); err != nil {
			return command.Reached(command.At(a, err))
		}
		return exportPage(ctx, r, f.export)
	}
	l, err := showLive(ctx, live.Options{Engine: a, Title: "pfkeyd live", Keys: f.keys}, f.port)
	if err != nil {
		return err
	}
	defer l.close()
	fmt.Fprintln(e.stdout, l.address)
	if !f.noOpen {
		defer e.openPage(l.address)()
	}
	return l.wait(ctx)
}

// livePage is the page of one engine, until it is closed.
type livePage struct {
	address string
	served  chan error
	stop    context.CancelFunc
	working sync.WaitGroup
}

// showLive has the page of an engine served, which has all that the engine's history has. Errors have their exit codes.
func showLive(ctx context.Context, o live.Options, port uint16) (_ *livePage, err error) {
	o.Version = version.String()
	r := live.NewRecorder(o)
	following, stop := context.WithCancel(context.WithoutCancel(ctx)) // what ends is said by close
	l := &livePage{served: make(chan error, 1), stop: stop}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	reached := make(chan error, 1)
	l.working.Go(func() { r.Run(following, func(err error) { reached <- err }) })
	select {
	case err = <-reached:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return nil, command.Reached(command.At(o.Engine, err))
	}
	s, err := live.Listen(ctx, r, port, nil)
	if err != nil {
		return nil, command.Failed(fmt.Errorf("the page: %w", err))
	}
	l.address = s.Address()
	l.working.Go(func() { l.served <- s.Serve(following) })
	return l, nil
}

// wait waits for the end of ctx. The error is that of a server that has failed.
func (l *livePage) wait(ctx context.Context) error {
	select {
	case err := <-l.served:
		return command.Failed(fmt.Errorf("the page: %w", err))
	case <-ctx.Done():
		return nil
	}
}

// close ends the page.
func (l *livePage) close() {
	l.stop()
	l.working.Wait()
}

// exportPage writes a page into a file, which only its owner may read.
func exportPage(ctx context.Context, r *live.Recorder, name string) error {
	text, err := live.Export(ctx, r)
	if err != nil {
		return command.Failed(err)
	}
	file, err := files.Create(ctx, name, 0o600)
	if err == nil {
		_, err = file.Write(text)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return command.Failed(fmt.Errorf("--export: %w", err))
	}
	return nil
}
