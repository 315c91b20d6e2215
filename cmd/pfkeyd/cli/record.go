package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/cmd/internal/words"
	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/kernels"
	"github.com/pfkeyd/pfkeyd/internal/files"
)

// recording is what record is told.
type recording struct {
	conform.RecordConfig
	paths []string // files and folders of scenarios
	seed  uint64   // of random conversations, if Messages is not 0
	out   string   // file; "" or "-": standard output
}

func (e *env) record() *cobra.Command {
	c := recording{RecordConfig: conform.RecordConfig{Patience: patience}}
	var name, against string
	var own ownFlags
	cmd := &cobra.Command{
		Use:   "record --against ADDRESS IN... [-o OUT]",
		Short: "Play scenarios on a running kernel and write what comes back",
		Long: `Plays the scenarios in IN (recordings, or folders of them; what they say of answers is
not looked at) on a running kernel, an engine behind its socket or af_key: for the real
one of this host, and writes what came back in the same format, for 'pfkeyd conform'.

With --kernel xfrm and no --against they are played on the host's own kernel by
NETLINK_XFRM, each in a network namespace of its own.

With --random N it makes up conversations of at least N messages instead, from a seed.
They follow what programs say, with faults, or are recordings spoilt.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			t, k, hosted := kernels.Hosted(name, time.Now)
			var err error
			switch {
			case hosted && against != "":
				return command.Usagef("record: --kernel %s is this machine's, in network namespaces of its own; "+
					"--against is for another one", name)
			case hosted:
				c.Target, c.Kernel, name = t, k, ""
			case against == "":
				return command.Usagef("record: --against ADDRESS is needed")
			default:
				c.Target, c.Kernel, err = own.running(against)
			}
			switch {
			case err != nil:
				return err
			case (len(args) == 0) == (c.Messages == 0):
				return command.Usagef("record: either scenarios or --random N")
			case c.Messages < 0:
				return command.Usagef("--random %d: a number of messages is wanted", c.Messages)
			}
			if name != "" {
				if c.Kernel, err = kernels.ByName(name); err != nil {
					return command.Usagef("record: %w", err)
				}
			}
			if !cmd.Flags().Changed("seed") {
				c.seed = rand.Uint64() >> 32
			}
			c.paths = args
			if code := e.recordScenarios(cmd.Context(), c); code != command.ExitDone {
				return command.Told(code)
			}
			return nil
		},
	}
	own.register(cmd)
	f := cmd.Flags()
	f.StringVar(&against, "against", "", "the `ADDRESS` of a running kernel: KERNEL:PATH, or af_key: for this host's")
	f.StringVar(&name, "kernel", "", "whose scenarios these are (default: that of the address): "+
		strings.Join(kernels.Names(), ", "))
	f.StringVarP(&c.out, "output", "o", "", "the `FILE` to write (default: standard output)")
	f.IntVar(&c.Messages, "random", 0, "send at least `N` messages in random conversations")
	f.Uint64Var(&c.seed, "seed", 0, "of the random conversations (default: another one each time)")
	return cmd
}

// recordScenarios plays scenarios and writes what came back, one line for each. It returns the exit code.
func (e *env) recordScenarios(ctx context.Context, c recording) (code int) {
	failed := false
	complain := func(err error) {
		failed = true
		fmt.Fprintf(e.stderr, "pfkeyd record: %s\n", words.Text(err))
	}
	if c.Messages > 0 {
		converse := kernels.Conversations[c.Kernel.Name]
		if converse == nil {
			complain(fmt.Errorf("there are no random conversations with %s", c.Kernel.Name))
			return command.ExitUsage
		}
		c.Scenarios = converse(c.seed, c.Messages+c.Messages/4) // more than needed: some are left out
	} else {
		var bad []error
		c.Scenarios, _, bad = conform.Load(ctx, c.Kernel, c.paths)
		for _, err := range bad {
			complain(err)
		}
		if len(bad) > 0 {
			return command.ExitUsage
		}
		if ctx.Err() != nil {
			complain(files.ErrInterrupted)
			return command.ExitFailed
		}
	}
	if err := conform.Try(c.Target, c.Kernel); err != nil { // before a file is emptied for nothing
		complain(err)
		if _, ok := errors.AsType[*conform.GoneError](err); ok {
			return command.ExitNoEngine
		}
		return command.ExitUsage
	}
	w := e.stdout
	if c.out != "" && c.out != "-" {
		file, err := files.Create(ctx, c.out, 0o666)
		if err != nil {
			complain(err)
			return command.ExitUsage
		}
		defer func() {
			if err := file.Close(); err != nil && code == command.ExitDone {
				complain(err)
				code = command.ExitFailed
			}
		}()
		w = file
	}
	buf := bufio.NewWriter(w)
	did, err := conform.Record(ctx, c.RecordConfig, func(sc, rec *conform.Scenario, err error) error {
		if err != nil {
			complain(fmt.Errorf("%s: %w", sc.Name, err))
			return nil
		}
		return rec.Write(buf)
	})
	if err != nil {
		complain(fmt.Errorf("stopped after %d scenarios: %w", did.Scenarios, err))
	}
	if err := buf.Flush(); err != nil {
		complain(err)
		return command.ExitFailed
	}
	fmt.Fprintf(e.stderr, "pfkeyd record: %d %s, %d %s sent",
		did.Scenarios, plural(did.Scenarios, "scenario"), did.Messages, plural(did.Messages, "message"))
	if c.Messages > 0 {
		fmt.Fprintf(e.stderr, ", seed %d, %d left out: held up, or a message to repeat did not come", c.seed, did.LeftOut)
	}
	fmt.Fprintln(e.stderr)
	if c.Messages > 0 && did.Messages < c.Messages {
		complain(fmt.Errorf("%d messages were wanted", c.Messages))
	}
	if failed {
		return command.ExitFailed
	}
	return command.ExitDone
}
