// Keymanager is a small but complete key manager, to show how a program uses package pfkey: it registers, waits for
// ACQUIREs, makes security associations by GETSPI, UPDATE and ADD, renews them when they are about to expire and
// deletes them when they have.
//
// Two of them, one for each end, agree on keys by three messages through a pipe. That is no key exchange, it has no
// security whatever: it takes the place of IKE, so that the example can be read in one sitting.
//
//	go run ./examples/keymanager                                  # illumos here, Linux there, both emulated
//	go run ./examples/keymanager --engine af_key: --lifetime 8s   # this machine's Linux, as root, and one emulated
//
// With af_key: the address of --local must be one of the machine, and that of --peer must be one to which it has a
// route, such as that of a dummy interface. The command ends when the keys have been made, used, renewed, used again
// and the old ones deleted, with "success" and exit code 0.
//
// The manager is in manager.go and knows no kernel: the same code runs on every one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stdout); {
	case errors.Is(err, flag.ErrHelp):
	case errors.As(err, new(usageError)):
		fmt.Fprintln(os.Stderr, "keymanager:", err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "keymanager:", err)
		os.Exit(1)
	}
}

// usageError is what is wrong with the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func run(ctx context.Context, args []string, stdout io.Writer) (err error) {
	flags := flag.NewFlagSet("keymanager", flag.ContinueOnError)
	flags.SetOutput(stdout)
	engineA := flags.String("engine", "illumos",
		"the kernel at this end: `KERNEL` emulates one here, KERNEL:PATH is a running engine, af_key: this machine's own")
	engineB := flags.String("peer-engine", "linux", "the `KERNEL` at the other end, likewise")
	local := flags.String("local", "192.0.2.1", "`ADDRESS` of this end")
	peer := flags.String("peer", "192.0.2.2", "`ADDRESS` of the other end")
	lifetime := flags.Duration("lifetime", time.Minute,
		"how long keys live; they are renewed after three quarters of that")
	speed := flags.Int("speed", 0,
		"how many times faster the clocks of emulated kernels run (default 20 if both are emulated here, else 1)")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	addrA, errA := netip.ParseAddr(*local)
	addrB, errB := netip.ParseAddr(*peer)
	hard := uint64(*lifetime / time.Second)
	switch {
	case errA != nil || errB != nil:
		return usageError{errors.Join(errA, errB)}
	case !addrA.Is4() || !addrB.Is4():
		return usageError{errors.New("the packets of this example are IPv4")}
	case hard < 4 || *speed < 0 || flags.NArg() > 0:
		return usageError{errors.New(
			"a lifetime has at least 4 seconds, a speed is not negative, and there are no arguments")}
	}
	if *speed == 0 {
		*speed = 1
		if emulated(*engineA) && emulated(*engineB) {
			*speed = 20
		}
	}

	ctx, cancel := context.WithCancelCause(ctx)
	var managing sync.WaitGroup
	defer managing.Wait()
	defer cancel(nil)
	c := &cycle{out: stdout, notes: make(chan endNote, 64)}
	connA, connB := net.Pipe()
	for i, at := range []struct {
		engine      string
		addr, other netip.Addr
		conn        net.Conn
	}{{*engineA, addrA, addrB, connA}, {*engineB, addrB, addrA, connB}} {
		h, err := openHost(ctx, at.engine, at.addr, at.other, *speed)
		if err != nil {
			return err
		}
		defer func() {
			cancel(nil)
			managing.Wait()
			h.close()
		}()
		e := &end{host: h, counts: map[string]int{}}
		c.ends[i] = e
		e.manager = newManager(h.client, newLink(at.conn), at.addr, at.other, hard*3/4, hard, func(n note) {
			select {
			case c.notes <- endNote{e, n}:
			case <-ctx.Done():
			}
		})
	}
	registered := make(chan struct{}, 2)
	for _, e := range c.ends {
		e.manager.ready = func() { registered <- struct{}{} }
		managing.Go(func() {
			if err := e.manager.run(ctx); err != nil {
				cancel(fmt.Errorf("%s: %w", e.addr, err))
			}
		})
	}
	for range c.ends {
		select {
		case <-registered:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return c.run(ctx)
}

// An end is a host with its manager, and how often it has said what.
type end struct {
	*host
	manager *manager
	counts  map[string]int
	newest  *pair
}

type endNote struct {
	end *end
	note
}

// A cycle is the life of keys, watched from both ends.
type cycle struct {
	out   io.Writer
	ends  [2]*end
	notes chan endNote
}

// run makes it happen, by sending packets and waiting.
func (c *cycle) run(ctx context.Context) error {
	a, b := c.ends[0], c.ends[1]
	fmt.Fprintf(c.out, "%s sends a packet to %s, for which there are no keys\n", a.addr, b.addr)
	if _, err := a.send(ctx); err != nil {
		return err
	}
	for _, until := range []struct {
		what  string
		times int
	}{{"established", 1}, {"established", 2}, {"deleted", 1}} {
		for a.counts[until.what] < until.times || b.counts[until.what] < until.times {
			if err := c.note(ctx); err != nil {
				return err
			}
		}
		if err := c.talk(ctx, a, b); err != nil {
			return err
		}
		if err := c.talk(ctx, b, a); err != nil {
			return err
		}
	}
	fmt.Fprintln(c.out, "success: keys were made, used, renewed, used again, and the old ones deleted")
	return nil
}

// note waits for the next thing that a manager has done.
func (c *cycle) note(ctx context.Context) error {
	select {
	case n := <-c.notes:
		if n.err != nil {
			return fmt.Errorf("%s: negotiation %s has failed: %w", n.end.addr, n.pair.id, n.err)
		}
		n.end.counts[n.what]++
		if n.what == "established" {
			n.end.newest = n.pair
		}
		fmt.Fprintf(c.out, "%s has %s %s: SPI %s in, %s out\n", n.end.addr, n.what, n.pair.id, n.pair.in, n.pair.out)
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// talk sends a packet from one end, sees that the newest keys protect it, and that the other end opens it, as far as it
// can be seen. If the keys have died before they were used, because this process has slept, it goes on with those that
// come next.
func (c *cycle) talk(ctx context.Context, from, to *end) error {
	for {
		sealed, err := from.send(ctx)
		if err != nil {
			return err
		}
		sa, err := from.client.Get(ctx, from.manager.outbound(from.newest).SAID)
		switch {
		case err != nil && !absent(err):
			return err
		case err != nil || sa.Current == nil || sa.Current.Bytes == 0:
			if err := c.note(ctx); err != nil {
				return err
			}
			continue
		}
		seen := "its way cannot be seen"
		if sealed != nil && to.open != nil {
			if err := to.open(sealed); err != nil {
				return err
			}
			seen = "the other end opens it"
		}
		fmt.Fprintf(c.out, "%s sends a packet, protected by %s; %s\n", from.addr, sa.SPI, seen)
		return nil
	}
}
