// Package cli is the command pfkeyd: one file per subcommand, callable in process.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// The exit codes of all commands of the project.
const (
	exitDone     = 0
	exitFailed   = 1 // refused or failed
	exitUsage    = 2 // usage or unreadable input
	exitNoEngine = 3 // no engine at the address
)

// failure is an error with its exit code.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func failed(err error) error { return &failure{exitFailed, err} }

func usagef(format string, a ...any) error { return &failure{exitUsage, fmt.Errorf(format, a...)} }

// told is a failure of which the user has been told already.
type told int

func (t told) Error() string { return fmt.Sprintf("exit code %d", int(t)) }

// env is what the subcommands share.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// Run executes the command with args, without the name of the program, and returns its exit code. It ends early when ctx does.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	e := &env{stdin: stdin, stdout: stdout, stderr: stderr}
	root := e.root()
	root.SetArgs(append([]string{}, args...)) // nil would mean those of the process
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	var code told
	if errors.As(err, &code) {
		return int(code)
	}
	fmt.Fprintf(stderr, "pfkeyd: %v\n", err)
	var f *failure
	if !errors.As(err, &f) {
		// Everything of ours has a code: this one is cobra's.
		f = &failure{exitUsage, err}
		fmt.Fprintf(stderr, "Try '%s --help'.\n", cmd.CommandPath())
	}
	return f.code
}

func (e *env) root() *cobra.Command {
	var f serveFlags
	root := &cobra.Command{
		Use:   "pfkeyd",
		Short: "The key engine of an operating system, as an ordinary process",
		Long: `pfkeyd is the key engine of an operating system as an ordinary process. It speaks
PF_KEY v2 (RFC 2367) on a Unix socket as the real kernel does, keeps the security
association database, holds packets that arrive for LARVAL SAs, and processes real
ESP and AH.

Without a command it does what "serve" does.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version(),
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return e.runServe(cmd.Context(), &f) },
	}
	f.flags(root)
	root.SetVersionTemplate("pfkeyd {{.Version}}\n")
	root.AddCommand(e.serve(), e.run(), e.demo(), e.status(), e.clock(), e.conform(), e.record(), e.man())
	return root
}

// version is what the build says of itself: the module's version or the commit it was made from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (v == "" || v == "(devel)") {
			v = s.Value
		}
	}
	return fmt.Sprintf("%s (%s %s/%s)", v, info.GoVersion, runtime.GOOS, runtime.GOARCH)
}
