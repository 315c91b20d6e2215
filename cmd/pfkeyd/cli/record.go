package cli

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/cmd/internal/words"
	"github.com/pfkeyd/pfkeyd/conform"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

func (e *env) record() *cobra.Command {
	c := conform.RecordConfig{Patience: patience}
	var against string
	cmd := &cobra.Command{
		Use:   "record --against ADDRESS IN... [-o OUT]",
		Short: "Play scenarios on a running kernel and write what comes back",
		Long: `Plays the scenarios in IN (recordings, or folders of them; what they say of answers is
not looked at) on a running kernel, an engine behind its socket or af_key: for the real
one of this host, and writes what came back in the same format, for 'pfkeyd conform'.

With --random N it makes up conversations of at least N messages instead, from a seed.
They follow what programs say, with faults, or are recordings spoilt.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := pfkey.ParseAddress(against)
			switch {
			case against == "":
				return command.Usagef("record: --against ADDRESS is needed")
			case err != nil:
				return command.Usagef("--against: %w", err)
			case (len(args) == 0) == (c.Random == 0):
				return command.Usagef("record: either scenarios or --random N")
			case c.Random < 0:
				return command.Usagef("--random %d: a number of messages is wanted", c.Random)
			}
			if c.Kernel == "" {
				if c.Kernel = a.Kernel; a.Kernel == pfkey.HostKernel {
					c.Kernel = "linux"
				}
			}
			if !cmd.Flags().Changed("seed") {
				c.Seed = rand.Uint64() >> 32
			}
			c.Paths, c.Words = args, words.Text
			c.Target = conform.Live{Address: a, Clock: time.Now}
			if code := conform.Record(cmd.Context(), c, e.stdout, e.stderr); code != command.ExitDone {
				return command.Told(code)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&against, "against", "", "the `ADDRESS` of a running kernel: KERNEL:PATH, or af_key: for this host's")
	f.StringVar(&c.Kernel, "kernel", "", "whose scenarios these are (default: that of the address): "+
		strings.Join(conform.Kernels(), ", "))
	f.StringVarP(&c.Out, "output", "o", "", "the `FILE` to write (default: standard output)")
	f.IntVar(&c.Random, "random", 0, "send at least `N` messages in random conversations")
	f.Uint64Var(&c.Seed, "seed", 0, "of the random conversations (default: another one each time)")
	return cmd
}
