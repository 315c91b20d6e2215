package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/control"
	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// controlFlags are the options of commands that look into a running engine.
type controlFlags struct {
	engine string
	json   bool
}

func (f *controlFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.engine, "engine", "", "`ADDRESS` of the engine, KERNEL:PATH (default: $"+pfkey.EngineVariable+", else the one that runs)")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
}

// dial finds the control port of the engine.
func (f *controlFlags) dial() (*control.Client, pfkey.Address, error) {
	var a pfkey.Address
	var err error
	if f.engine != "" {
		if a, err = pfkey.ParseAddress(f.engine); err != nil {
			return nil, a, command.Usagef("%w", err)
		}
	} else if a, err = pfkey.DefaultAddress(); err != nil {
		return nil, a, noEngine(err)
	}
	if a.Kernel == pfkey.HostKernel {
		return nil, a, command.Usagef("%s: the host's own kernel has no control port", a)
	}
	return control.NewClient(control.Path(a.Path)), a, nil
}

// noEngine gives an error of finding or reaching an engine its exit code.
func noEngine(err error) error {
	if errors.Is(err, pfkey.ErrNoEngine) || errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return command.NoEngine(err)
	}
	return command.Failed(err)
}

func (e *env) status() *cobra.Command {
	var f controlFlags
	var limit int
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Look into a running engine",
		Long: `Status shows the sockets of a running engine and what waits in their queues, its
security associations and the packets they hold, unanswered ACQUIREs, where every
packet has gone, and the counters under the real kernel's names. It shows no keys.

With --json it prints one object; its fields are those of the control port's
/status and only ever grow.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, a, err := f.dial()
			if err != nil {
				return err
			}
			defer c.Close()
			st, err := c.Status(cmd.Context(), limit)
			if err != nil {
				return noEngine(fmt.Errorf("%s: %w", a, err))
			}
			if f.json {
				return e.printJSON(st)
			}
			printStatus(e.stdout, a, &st)
			return nil
		},
	}
	f.flags(cmd)
	cmd.Flags().IntVar(&limit, "sas", 100, "list at most `N` security associations and ACQUIREs; 0 for 10000, the most")
	return cmd
}

func (e *env) printJSON(v any) error {
	enc := json.NewEncoder(e.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func printStatus(out io.Writer, a pfkey.Address, st *control.Status) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintf(w, "engine\t%s\n", a)
	clock := "real"
	if st.Virtual {
		clock = "virtual"
	}
	fmt.Fprintf(w, "clock\t%s  %s\n", st.Now.UTC().Format(time.DateTime), clock)
	if st.Next != nil {
		fmt.Fprintf(w, "next due\t%s  in %s\n", st.Next.UTC().Format(time.DateTime), st.Next.Sub(st.Now).Round(time.Second))
	}
	if st.Fault != "" {
		fmt.Fprintf(w, "fault\t%s\n", st.Fault)
	}
	b := st.Ledger
	fmt.Fprintf(w, "packets\t%d injected = %d ended + %d held + %d in flight\n", b.Injected, b.Ended, b.Held, b.InFlight)
	for _, name := range slices.Sorted(maps.Keys(b.Verdicts)) {
		if name != "dropped" {
			fmt.Fprintf(w, "  %s\t%d\n", name, b.Verdicts[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.Reasons)) {
		fmt.Fprintf(w, "  dropped %s\t%d\n", name, b.Reasons[name])
	}
	fmt.Fprintf(w, "held\t%d of %d bytes\n", b.HeldBytes, b.HeldLimit)
	fmt.Fprintf(w, "\nSOCKET\tPID\tUID\tQUEUED\tBYTES\tLOST\tREGISTERED\n")
	for _, s := range st.Sockets {
		fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t%s\n", s.Number, s.PID, s.UID, s.Queued, s.Bytes, s.Lost,
			strings.Join(append(s.Registered, s.Flags...), ","))
	}
	fmt.Fprintf(w, "\nSA\tSPI\tSOURCE\tDESTINATION\tSTATE\tDIRECTION\tALGORITHMS\tPACKETS\tHOLDS\n")
	for _, s := range st.SAs {
		algs := strings.Trim(s.Encrypt+" "+s.Auth, " ")
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", s.Type, s.SPI, s.Src, s.Dst, s.State, s.Direction, algs, s.Packets, held(s.Held))
	}
	if n := st.SACount - len(st.SAs); n > 0 {
		fmt.Fprintf(w, "and %d more\n", n)
	}
	if len(st.Acquires) > 0 {
		fmt.Fprintf(w, "\nACQUIRE\tSEQ\tSOURCE\tDESTINATION\tEXPIRES\tHOLDS\n")
		for _, q := range st.Acquires {
			fmt.Fprintf(w, "%s\t%#x\t%s\t%s\t%s\t%s\n", q.Type, q.Seq, q.Src, q.Dst, time.Unix(q.Expires, 0).UTC().Format(time.TimeOnly), held(q.Held))
		}
		if n := st.AcquireCount - len(st.Acquires); n > 0 {
			fmt.Fprintf(w, "and %d more\n", n)
		}
	}
	if len(st.Counters) > 0 {
		fmt.Fprintf(w, "\nCOUNTER\t\n")
		for _, name := range slices.Sorted(maps.Keys(st.Counters)) {
			fmt.Fprintf(w, "%s\t%d\n", name, st.Counters[name])
		}
	}
}

// held lists the packets that wait, by the engine's own numbers.
func held(ps []engine.PacketStatus) string {
	var ids []string
	for _, p := range ps {
		ids = append(ids, fmt.Sprintf("packet %d", p.ID))
	}
	return strings.Join(ids, ", ")
}

func (e *env) clock() *cobra.Command {
	var f controlFlags
	cmd := &cobra.Command{
		Use:   "clock [+DURATION]",
		Short: "Show the clock of a running engine, or move it",
		Long: `Clock shows the clock of a running engine and when it has something to do next.
With +DURATION, such as +90s, +8h or +1h30m, it moves the clock forward and runs
everything that is due on the way. Only the clock of an engine that was started
with --clock virtual can be moved.`,
		Example: "  pfkeyd clock\n  pfkeyd clock +8h",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var by time.Duration
			if len(args) == 1 {
				var err error
				if by, err = time.ParseDuration(strings.TrimPrefix(args[0], "+")); err != nil || !strings.HasPrefix(args[0], "+") || by <= 0 {
					return command.Usagef("clock %q: how far to move it is wanted, such as +90s or +8h", args[0])
				}
			}
			c, a, err := f.dial()
			if err != nil {
				return err
			}
			defer c.Close()
			now, err := moveOrRead(cmd.Context(), c, by)
			if err != nil {
				return noEngine(fmt.Errorf("%s: %w", a, err))
			}
			if f.json {
				return e.printJSON(now)
			}
			kind := "real"
			if now.Virtual {
				kind = "virtual"
			}
			fmt.Fprintf(e.stdout, "%s  %s", now.Now.UTC().Format(time.DateTime), kind)
			if now.Next != nil {
				fmt.Fprintf(e.stdout, "  next due in %s", now.Next.Sub(now.Now).Round(time.Second))
			}
			fmt.Fprintln(e.stdout)
			return nil
		},
	}
	f.flags(cmd)
	return cmd
}

func moveOrRead(ctx context.Context, c *control.Client, by time.Duration) (control.Clock, error) {
	if by > 0 {
		return c.Advance(ctx, by)
	}
	return c.Clock(ctx)
}
