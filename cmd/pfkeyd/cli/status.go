package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/internal/control"
	"github.com/pfkeyd/pfkeyd/internal/terminal"
	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// dial finds the control port of an engine, named as --engine does.
func dial(engine string) (*control.Client, pfkey.Address, error) {
	a, err := command.Engine(engine)
	if err != nil {
		return nil, a, err
	}
	if a.Kernel == pfkey.HostKernel {
		return nil, a, command.Usagef("%s: the host's own kernel has no control port", a)
	}
	return control.NewClient(control.Path(a.Path)), a, nil
}

func (e *env) status() *cobra.Command {
	var engine string
	var asJSON bool
	var limit int
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Look into a running engine",
		Long: `Status shows the sockets of a running engine and what waits in their queues, its
security associations and the packets they hold, unanswered ACQUIREs, security
policies, where every packet has gone, and the counters under the real kernel's
names. It shows no keys.

With --wait it waits until there is an engine that answers, for scripts that have
just started one:

  pfkeyd serve & pfkeyd status --wait 5s

With --json it prints one object; its fields are those of the control port's
/status and only ever grow.`,
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case limit < 0:
				return command.Usagef("--sas %d: how many to list is wanted, or 0 for all that the engine lists", limit)
			case wait < 0:
				return command.Usagef("--wait %v: how long to wait is wanted", wait)
			}
			a, st, err := await(cmd.Context(), engine, wait, limit)
			if err != nil {
				return err
			}
			if asJSON {
				return e.printJSON(st)
			}
			return e.printStatus(a, &st)
		},
	}
	cmd.Flags().StringVar(&engine, "engine", "", command.EngineHelp)
	completeEngine(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().IntVar(&limit, "sas", 100,
		"list at most `N` security associations, ACQUIREs and policies each; 0 for 10000, the most")
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait at most this `TIME` for an engine that answers")
	return cmd
}

// glance is how long to wait before looking for an engine again.
const glance = 20 * time.Millisecond

// await reads the status of an engine. While there is none it looks again, for at most the time of wait.
func await(ctx context.Context, engine string, wait time.Duration, limit int) (pfkey.Address, control.Status, error) {
	if wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	var none error // what has come of the looks until now
	for {
		a, st, err := look(ctx, engine, limit)
		if none != nil && err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = none // this look was cut short
		}
		if f, ok := errors.AsType[*command.Failure](err); wait == 0 || !ok || f.Code != command.ExitNoEngine {
			return a, st, err
		}
		none = err
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				err = command.NoEngine(fmt.Errorf("%w (after a wait of %v)", err, wait))
			}
			return a, st, err
		case <-time.After(glance):
		}
	}
}

// look reads the status of an engine once.
func look(ctx context.Context, engine string, limit int) (a pfkey.Address, st control.Status, err error) {
	c, a, err := dial(engine)
	if err != nil {
		return a, st, err
	}
	defer c.Close()
	st, err = c.Status(ctx, limit)
	return a, st, command.Reached(command.At(a, err))
}

// completeEngine completes the values of --engine.
func completeEngine(cmd *cobra.Command) {
	if err := cmd.RegisterFlagCompletionFunc("engine", command.CompleteEngine); err != nil {
		panic(err) // no such option
	}
}

func (e *env) printJSON(v any) error {
	enc := json.NewEncoder(e.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printStatus shows a status to people.
func (e *env) printStatus(a pfkey.Address, st *control.Status) error {
	out := bufio.NewWriter(e.stdout)
	paint := e.colour.Wanted(e.stdout)
	printSummary(out, paint, a, st)

	sockets := terminal.Table{}
	sockets.Row("SOCKET", "PID", "UID", "QUEUED", "BYTES", "LOST", "REGISTERED")
	for _, s := range st.Sockets {
		sockets.Row(
			fmt.Sprint(s.Number), fmt.Sprint(s.PID), fmt.Sprint(s.UID),
			fmt.Sprint(s.Queued), fmt.Sprint(s.Bytes), fmt.Sprint(s.Lost),
			strings.Join(append(s.Registered, s.Flags...), ", "))
	}
	section(out, &sockets, 0)

	sas := terminal.Table{Paint: paintColumn(paint, 4)}
	sas.Row("SA", "SPI", "SOURCE", "DESTINATION", "STATE", "DIR", "ALGORITHMS", "PACKETS", "HOLDS")
	for _, s := range st.SAs {
		sas.Row(
			s.Type, s.SPI, s.Src, s.Dst, s.State, strings.TrimSuffix(s.Direction, "bound"),
			strings.Trim(s.Encrypt+" "+s.Auth, " "), fmt.Sprint(s.Packets), held(s.Held))
	}
	section(out, &sas, st.SACount-len(st.SAs))

	if len(st.Acquires) > 0 {
		var acquires terminal.Table
		acquires.Row("ACQUIRE", "SEQ", "SOURCE", "DESTINATION", "EXPIRES", "HOLDS")
		for _, q := range st.Acquires {
			expires := time.Unix(q.Expires, 0).UTC().Format(time.TimeOnly)
			acquires.Row(q.Type, fmt.Sprintf("%#x", q.Seq), q.Src, q.Dst, expires, held(q.Held))
		}
		section(out, &acquires, st.AcquireCount-len(st.Acquires))
	}
	if len(st.Policies) > 0 {
		printPolicies(out, st)
	}
	if len(st.Counters) > 0 {
		var counters terminal.Table
		counters.Row("COUNTER", "")
		for _, name := range slices.Sorted(maps.Keys(st.Counters)) {
			counters.Row(name, fmt.Sprint(st.Counters[name]))
		}
		section(out, &counters, 0)
	}
	if err := out.Flush(); err != nil {
		return command.Failed(fmt.Errorf("writing: %w", err))
	}
	return nil
}

// printSummary shows what there is one of.
func printSummary(out io.Writer, paint terminal.Painter, a pfkey.Address, st *control.Status) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintf(w, "engine\t%s\n", a)
	clock := "real"
	if st.Virtual {
		clock = "virtual"
	}
	fmt.Fprintf(w, "clock\t%s  %s\n", st.Now.UTC().Format(time.DateTime), clock)
	if st.Next != nil {
		fmt.Fprintf(w, "next due\t%s  in %s\n", st.Next.UTC().Format(time.DateTime),
			st.Next.Sub(st.Now).Round(time.Second))
	}
	if st.Fault != "" {
		fmt.Fprintf(w, "fault\t%s\n", paint.Paint(terminal.Red, st.Fault))
	}
	b := st.Ledger
	fmt.Fprintf(w, "packets\t%d injected = %d ended + %d held + %d in flight\n", b.Injected, b.Ended, b.Held,
		b.InFlight)
	for _, name := range slices.Sorted(maps.Keys(b.Verdicts)) {
		if name != "dropped" {
			fmt.Fprintf(w, "  %s\t%d\n", name, b.Verdicts[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.Reasons)) {
		fmt.Fprintf(w, "  dropped %s\t%d\n", name, b.Reasons[name])
	}
	fmt.Fprintf(w, "held\t%d of %d bytes\n", b.HeldBytes, b.HeldLimit)
}

// printPolicies shows the policies. Their kernel has words of its own for what they want. Tunnels and priorities are
// shown where there are any.
func printPolicies(out io.Writer, st *control.Status) {
	any := func(has func(p status.Policy) bool) bool { return slices.ContainsFunc(st.Policies, has) }
	columns := []struct {
		name  string
		shown bool
		cell  func(p *status.Policy) string
	}{
		{"POLICY", true, func(p *status.Policy) string { return p.Direction }},
		{"TUNNEL", any(func(p status.Policy) bool { return p.Tunnel != "" }),
			func(p *status.Policy) string { return p.Tunnel }},
		{"SOURCE", true, func(p *status.Policy) string { return withPort(p.Src, p.SrcPort) }},
		{"DESTINATION", true, func(p *status.Policy) string { return withPort(p.Dst, p.DstPort) }},
		{"PROTOCOL", true, func(p *status.Policy) string { return protocolName(p.Proto) }},
		{"PRIORITY", any(func(p status.Policy) bool { return p.Priority != 0 }),
			func(p *status.Policy) string { return fmt.Sprint(p.Priority) }},
		{"ACTION", true, func(p *status.Policy) string {
			return strings.TrimSpace(p.Action + " " + strings.Join(p.Wants, ", "))
		}},
	}
	var t terminal.Table
	var head []string
	for _, c := range columns {
		if c.shown {
			head = append(head, c.name)
		}
	}
	t.Row(head...)
	for i := range st.Policies {
		var row []string
		for _, c := range columns {
			if c.shown {
				row = append(row, c.cell(&st.Policies[i]))
			}
		}
		t.Row(row...)
	}
	section(out, &t, st.PolicyCount-len(st.Policies))
}

// protocolName is an IP protocol as people know it.
func protocolName(proto uint8) string {
	if name, ok := map[uint8]string{0: "any", 1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp", 132: "sctp"}[proto]; ok {
		return name
	}
	return fmt.Sprint(proto)
}

// withPort is a prefix with its port as setkey(8) writes it.
func withPort(prefix string, port uint16) string {
	if port == 0 {
		return prefix
	}
	return fmt.Sprintf("%s[%d]", prefix, port)
}

// section writes a table behind an empty line, and says how many rows it lacks.
func section(out io.Writer, t *terminal.Table, lacks int) {
	fmt.Fprintln(out)
	_ = t.Write(out) // the buffer keeps the error
	if lacks > 0 {
		fmt.Fprintf(out, "and %d more; --sas N lists up to N of a kind, 10000 at most\n", lacks)
	}
}

// paintColumn colours the states in one column.
func paintColumn(paint terminal.Painter, column int) func(int, string) string {
	return func(i int, cell string) string {
		if i != column {
			return cell
		}
		return paint.Paint(terminal.StateColour(strings.TrimSpace(cell)), cell)
	}
}

// held lists the packets that wait, by the engine's own numbers.
func held(ps []status.Packet) string {
	var ids []string
	for _, p := range ps {
		ids = append(ids, fmt.Sprintf("packet %d", p.ID))
	}
	return strings.Join(ids, ", ")
}
