// Package cli is the command pfkeyd: one file per subcommand, callable in process.
package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
)

// env is what the subcommands share.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	colour command.Colour
}

// Run executes the command with args, without the name of the program, and returns its exit code. It ends early when
// ctx does.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	e := &env{stdin: stdin, stdout: stdout, stderr: stderr}
	return command.Run(ctx, e.root(), args, stdin, stdout, stderr)
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
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.runServe(cmd, &f) },
	}
	f.flags(root)
	f.ready.register(root)
	e.colour.Register(root)
	root.AddCommand(e.serve(), e.run(), e.demo(), e.status(), e.watch(), e.live(), e.clock(), e.conform(),
		e.record(), e.headers(), e.wireshark(), command.Man())
	return root
}
