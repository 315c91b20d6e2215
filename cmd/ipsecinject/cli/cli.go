// Package cli is the command ipsecinject: one file per subcommand, callable in process.
package cli

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
)

// env is what the subcommands share.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	engine string
	json   bool
	colour command.Colour
}

// Run executes the command with args, without the name of the program, and returns its exit code. It ends early when
// ctx does.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	e := &env{stdin: stdin, stdout: stdout, stderr: stderr}
	return command.Run(ctx, e.root(), args, stdin, stdout, stderr)
}

func (e *env) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "ipsecinject",
		Short: "Send IP packets into an engine and print what became of them",
		Long: `ipsecinject sends IP packets into the packet port of a running engine (pfkeyd)
and prints a verdict for each.

Inbound packets (the default) are protected: ESP, AH, or ESP in UDP on port
4500. They go the way of a packet that came off the wire. Outbound packets
(--outbound) are plaintext and are protected as policy says.

The engine is named with --engine KERNEL:PATH or the environment variable
PFKEY_ENGINE; without either it is the one that is running at its default path,
if there is exactly one. The packet port lies beside it, at PATH.packets.

Verdicts:
  delivered    inbound, IPsec is done with it; inner is the IP packet handed on
  transmitted  outbound; inner is the packet as it goes out
  queued       inbound, waits on an SA; another verdict of the same id follows
  held         outbound, waits for an ACQUIRE; another verdict follows
  dropped      with a reason, and the counter that the real kernel counts it in
  sent         made by the engine itself, such as a NAT-T keepalive

With --json each verdict is one object on a line of its own, with the fields
  id       number: of the packet; see the subcommand
  verdict  one of the above
  reason   why it was dropped, else ""
  counter  name of the real kernel's counter, or ""
  spi      of the protected packet in hexadecimal ("0x1000"), or ""
  inner    the inner packet in hexadecimal, or ""
and, from watch only,
  packet   the injected packet in hexadecimal, or ""

Exit status: 0 done, whatever the verdicts, unless --expect names one; 1 refused or
failed; 2 usage or unreadable input; 3 no engine at the address.`,
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.New("which command?")
		},
	}
	root.PersistentFlags().StringVar(&e.engine, "engine", "", command.EngineHelp)
	root.PersistentFlags().BoolVar(&e.json, "json", false, "print one JSON object per verdict")
	if err := root.RegisterFlagCompletionFunc("engine", command.CompleteEngine); err != nil {
		panic(err) // no such option
	}
	e.colour.Register(root)
	root.AddCommand(e.pcapCommand(), e.sendCommand(), e.watchCommand(), e.benchCommand(), e.raceCommand(),
		command.Man())
	return root
}
