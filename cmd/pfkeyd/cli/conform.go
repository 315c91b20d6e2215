package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/cmd/internal/words"
	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/kernels"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// patience is how long a scenario may take, beside the time that it sleeps.
const patience = time.Minute

func (e *env) conform() *cobra.Command {
	c := conform.Config{Patience: patience}
	w := &reporter{out: e.stdout}
	var name, against string
	var own ownFlags
	var addrs, options, on []string
	var account bool
	cmd := &cobra.Command{
		Use:   "conform [--kernel NAME] [PATH...]",
		Short: "Play recordings of a real kernel and compare byte for byte",
		Long: `Plays recordings of a real kernel and compares what comes back byte for byte. A PATH
is a recording (*.jsonl), a capture (NAME.pcap with NAME.json beside it), or a folder
of these; without one, those built in are played. All are regular files, and may be
compressed with gzip; one has at most 256 MiB, uncompressed.

They are played on an engine made for each scenario, in virtual time. With --against
they are played on a kernel that runs already: an engine behind its socket, or af_key:,
the real kernel of this host, in network namespaces of their own (this needs root and
the program ip). What cannot be judged there is counted and named.

With --kernel xfrm the recordings of linux are played on the SAs, policies and packets of
this host's own kernel, by XFRM netlink and without its PF_KEY, in network namespaces of
their own (this needs root, or a user namespace, and the program ip).

With --compare KERNEL,... one scenario is played on each of these kernels, whichever
kernel it was written for, and what they answer is shown side by side, step by step;
those that answer the same share a line. PATH is a file, or the name of a scenario
that is built in. Messages are written anew in the words of each kernel; what one of
them has no words for is told. -o and --fault have no use here.

With --report the results are counted instead: for each message and extension, in how
many recordings it is, how many random messages had it, and where ours deviates or
fails. Without a PATH or a kernel this is docs/fidelity.md.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if on != nil && account {
				return command.Usagef("--compare and --report exclude each other")
			}
			if on != nil {
				return e.compareWith(cmd, on, name, args, c.Run, w, addrs != nil || options != nil || against != "" ||
					c.Fault != "")
			}
			c.Paths, c.ShowKeys, w.colour = args, w.showKeys, bool(e.colour.Wanted(e.stdout))
			var err error
			if c.Addrs, err = parseAddrs(addrs); err != nil {
				return err
			}
			if c.Tunables, err = parseOptions(options); err != nil {
				return err
			}
			if against != "" {
				c.Target, _, err = own.running(against)
				if err != nil {
					return err
				}
				if c.Addrs != nil || options != nil || c.Fault != "" {
					return command.Usagef("--against plays on a kernel that runs already: --addr, -o and --fault " +
						"are for one that is made")
				}
				w.live = true
			}
			if t, k, ok := kernels.Hosted(name, time.Now); ok {
				if against != "" || c.Addrs != nil || options != nil || c.Fault != "" {
					return command.Usagef("--kernel %s is played on the host's own kernel, in network namespaces of "+
						"their own: --against, --addr, -o and --fault have no use there", name)
				}
				c.Target, c.Kernel, w.live = t, k, true
			} else if c.Kernel, err = kernels.ByName(name); err != nil {
				return command.Usagef("conform: %w", err)
			}
			if account {
				return e.fidelity(cmd.Context(), c, w.json, !cmd.Flags().Changed("kernel") && against == "" &&
					len(args) == 0)
			}
			if code := e.playRecordings(cmd.Context(), c, w); code != command.ExitDone {
				return command.Told(code)
			}
			return nil
		},
	}
	own.register(cmd)
	f := cmd.Flags()
	f.StringVar(&name, "kernel", "illumos",
		"the kernel whose recordings are played: "+strings.Join(kernels.Names(), ", "))
	f.StringVar(&against, "against", "",
		"the `ADDRESS` of a running kernel to play on: KERNEL:PATH, or af_key: for this host's")
	f.StringSliceVar(&on, "compare", nil,
		"play one scenario on each of these `KERNELS` and show what they answer side by side")
	f.StringVar(&c.Run, "run", "",
		"only scenarios whose `NAME`, also behind that of its folder as in illumos/getspi/timeout, "+
			"matches this regular expression")
	f.StringSliceVar(&addrs, "addr", nil,
		"an own `ADDRESS` of the emulated host, repeatable (default: those of the recordings' host)")
	f.StringArrayVarP(&options, "option", "o", nil,
		"a tunable of the kernel by its own name, as `NAME=VALUE`, repeatable")
	f.StringVar(&c.Fault, "fault", "", "a deliberate defect: larval-unlocked, larval-window")
	f.BoolVar(&account, "report", false, "count what the recordings show of each message and extension")
	f.BoolVarP(&w.verbose, "verbose", "v", false, "every scenario, and every difference of those that fail")
	f.BoolVar(&w.json, "json", false, "one JSON object a line")
	f.BoolVar(&w.showKeys, "show-keys", false, "print key bytes as they are")
	return cmd
}

// ownFlags say what may be done to the databases of this machine.
type ownFlags struct{ flush bool }

func (f *ownFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.flush, "flush-this-host", false,
		"with --against xfrm:PATH, whose SAs and policies are this machine's: they may be removed, all of them")
}

// running is the kernel that runs at an address, to play on, and its recordings' kind.
func (f *ownFlags) running(address string) (conform.Live, *conform.Kernel, error) {
	a, err := pfkey.ParseAddress(address)
	if err != nil {
		return nil, nil, command.Usagef("--against: %w", err)
	}
	if a.Kernel == pfkey.XFRMKernel && !f.flush {
		return nil, nil, command.Usagef("--against %s: this removes all SAs and policies of this machine, which "+
			"--flush-this-host allows; --kernel %s plays in network namespaces of its own", a, a.Kernel)
	}
	t, k, err := kernels.Running(a, time.Now)
	if err != nil {
		return nil, nil, command.Usagef("--against: %w", err)
	}
	return t, k, nil
}

// playRecordings plays recordings, reports, and returns the exit code: unreadable input comes before what failed.
func (e *env) playRecordings(ctx context.Context, c conform.Config, w *reporter) int {
	complain := func(err error) { fmt.Fprintf(e.stderr, "pfkeyd conform: %s\n", words.Text(err)) }
	w.kernel = c.Kernel
	bar := newProgress(e.stderr)
	c.Observe = func(r conform.Result) {
		if w.shows(r) {
			bar.clear() // the terminal may be the same
			w.result(r)
		}
	}
	c.Progress = bar.show
	rep, err := conform.Run(ctx, c)
	bar.clear()
	for _, bad := range rep.Unreadable {
		complain(bad)
	}
	if _, ok := errors.AsType[*conform.UsageError](err); ok {
		complain(err)
		return command.ExitUsage
	}
	if _, ok := errors.AsType[*conform.GoneError](err); ok && len(rep.Results) == 0 {
		complain(err)
		return command.ExitNoEngine
	}
	done := len(rep.Results)
	switch {
	case errors.Is(err, context.Canceled):
		complain(fmt.Errorf("interrupted after %d %s", done, plural(done, "scenario")))
	case err != nil:
		complain(fmt.Errorf("stopped after %d %s: %w", done, plural(done, "scenario"), err))
	case done == 0 && len(rep.Unreadable) > 0 && !w.json:
		return command.ExitUsage
	case done == 0 && len(rep.Unreadable) == 0:
		complain(fmt.Errorf("no scenario of %s matches %q", c.Kernel.Name, c.Run))
		return command.ExitUsage
	}
	w.sums(&rep)
	switch {
	case len(rep.Unreadable) > 0:
		return command.ExitUsage
	case rep.Failed > 0 || err != nil:
		return command.ExitFailed
	}
	return command.ExitDone
}

// progress is a bar on a terminal; on anything else it shows nothing.
type progress struct {
	w     io.Writer // nil: nowhere
	shown int       // tenths of a percent shown, plus one; 0: the line is clear
}

func newProgress(w io.Writer) *progress {
	if f, ok := w.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
			return &progress{w: w}
		}
	}
	return &progress{}
}

func (p *progress) show(done, total int) {
	if p.w == nil {
		return
	}
	const width = 40
	at := done*1000/total + 1
	if at == p.shown {
		return
	}
	p.shown = at
	n := done * width / total
	fmt.Fprintf(p.w, "\r[%s%s] %d/%d", strings.Repeat("#", n), strings.Repeat(".", width-n), done, total)
}

func (p *progress) clear() {
	if p.w != nil && p.shown != 0 {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = 0
	}
}
