package conform

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/files"
)

// Play plays the actions of a scenario on a target and returns a recording of what it answered; the outcomes in sc are
// not looked at. What another kernel may answer otherwise, such as times and SPIs that were picked, is marked as far as
// the format shows it.
func Play(t Target, kernel string, sc *Scenario) (*Scenario, error) {
	f, err := familyOf(kernel)
	if err != nil {
		return nil, err
	}
	r := play(t, f, sc)
	return r.recording(f, sc)
}

// recording is sc with what was played, marked.
func (r *playing) recording(f *family, sc *Scenario) (*Scenario, error) {
	switch {
	case r.err != nil:
		return nil, r.err
	case r.skip != "":
		return nil, errors.New(r.skip)
	}
	rec := sc.clone()
	rec.Panic = false
	k := newMarker(f)
	for i := range rec.Steps {
		if i >= len(r.outs) {
			return nil, fmt.Errorf("step %d: not played", i+1)
		}
		if len(r.outs[i].trouble) > 0 {
			return nil, fmt.Errorf("step %d: %w: %s", i+1, errTrouble, r.outs[i].trouble[0])
		}
		rec.Steps[i].Outcome = r.outs[i]
		k.step(&rec.Steps[i])
	}
	return rec, nil
}

// errTrouble is in the chain when a step could not be done as it is written.
var errTrouble = errors.New("not possible")

// RecordConfig says what to play on what, and where the recording goes.
type RecordConfig struct {
	Kernel string   // whose operations the scenarios use
	Paths  []string // files and folders of scenarios, whose outcomes are not looked at
	Target Target
	Out    string // file; "" or "-": standard output

	// Random, if not 0, is how many messages to send in conversations made of Seed, instead of the scenarios in files.
	Random int
	Seed   uint64

	Workers  int           // scenarios played at a time; 0: as many as the target can stand
	Patience time.Duration // after which a scenario that does not come back ends the recording; 0: never

	Words func(error) string // how errors are worded; nil: as they are
}

// maxUnhurried is how long a random conversation may take. A kernel does some things a second later, and a conversation
// that was held up would be another one.
const maxUnhurried = 800 * time.Millisecond

// tries is how often a conversation that took too long is begun again.
const tries = 5

// Record is the command "pfkeyd record": it plays scenarios on a target and writes what came back, one line for each.
// It returns the exit code, as [Main] does.
func Record(ctx context.Context, c RecordConfig, stdout, stderr io.Writer) (code int) {
	complain := func(err error) {
		if c.Words != nil {
			err = errors.New(c.Words(err))
		}
		fmt.Fprintf(stderr, "pfkeyd record: %v\n", err)
	}
	f, err := familyOf(c.Kernel)
	if err != nil {
		complain(err)
		return exitUsage
	}
	var scs []*Scenario
	if c.Random > 0 {
		if f.converse == nil {
			complain(fmt.Errorf("there are no random conversations with %s", c.Kernel))
			return exitUsage
		}
		scs = f.converse(c.Seed, c.Random+c.Random/4) // more than needed: some are left out
	} else {
		var bad []error
		if scs, _, bad = load(ctx, f, c.Paths); len(bad) > 0 {
			for _, err := range bad {
				complain(err)
			}
			return exitUsage
		}
		if ctx.Err() != nil {
			complain(files.ErrInterrupted)
			return exitFailed
		}
	}
	m, err := c.Target.Boot(&Scenario{}, nil)
	if err != nil {
		complain(err)
		if _, ok := errors.AsType[*GoneError](err); ok {
			return exitNoEngine
		}
		return exitUsage
	}
	m.Close()
	w := stdout
	if c.Out != "" && c.Out != "-" {
		file, err := files.Create(ctx, c.Out, 0o666)
		if err != nil {
			complain(err)
			return exitUsage
		}
		defer func() {
			if err := file.Close(); err != nil && code == exitDone {
				complain(err)
				code = exitFailed
			}
		}()
		w = file
	}
	buf := bufio.NewWriter(w)
	messages, written, left, failed := 0, 0, 0, 0
	type result struct {
		rec *Scenario
		err error
	}
	switch live, ok := c.Target.(Live); {
	case c.Workers != 0 || !ok:
	case c.Random > 0:
		c.Workers = 1 // these never wait, and several on one processor only hold each other up
	default:
		c.Workers = live.workers()
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	err = inOrder(ctx, len(scs), c.Workers, func(i int) result {
		rec, err := c.record(ctx, f, scs[i])
		return result{rec, err}
	}, func(i int, r result) {
		if c.Random > 0 && messages >= c.Random {
			stop(errEnough)
			return
		}
		switch {
		case errors.Is(r.err, errHeldUp), c.Random > 0 && errors.Is(r.err, errTrouble):
			left++
			return
		case r.err != nil:
			complain(fmt.Errorf("%s: %w", scs[i].Name, r.err))
			failed++
			if errors.Is(r.err, errStuck) {
				stop(r.err) // the others would only wait as long
			}
			return
		}
		for k := range r.rec.Steps {
			if r.rec.Steps[k].Op == "send" {
				messages++
			}
		}
		written++
		if err := r.rec.Write(buf); err != nil {
			stop(err)
		}
	})
	if err != nil && !errors.Is(err, errEnough) {
		complain(fmt.Errorf("stopped after %d scenarios: %w", written, err))
		failed++
	}
	if err := buf.Flush(); err != nil {
		complain(err)
		return exitFailed
	}
	fmt.Fprintf(stderr, "pfkeyd record: %d %s, %d %s sent",
		written, plural(written, "scenario"), messages, plural(messages, "message"))
	if c.Random > 0 {
		fmt.Fprintf(stderr, ", seed %d, %d left out: held up, or a message to repeat did not come", c.Seed, left)
	}
	fmt.Fprintln(stderr)
	if c.Random > 0 && messages < c.Random {
		complain(fmt.Errorf("%d messages were wanted", c.Random))
		failed++
	}
	if failed > 0 {
		return exitFailed
	}
	return exitDone
}

var (
	errHeldUp = errors.New("held up")
	errEnough = errors.New("all messages are sent")
)

// record plays one scenario; a random conversation that was held up, again.
func (c *RecordConfig) record(ctx context.Context, f *family, sc *Scenario) (*Scenario, error) {
	for range tries {
		p := patiently(ctx, c.Patience, c.Target, f, sc)
		if rec, err := p.recording(f, sc); err != nil || c.Random == 0 || p.took < maxUnhurried {
			return rec, err
		}
	}
	return nil, errHeldUp
}
