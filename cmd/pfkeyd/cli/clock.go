package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/internal/control"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

func (e *env) clock() *cobra.Command {
	var engines []string
	var asJSON bool
	var settle time.Duration
	cmd := &cobra.Command{
		Use:   "clock [+DURATION]",
		Short: "Show the clock of a running engine, or move it",
		Long: `Clock shows the clock of a running engine and when it has something to do next.
With +DURATION, such as +90s, +8h or +1h30m, it moves the clock forward and runs
everything that is due on the way. Only the clock of an engine that was started
with --clock virtual can be moved.

With several --engine it moves their clocks together, from one thing that is due
to the next, whichever engine that is in. When something has happened it waits
until all of them have been quiet for a while (--settle), and ten times as long
while messages are unread, SAs are LARVAL or DYING, or ACQUIREs unanswered: so
programs above them, such as IKE daemons that make new keys with each other, have
finished before time goes on.`,
		Example: `  pfkeyd clock
  pfkeyd clock +8h
  pfkeyd clock --engine linux:/tmp/a.sock --engine linux:/tmp/b.sock +8h`,
		Args: command.MaxArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var by time.Duration
			if len(args) == 1 {
				var err error
				by, err = time.ParseDuration(strings.TrimPrefix(args[0], "+"))
				if err != nil || !strings.HasPrefix(args[0], "+") || by <= 0 {
					return command.Usagef("clock %q: how far to move it is wanted, such as +90s or +8h", args[0])
				}
			}
			if settle < 0 {
				return command.Usagef("--settle %v: how long is wanted", settle)
			}
			clocks, err := openClocks(engines)
			if err != nil {
				return err
			}
			defer clocks.close()
			own := slices.IndexFunc(clocks, func(c *engineClock) bool { return kernels.Own(c.address.Kernel) })
			if by > 0 && own >= 0 {
				return command.Usagef("clock: %s: its time is this machine's", clocks[own].address)
			}
			if len(clocks) > 1 && by > 0 {
				err = clocks.moveTogether(cmd.Context(), by, settle)
			} else {
				err = clocks.each(func(c *engineClock) error { return c.move(cmd.Context(), by) })
			}
			if err != nil {
				return err
			}
			return e.printClocks(clocks, asJSON)
		},
	}
	cmd.Flags().StringArrayVar(&engines, "engine", nil, command.EngineHelp+"; repeatable")
	completeEngine(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one object for each engine")
	cmd.Flags().DurationVar(&settle, "settle", 300*time.Millisecond,
		"of several engines: how long all of them must be quiet, a `TIME`, before their clocks go on")
	return cmd
}

// engineClock is the clock of one engine, and what it showed last.
type engineClock struct {
	address pfkey.Address
	client  *control.Client
	shows   control.Clock
}

type engineClocks []*engineClock

// openClocks finds the engines; nobody is asked anything yet.
func openClocks(engines []string) (all engineClocks, err error) {
	if len(engines) == 0 {
		engines = []string{""}
	}
	for _, name := range engines {
		c, a, err := dial(name)
		if err == nil && slices.ContainsFunc(all, func(o *engineClock) bool { return o.address == a }) {
			c.Close()
			err = command.Usagef("--engine %s is there twice", a)
		}
		if err != nil {
			all.close()
			return nil, err
		}
		all = append(all, &engineClock{address: a, client: c})
	}
	return all, nil
}

func (all engineClocks) close() {
	for _, c := range all {
		c.client.Close()
	}
}

func (all engineClocks) each(f func(*engineClock) error) error {
	for _, c := range all {
		if err := f(c); err != nil {
			return err
		}
	}
	return nil
}

// move moves the clock, or reads it if it is to stay.
func (c *engineClock) move(ctx context.Context, by time.Duration) (err error) {
	if by > 0 {
		c.shows, err = c.client.Advance(ctx, by)
	} else {
		c.shows, err = c.client.Clock(ctx)
	}
	return command.Reached(command.At(c.address, err))
}

// moveTogether moves all clocks by the same time, from one thing that is due to the next.
func (all engineClocks) moveTogether(ctx context.Context, by, settle time.Duration) error {
	for _, c := range all {
		if err := c.move(ctx, 0); err != nil {
			return err
		}
		if !c.shows.Virtual {
			return command.Failed(fmt.Errorf("%s: the clock is the machine's; start the engine with --clock virtual",
				c.address))
		}
	}
	seen, err := all.look(ctx)
	for left := by; left > 0 && err == nil; {
		step := min(all.nextDue(), left)
		// What is due in the first engine may make something in the second, whose clock has not moved yet. So all come
		// close first, and the rest of the way is too short to matter.
		for _, part := range []time.Duration{step - last, min(step, last)} {
			if err == nil && part > 0 {
				err = all.each(func(c *engineClock) error { return c.move(ctx, part) })
			}
		}
		if err == nil {
			seen, err = all.settled(ctx, seen, settle)
		}
		if err == nil {
			left -= step
			continue
		}
		if ctx.Err() != nil {
			err = command.Failed(errors.New("interrupted"))
		}
		err = fmt.Errorf("after %v of %v: %w", by-left, by, err)
	}
	if err != nil {
		return err
	}
	return all.each(func(c *engineClock) error { return c.move(ctx, 0) }) // something may have come to be due meanwhile
}

// last is how far clocks may be apart at the moment in which something is due.
const last = time.Millisecond

// nextDue is how long it is until the first engine has something to do; a day if none has.
func (all engineClocks) nextDue() time.Duration {
	step := 24 * time.Hour
	for _, c := range all {
		if c.shows.Next != nil {
			step = min(step, max(c.shows.Next.Sub(c.shows.Now), time.Millisecond))
		}
	}
	return step
}

// looked is how many SAs, ACQUIREs and policies of an engine are looked at to see whether something happens there.
const looked = 1000

// a view is what can be seen of all engines, but for the time.
type view struct {
	text    string
	pending bool // key management has something to do: a message to read, an SA to complete or to replace
}

func (all engineClocks) look(ctx context.Context) (v view, err error) {
	var b strings.Builder
	for _, c := range all {
		st, err := c.client.Status(ctx, looked)
		if err != nil {
			return v, command.Reached(command.At(c.address, err))
		}
		c.shows.Next = st.Next
		v.pending = v.pending || isPending(&st)
		st.Now, st.Next, st.Servers = time.Time{}, nil, nil
		text, err := json.Marshal(st)
		if err != nil {
			return v, command.Failed(err)
		}
		b.Write(text)
	}
	v.text = b.String()
	return v, nil
}

func isPending(st *control.Status) bool {
	return st.AcquireCount > 0 ||
		slices.ContainsFunc(st.Sockets, func(s status.Socket) bool { return s.Queued > 0 }) ||
		slices.ContainsFunc(st.SAs, func(s status.SA) bool { return s.State == "larval" || s.State == "dying" })
}

const (
	// patient times the time to settle is how long the clocks wait for what is pending, while nothing happens: perhaps
	// nobody is there to do it.
	patient = 10
	// blink is how often engines are looked at while they settle.
	blink = 10 * time.Millisecond
)

// settled waits until nothing has happened in the engines for a while, if anything has happened since they were looked
// at before. It returns what is seen then.
func (all engineClocks) settled(ctx context.Context, before view, settle time.Duration) (now view, err error) {
	if now, err = all.look(ctx); err != nil || now.text == before.text {
		return now, err
	}
	for changed := time.Now(); ; {
		quiet := time.Since(changed)
		if quiet >= patient*settle || quiet >= settle && !now.pending {
			return now, nil
		}
		select {
		case <-ctx.Done():
			return now, ctx.Err()
		case <-time.After(blink):
		}
		next, err := all.look(ctx)
		if err != nil {
			return now, err
		}
		if next.text != now.text {
			changed = time.Now()
		}
		now = next
	}
}

// printClocks shows what the clocks show.
func (e *env) printClocks(all engineClocks, asJSON bool) error {
	return all.each(func(c *engineClock) error {
		if asJSON {
			if len(all) == 1 {
				return e.printJSON(c.shows)
			}
			return e.printJSON(struct {
				Engine string `json:"engine"`
				control.Clock
			}{c.address.String(), c.shows})
		}
		kind := "real"
		if c.shows.Virtual {
			kind = "virtual"
		}
		if len(all) > 1 {
			fmt.Fprintf(e.stdout, "%s\n  ", c.address)
		}
		fmt.Fprintf(e.stdout, "%s  %s", c.shows.Now.UTC().Format(time.DateTime), kind)
		if c.shows.Next != nil {
			fmt.Fprintf(e.stdout, "  next due in %s", c.shows.Next.Sub(c.shows.Now).Round(time.Second))
		}
		fmt.Fprintln(e.stdout)
		return nil
	})
}
