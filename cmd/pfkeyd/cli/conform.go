package cli

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/cmd/internal/words"
	"github.com/pfkeyd/pfkeyd/conform"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// patience is how long a scenario may take, beside the time that it sleeps.
const patience = time.Minute

func (e *env) conform() *cobra.Command {
	c := conform.Config{Patience: patience}
	var against string
	var addrs, options []string
	cmd := &cobra.Command{
		Use:   "conform --kernel NAME [PATH...]",
		Short: "Play recordings of a real kernel and compare byte for byte",
		Long: `Plays recordings of a real kernel and compares what comes back byte for byte. A PATH
is a recording (*.jsonl), a capture (NAME.pcap with NAME.json beside it), or a folder
of these; without one, those built in are played. All are regular files, and may be
compressed with gzip; one has at most 256 MiB, uncompressed.

They are played on an engine made for each scenario, in virtual time. With --against
they are played on a kernel that runs already: an engine behind its socket, or af_key:,
the real kernel of this host, in network namespaces of their own (this needs root and
the program ip). What cannot be judged there is counted and named.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.Paths, c.Words, c.Colour = args, words.Text, bool(e.colour.Wanted(e.stdout))
			var err error
			if c.Addrs, err = parseAddrs(addrs); err != nil {
				return err
			}
			if c.Tunables, err = parseOptions(options); err != nil {
				return err
			}
			if against != "" {
				a, err := pfkey.ParseAddress(against)
				if err != nil {
					return command.Usagef("--against: %w", err)
				}
				if c.Addrs != nil || options != nil || c.Fault != "" {
					return command.Usagef(
						"--against plays on a kernel that runs already: --addr, -o and --fault are for one that is made")
				}
				c.Target = conform.Live{Address: a, Clock: time.Now}
			}
			if code := conform.Main(cmd.Context(), c, e.stdout, e.stderr); code != command.ExitDone {
				return command.Told(code)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Kernel, "kernel", "illumos", "the kernel whose recordings are played: "+
		strings.Join(conform.Kernels(), ", "))
	f.StringVar(&against, "against", "",
		"the `ADDRESS` of a running kernel to play on: KERNEL:PATH, or af_key: for this host's")
	f.StringVar(&c.Run, "run", "",
		"only scenarios whose `NAME`, also behind that of its folder as in illumos/getspi/timeout, "+
			"matches this regular expression")
	f.StringSliceVar(&addrs, "addr", nil,
		"an own `ADDRESS` of the emulated host, repeatable (default: those of the recordings' host)")
	f.StringArrayVarP(&options, "option", "o", nil,
		"a tunable of the kernel by its own name, as `NAME=VALUE`, repeatable")
	f.StringVar(&c.Fault, "fault", "", "a deliberate defect: larval-unlocked, larval-window")
	f.BoolVarP(&c.Verbose, "verbose", "v", false, "every scenario, and every difference of those that fail")
	f.BoolVar(&c.JSON, "json", false, "one JSON object a line")
	f.BoolVar(&c.ShowKeys, "show-keys", false, "print key bytes as they are")
	return cmd
}
