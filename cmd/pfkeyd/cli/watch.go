package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/cmd/internal/packetline"
	"github.com/pfkeyd/pfkeyd/internal/control"
	"github.com/pfkeyd/pfkeyd/internal/terminal"
	"github.com/pfkeyd/pfkeyd/kernel/event"
	"github.com/pfkeyd/pfkeyd/wire"
)

// watchFlags are the options of watch.
type watchFlags struct {
	engine           string
	types, spis      []string
	sockets          []uint
	packets, json    bool
	from             string
	past, full, keys bool
	count            uint64
}

func (e *env) watch() *cobra.Command {
	var f watchFlags
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Show what happens in a running engine",
		Long: `Watch prints one line for each thing that happens in a running engine: PF_KEY
messages both ways, sockets that come and go, SAs that change their state, packets
and what becomes of them, moves of the clock. First comes what has happened already, as far as the engine
has it in its history. It ends on SIGINT or SIGTERM, when the engine ends, after
--count events, or with --past, each with exit status 0.

  15:04:05.000000  socket 1 >  a message of a program to the kernel
  15:04:05.000000  socket 1 <  a message that the kernel puts into its queue
  15:04:05.000000  packet 7    a verdict

The time is that of the engine's clock. On a terminal lines are cut at its edge,
unless --full is there. An engine does not wait for those who watch: where they
were too slow, a line says how many events are missing.

Options that choose can be repeated; their values are alternatives. With --json
it prints one object a line, whose fields are described in package kernel/event
and only ever grow. When the line "watching ADDRESS" stands on standard error, no
later event will be missed.`,
		Example: `  pfkeyd watch
  pfkeyd watch --type GETSPI,UPDATE --type packet
  pfkeyd watch --spi 0x1000 --from now
  pfkeyd watch --json --past`,
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := f.query()
			if err != nil {
				return err
			}
			return e.runWatch(cmd.Context(), &f, q)
		},
	}
	o := cmd.Flags()
	o.StringVar(&f.engine, "engine", "", command.EngineHelp)
	completeEngine(cmd)
	o.StringSliceVar(&f.types, "type", nil, "only events of a `TYPE`, or messages of one: packet, GETSPI ...")
	command.Complete(cmd, "type", eventTypes()...)
	o.StringSliceVar(&f.spis, "spi", nil, "only messages and packets with this `SPI`")
	o.UintSliceVar(&f.sockets, "socket", nil, "only what happens on the socket of this `NUMBER`, as in the status")
	o.BoolVar(&f.packets, "packets", false, "only packets, as --type packet")
	o.StringVar(&f.from, "from", "beginning", "begin at the event of this `NUMBER`, at the beginning, or now")
	command.Complete(cmd, "from", "beginning", "now")
	o.BoolVar(&f.past, "past", false, "end with what has happened already")
	o.Uint64Var(&f.count, "count", 0, "end after `N` events; 0: never")
	o.BoolVar(&f.full, "full", false, "do not cut lines at the edge of the terminal")
	o.BoolVar(&f.json, "json", false, "print JSON, one object a line")
	o.BoolVar(&f.keys, "show-keys", false, "with --json: show the keys in messages that come from now on")
	return cmd
}

// eventTypes are the values of --type that the shell completes.
func eventTypes() (names []string) {
	for _, t := range event.Types() {
		names = append(names, string(t))
	}
	for t := wire.MsgGetSPI; t <= wire.MsgExpire; t++ {
		names = append(names, t.String())
	}
	return names
}

// query is what the options ask for.
func (f *watchFlags) query() (q control.EventQuery, err error) {
	for _, name := range f.types {
		if t := event.Type(strings.ToLower(name)); slices.Contains(event.Types(), t) {
			q.Filter.Types = append(q.Filter.Types, t)
		} else if m := strings.ToUpper(name); isMessage(m) {
			q.Filter.Messages = append(q.Filter.Messages, m)
		} else {
			return q, command.Usagef("--type %q: neither a message nor one of %v", name, event.Types())
		}
	}
	if f.packets {
		q.Filter.Types = append(q.Filter.Types, event.Packet)
	}
	for _, s := range f.spis {
		spi, err := event.ParseSPI(s)
		if err != nil {
			return q, command.Usagef("--spi %w", err)
		}
		q.Filter.SPIs = append(q.Filter.SPIs, spi)
	}
	for _, n := range f.sockets {
		q.Filter.Sockets = append(q.Filter.Sockets, uint64(n))
	}
	if q.From, err = control.ParseFrom(f.from); err != nil {
		return q, command.Usagef("--from %w", err)
	}
	if f.keys && !f.json {
		return q, command.Usagef("--show-keys: lines for people have no keys; it needs --json")
	}
	q.Past, q.Keys = f.past, f.keys
	return q, nil
}

// isMessage says whether any dialect has a message of that name.
func isMessage(name string) bool {
	return slices.ContainsFunc(wire.Dialects(), func(d *wire.Dialect) bool {
		_, ok := d.MsgByName(name)
		return ok
	})
}

// errCounted ends a watch that has seen enough.
var errCounted = errors.New("that many events are enough")

func (e *env) runWatch(ctx context.Context, f *watchFlags, q control.EventQuery) error {
	c, a, err := dial(f.engine)
	if err != nil {
		return err
	}
	defer c.Close()
	w := watcher{paint: e.colour.Wanted(e.stdout)}
	if !f.full {
		w.columns = columnsOf(e.stdout)
	}
	n := uint64(0)
	ready := false
	begin := func() {
		ready = true
		fmt.Fprintln(e.stderr, "watching", a)
	}
	print := func(line []byte) error {
		if _, err := e.stdout.Write(line); err != nil {
			return command.Failed(fmt.Errorf("writing events: %w", err))
		}
		if n++; n == f.count {
			return errCounted
		}
		return nil
	}
	if f.json {
		err = c.EventLines(ctx, q, begin, print)
	} else {
		err = c.Events(ctx, q, begin, func(ev event.Event) error { return print([]byte(w.line(&ev))) })
	}
	switch _, ours := errors.AsType[*command.Failure](err); {
	case ours:
		return err
	case errors.Is(err, errCounted), ctx.Err() != nil:
		return nil
	case !ready:
		return command.Reached(command.At(a, err))
	case err == nil && f.past:
		return nil
	case err == nil, errors.Is(err, syscall.ECONNRESET):
		fmt.Fprintln(e.stderr, "the engine has gone away")
		return nil
	}
	return command.Failed(err)
}

// columnsOf is how many columns a terminal has; 0 for what is none.
func columnsOf(out any) int {
	f, ok := out.(*os.File)
	if !ok {
		return 0
	}
	n, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return n
}

// watcher makes the lines of events.
type watcher struct {
	paint   terminal.Painter
	columns int    // 0: as many as there are
	day     string // of the last event
}

// line is an event for people, with a line before it when the day is another one.
func (w *watcher) line(e *event.Event) string {
	var day string
	if d := e.Time.UTC().Format(time.DateOnly); d != w.day {
		w.day = d
		if w.columns > 0 {
			d = cut(d, w.columns)
		}
		day = w.paint.Paint(terminal.Dim, d) + "\n"
	}
	who, what, colour := tell(e)
	at := e.Time.UTC().Format("15:04:05.000000")
	text := printable(fmt.Sprintf("%-12s %s", who, what))
	if room := w.columns - len(at) - 2; w.columns > 0 {
		at, text = cut(at, w.columns), cut(text, max(room, 0))
	}
	return day + w.paint.Paint(terminal.Dim, at) + strings.TrimRight("  "+w.paint.Paint(colour, text), " ") + "\n"
}

// tell says who does what, and in which colour.
func tell(e *event.Event) (who, what, colour string) {
	who = fmt.Sprintf("socket %d", e.Socket)
	switch e.Type {
	case event.Opened, event.Closed:
		return who, fmt.Sprintf("%s by process %d", e.Type, e.PID), terminal.Dim
	case event.Message:
		if e.Message == nil {
			return who + " >", "an empty message", terminal.Red
		}
		if e.Message.Errno != "" {
			colour = terminal.Red
		}
		if e.Message.To == event.ToKernel {
			return who + " >", e.Message.Line, terminal.Cyan
		}
		return who + " <", e.Message.Line, colour
	case event.Lost:
		what = "lost: no room in the queue"
		if e.Message != nil {
			what += " for " + e.Message.Line
		}
		return who, what, terminal.Red
	case event.Refused:
		return who, "send fails: " + e.Errno, terminal.Red
	case event.SA:
		return "sa " + e.SA.SPI, tellSA(e.SA), terminal.StateColour(e.SA.To)
	case event.Packet:
		return fmt.Sprintf("packet %d", e.Packet.ID), tellPacket(e.Packet), terminal.VerdictColour(e.Packet.Verdict)
	case event.Clock:
		to := e.Clock.To.UTC()
		return "clock", fmt.Sprintf("moves by %v to %s", to.Sub(e.Time), to.Format(time.DateTime)), terminal.Bold
	case event.Missing:
		what, why := "event", whyMissing[e.Missing.Why]
		if e.Missing.Of == event.Packet {
			what = "packet"
		}
		return "missing", strings.TrimSuffix(command.Count(int(e.Missing.Count), what)+": "+why, ": "), terminal.Yellow
	}
	return string(e.Type), "", ""
}

// whyMissing are the reasons in words.
var whyMissing = map[string]string{
	event.WhyUnread: "more came than are taken down while nobody watches",
	event.WhyFast:   "more came than are taken down",
	event.WhySlow:   "they came faster than they could be shown",
}

// tellSA is a change of an SA.
func tellSA(s *event.SAEvent) string {
	from := s.From
	if from == "" {
		from = "new"
	}
	return strings.Join(strings.Fields(fmt.Sprintf("%s > %s  %s %s > %s", from, s.To, s.Type, s.Src, s.Dst)), " ")
}

// tellPacket is a verdict, and the packet that it is about.
func tellPacket(p *event.PacketEvent) string {
	s := p.Verdict
	data, inner := inWords(p.Data), inWords(p.Inner)
	if p.Reason != "" {
		s += " " + p.Reason
		if p.Counter != "" {
			s += " (" + p.Counter + ")"
		}
	}
	if inner != "" {
		return strings.TrimSpace(s + " " + inner)
	}
	return strings.TrimSpace(s + " " + data)
}

// inWords is an IP packet in hexadecimal, in words.
func inWords(text string) string {
	b, err := hex.DecodeString(text)
	if err != nil {
		return ""
	}
	return packetline.Of(b)
}

// printable leaves nothing in a text that a terminal would act upon.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// cut is at most so many characters of a text, and shows that there are more.
func cut(s string, n int) string {
	r := []rune(s)
	switch {
	case len(r) <= n:
		return s
	case n == 0:
		return ""
	}
	return string(r[:n-1]) + "…"
}
