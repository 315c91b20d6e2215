// Package command is what commands with subcommands have in common: exit codes, how a run ends, the manual pages.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/pfkeyd/pfkeyd/cmd/internal/version"
	"github.com/pfkeyd/pfkeyd/cmd/internal/words"
	"github.com/pfkeyd/pfkeyd/internal/files"
	"github.com/pfkeyd/pfkeyd/internal/terminal"
)

// The exit codes of all commands of the project but ipseckey, which has those of the original.
const (
	ExitDone     = 0
	ExitFailed   = 1 // refused or failed
	ExitUsage    = 2 // usage or unreadable input
	ExitNoEngine = 3 // no engine at the address
)

// Failure is an error with its exit code.
type Failure struct {
	Code int
	Err  error
}

func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the error without its code.
func (f *Failure) Unwrap() error { return f.Err }

// Failed makes err one that ends with [ExitFailed].
func Failed(err error) error { return &Failure{ExitFailed, err} }

// NoEngine makes err one that ends with [ExitNoEngine].
func NoEngine(err error) error { return &Failure{ExitNoEngine, err} }

// Usagef makes an error that ends with [ExitUsage].
func Usagef(format string, a ...any) error { return &Failure{ExitUsage, fmt.Errorf(format, a...)} }

// Unreadable makes err, of the input that a flag or an argument names, one that ends with [ExitUsage], but with
// [ExitFailed] where it was not looked at to its end.
func Unreadable(err error) error {
	if errors.Is(err, files.ErrInterrupted) {
		return Failed(err)
	}
	return &Failure{ExitUsage, err}
}

// Told is the exit code of a failure of which the user has been told already.
type Told int

func (t Told) Error() string { return fmt.Sprintf("exit code %d", int(t)) }

// patience is how long a command may take to stop once it is interrupted.
const patience = 5 * time.Second

// errStuck says that a command was interrupted and did not stop: it waits for somebody who does not read what it
// writes.
var errStuck = errors.New("interrupted, and left while it was waiting for something")

// ownSignals is the context key of what [KeepSignals] closes.
type ownSignals struct{}

// KeepSignals is called by a command that hands signals on from here on: the end of the context of [Run] is not its own
// then.
func KeepSignals(ctx context.Context) {
	if kept, ok := ctx.Value(ownSignals{}).(*atomic.Bool); ok {
		kept.Store(true)
	}
}

// Run executes root with args, without the name of the program, tells the user of an error and returns the exit code.
// It ends early when ctx does: what the command waits for then, such as a reader of its output, is left behind after a
// while. It gives root the options --version and --color, and help that refuses topics it does not know.
func Run(ctx context.Context, root *cobra.Command, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.Version = version.String()
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(help())
	fit(root)
	root.SetUsageTemplate(strings.NewReplacer(
		".FlagUsages", fmt.Sprintf(".FlagUsagesWrapped %d", terminal.Columns),
		"for more information about a command", "for more about a command",
	).Replace(root.UsageTemplate()))
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return noEmptyValues(cmd) }
	root.SetArgs(append([]string{}, args...)) // nil would mean those of the process
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.InitDefaultCompletionCmd(args...) // it keeps the output that is set
	sternCompletion(root)
	cmd, err := execute(ctx, root)
	if err == nil {
		return ExitDone
	}
	if code, ok := errors.AsType[Told](err); ok {
		return int(code)
	}
	text := words.Text(err)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		text, err = "interrupted", Failed(err)
	}
	fmt.Fprintf(stderr, "%s: %s\n", root.Name(), text)
	if f, ok := errors.AsType[*Failure](err); ok {
		if f.Code == ExitNoEngine {
			fmt.Fprintf(stderr, "Start an engine with 'pfkeyd serve', or name a running one with --engine.\n")
		}
		return f.Code
	}
	// Everything of ours has a code: this one is cobra's.
	fmt.Fprintf(stderr, "Try '%s --help'.\n", cmd.CommandPath())
	return ExitUsage
}

// execute runs the command, for as long after the end of ctx as patience lasts.
func execute(ctx context.Context, root *cobra.Command) (*cobra.Command, error) {
	kept := new(atomic.Bool)
	type result struct {
		cmd *cobra.Command
		err error
	}
	ended := make(chan result, 1)
	go func() {
		cmd, err := root.ExecuteContextC(context.WithValue(ctx, ownSignals{}, kept))
		ended <- result{cmd, err}
	}()
	select {
	case r := <-ended:
		return r.cmd, r.err
	case <-ctx.Done():
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case r := <-ended:
		return r.cmd, r.err
	case <-late.C:
	}
	if kept.Load() {
		r := <-ended
		return r.cmd, r.err
	}
	return root, Failed(errStuck)
}

// Man makes the hidden subcommand that writes the manual pages of its root, for packagers.
func Man() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIRECTORY",
		Short:  "Write the manual pages into a directory",
		Hidden: true,
		Args:   ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.DisableAutoGenTag = true
			h := &doc.GenManHeader{Section: "1", Source: "pfkeyd", Manual: "pfkeyd"}
			if err := doc.GenManTree(root, h, args[0]); err != nil {
				return Failed(err)
			}
			return nil
		},
	}
}
