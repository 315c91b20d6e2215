package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/packetport"
)

func (e *env) watchCommand() *cobra.Command {
	var count uint64
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Print every final verdict of an engine",
		Long: `watch prints the final verdict of every packet that ends in the engine from now
on, whoever injected it, also when the injector has left. The id is the engine's
own number of the packet, as in its status. It ends on SIGINT or SIGTERM, when
the engine ends, or after --count verdicts, each with exit status 0.

When the line "watching ADDRESS" stands on standard error, no later verdict will
be missed.`,
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.watch(cmd.Context(), count) },
	}
	cmd.Flags().Uint64Var(&count, "count", 0, "end after `N` verdicts; 0: never")
	return cmd
}

func (e *env) watch(ctx context.Context, count uint64) error {
	c, a, err := e.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Watch(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return command.Failed(err)
	}
	fmt.Fprintln(e.stderr, "watching", a)
	for n := uint64(0); count == 0 || n < count; {
		v, err := c.Recv(ctx)
		var overrun *packetport.OverrunError
		switch {
		case err == nil:
			if err := e.printVerdict(&v); err != nil {
				return command.Failed(fmt.Errorf("writing verdicts: %w", err))
			}
			n++
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &overrun):
			fmt.Fprintf(e.stderr, "ipsecinject: %v\n", err)
		case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
			fmt.Fprintln(e.stderr, "the engine has gone away")
			return nil
		default:
			return command.Failed(err)
		}
	}
	return nil
}
