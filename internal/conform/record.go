package conform

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Play plays the actions of a scenario on a target and returns a recording of what it answered; the outcomes in sc are
// not looked at. What another kernel may answer otherwise, such as times and SPIs that were picked, is marked as far as
// the format shows it.
func Play(t Target, k *Kernel, sc *Scenario) (*Scenario, error) {
	r := play(t, k, sc)
	return r.recording(k, sc)
}

// recording is sc with what was played, marked.
func (r *playing) recording(k *Kernel, sc *Scenario) (*Scenario, error) {
	switch {
	case r.err != nil:
		return nil, r.err
	case r.skip != "":
		return nil, errors.New(r.skip)
	}
	rec := sc.Clone()
	rec.Panic = false
	m := newMarks(k)
	for i := range rec.Steps {
		if i >= len(r.outs) {
			return nil, fmt.Errorf("step %d: not played", i+1)
		}
		if len(r.outs[i].trouble) > 0 {
			return nil, fmt.Errorf("step %d: %w: %s", i+1, errTrouble, r.outs[i].trouble[0])
		}
		rec.Steps[i].Outcome = r.outs[i]
		m.step(&rec.Steps[i])
	}
	return rec, nil
}

// errTrouble is in the chain when a step could not be done as it is written.
var errTrouble = errors.New("not possible")

// RecordConfig says what to record, and on what.
type RecordConfig struct {
	Kernel    *Kernel     // whose operations the scenarios use
	Scenarios []*Scenario // whose outcomes are not looked at
	Target    Target
	// Messages, if not 0, is how many messages to send. The scenarios are then conversations made up, of which some may
	// be left out: those that were held up, and those that cannot be done.
	Messages int

	Workers  int           // scenarios played at a time; 0: as many as the target can stand
	Patience time.Duration // after which a scenario that does not come back ends the recording; 0: never
}

// Recorded is how a recording went.
type Recorded struct {
	Scenarios, Messages int // that were recorded, and sent in them
	LeftOut             int
}

// maxUnhurried is how long a random conversation may take. A kernel does some things a second later, and a conversation
// that was held up would be another one.
const maxUnhurried = 800 * time.Millisecond

// tries is how often a conversation that took too long is begun again.
const tries = 5

// Record plays scenarios and hands over what came back, in their order, one at a time: a recording, or what kept the
// scenario from being played. [Try] says beforehand whether the target can be played on. The error is what write
// returned, or why the rest was not played.
func Record(ctx context.Context, c RecordConfig, write func(sc, rec *Scenario, err error) error) (Recorded, error) {
	var did Recorded
	switch live, ok := c.Target.(Live); {
	case c.Workers != 0 || !ok:
	case c.Messages > 0:
		c.Workers = 1 // these never wait, and several on one processor only hold each other up
	default:
		c.Workers = live.Workers()
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	type result struct {
		rec *Scenario
		err error
	}
	err := inOrder(ctx, len(c.Scenarios), c.Workers, func(i int) result {
		rec, err := c.record(ctx, c.Scenarios[i])
		return result{rec, err}
	}, func(i int, r result) {
		if c.Messages > 0 && did.Messages >= c.Messages {
			stop(errEnough)
			return
		}
		if errors.Is(r.err, errHeldUp) || c.Messages > 0 && errors.Is(r.err, errTrouble) {
			did.LeftOut++
			return
		}
		if r.err == nil {
			did.Scenarios++
			for k := range r.rec.Steps {
				if r.rec.Steps[k].Message() != nil {
					did.Messages++
				}
			}
		} else if errors.Is(r.err, errStuck) {
			stop(r.err) // the others would only wait as long
		}
		if err := write(c.Scenarios[i], r.rec, r.err); err != nil {
			stop(err)
		}
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return did, err
}

var (
	errHeldUp = errors.New("held up")
	errEnough = errors.New("all messages are sent")
)

// record plays one scenario; a random conversation that was held up, again.
func (c *RecordConfig) record(ctx context.Context, sc *Scenario) (*Scenario, error) {
	for range tries {
		p := patiently(ctx, c.Patience, c.Target, c.Kernel, sc)
		if rec, err := p.recording(c.Kernel, sc); err != nil || c.Messages == 0 || p.took < maxUnhurried {
			return rec, err
		}
	}
	return nil, errHeldUp
}
