package conform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"runtime"
	"sync"
	"time"
)

// Config says what to play on what. The zero value of everything but Kernel is useful.
type Config struct {
	Kernel string   // whose recordings, such as "illumos"
	Paths  []string // files and folders of recordings; none: those built in
	Run    string   // regular expression: only scenarios whose name matches; empty: all

	Target Target // nil: an [InProcess] made of what follows
	// Addrs are the own addresses of the emulated host; nil: those of the recordings' host.
	Addrs    []netip.Addr
	Tunables map[string]string // the kernel's own tunables, by name
	Fault    string            // a deliberate fault of the emulator, by name

	Workers  int           // scenarios played at a time; 0: one for each processor
	Patience time.Duration // after which a scenario that does not come back counts as failed; 0: never

	Verbose  bool // Main: every scenario, and all differences of those that failed
	JSON     bool // Main: one object a line instead of text
	ShowKeys bool // Main: key bytes as they are

	// Progress, if set, is called after each scenario, in order, with how many are done. Observe, if set, gets its result.
	Progress func(done, total int)
	Observe  func(Result)
}

// Status is how a scenario went.
type Status string

// A scenario that passed did all that the recording has, or deviated from it as listed.
const (
	Passed  Status = "passed"
	Failed  Status = "failed"
	Skipped Status = "skipped" // it needs what the target has not
)

// Result is how one scenario went.
type Result struct {
	Scenario    string       `json:"scenario"`
	File        string       `json:"file"`
	Line        int          `json:"line"`
	Status      Status       `json:"status"`
	Deviations  []string     `json:"deviations,omitempty"` // names of those it took to pass
	Skipped     string       `json:"skipped,omitempty"`    // why
	Differences []Difference `json:"differences,omitempty"`
}

// Report is how a run went. Passed + Failed + Skipped is the number of scenarios.
type Report struct {
	Results    []Result
	Unreadable []error // an *[InputError] for each place of the input that could not be played

	Passed, Failed, Skipped int
	Deviating               int // scenarios that passed with deviations
}

// Deviations counts the scenarios for each deviation, by name.
func (r *Report) Deviations() map[string]int {
	n := map[string]int{}
	for _, x := range r.Results {
		for _, d := range x.Deviations {
			n[d]++
		}
	}
	return n
}

// A UsageError is a request that makes no sense: an unknown kernel, a broken pattern.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UsageError) Unwrap() error { return e.Err }

// Run plays recordings and judges what came back. Scenarios that differ are no error; they are in the report. The error is a
// *[UsageError], or that of a ctx that ended, with the report of what was done until then.
func Run(ctx context.Context, c Config) (Report, error) {
	var rep Report
	f, err := familyOf(c.Kernel)
	if err != nil {
		return rep, &UsageError{err}
	}
	var pattern *regexp.Regexp
	if c.Run != "" {
		if pattern, err = regexp.Compile(c.Run); err != nil {
			return rep, &UsageError{err}
		}
	}
	t := c.Target
	if t == nil {
		t = InProcess{Kernel: c.Kernel, Addrs: c.Addrs, Tunables: c.Tunables, Fault: c.Fault}
	}
	if m, err := t.Boot(&Scenario{}, nil); err != nil { // a bad tunable or fault is told once, not for each scenario
		return rep, &UsageError{err}
	} else {
		m.Close()
	}
	all, bad := load(f, c.Paths)
	rep.Unreadable = bad
	var scs []*Scenario
	for _, sc := range all {
		if pattern == nil || pattern.MatchString(sc.Name) {
			scs = append(scs, sc)
		}
	}
	err = inOrder(ctx, len(scs), c.Workers, func(i int) Result { return scenario(ctx, t, f, scs[i], c.Patience, c.ShowKeys) }, func(i int, r Result) {
		rep.add(r)
		if c.Observe != nil {
			c.Observe(r)
		}
		if c.Progress != nil {
			c.Progress(i+1, len(scs))
		}
	})
	return rep, err
}

func (r *Report) add(x Result) {
	r.Results = append(r.Results, x)
	switch x.Status {
	case Passed:
		r.Passed++
		if x.Deviations != nil {
			r.Deviating++
		}
	case Failed:
		r.Failed++
	case Skipped:
		r.Skipped++
	}
}

// inOrder calls do for 0 to n-1, several at a time, and take with the results, one at a time and in order.
func inOrder[T any](ctx context.Context, n, workers int, do func(int) T, take func(int, T)) error {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	results := make([]chan T, n)
	for i := range results {
		results[i] = make(chan T, 1)
	}
	ctx, stop := context.WithCancel(ctx)
	next := make(chan int)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { // hands out the work
		defer close(next)
		for i := range n {
			select {
			case next <- i:
			case <-ctx.Done():
				return
			}
		}
	})
	for range workers {
		wg.Go(func() {
			for i := range next {
				results[i] <- do(i)
			}
		})
	}
	for i := range n {
		select {
		case r := <-results[i]:
			take(i, r)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

type playing struct {
	outs []Outcome
	skip string
	err  error
}

// scenario plays and judges one.
func scenario(ctx context.Context, t Target, f *family, sc *Scenario, patience time.Duration, showKeys bool) Result {
	r := Result{Scenario: sc.Name, File: sc.File, Line: sc.Line, Status: Failed}
	if patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, patience, fmt.Errorf("the emulator did not come back within %v", patience))
		defer cancel()
	}
	// In a goroutine of its own, which is left behind if the machine is stuck: then it has proved its point.
	done := make(chan playing, 1)
	go func() {
		outs, skip, err := play(t, f, sc)
		done <- playing{outs, skip, err}
	}()
	var p playing
	select {
	case p = <-done:
	case <-ctx.Done():
		p.err = context.Cause(ctx)
	}
	switch {
	case p.err != nil:
		r.Differences = []Difference{{Step: 1, Op: sc.Steps[0].Op, Field: "play", What: p.err.Error()}}
		return r
	case p.skip != "":
		r.Status, r.Skipped = Skipped, p.skip
		return r
	}
	// What a panic cut off is not there to be judged, but the panic itself is.
	steps := func(sc *Scenario) []Step { return sc.Steps[:min(len(sc.Steps), len(p.outs))] }
	r.Differences = compare(f, steps(sc), p.outs, showKeys)
	if len(r.Differences) > 0 || sc.Panic {
		amended := sc.clone()
		for _, d := range f.deviations {
			if d.amend(amended) {
				r.Deviations = append(r.Deviations, d.name)
			}
		}
		if r.Deviations != nil {
			// If neither fits, the nearer one is the better report.
			if diff := compare(f, steps(amended), p.outs, showKeys); len(diff) < len(r.Differences) || len(diff) == 0 {
				r.Differences = diff
			}
		}
	}
	if len(r.Differences) == 0 {
		r.Status = Passed
	} else {
		r.Deviations = nil
	}
	return r
}

// clone copies a scenario deeply.
func (sc *Scenario) clone() *Scenario {
	b, err := json.Marshal(sc)
	c := new(Scenario)
	if err = errors.Join(err, json.Unmarshal(b, c)); err != nil {
		panic("conform: a scenario that was read cannot be copied: " + err.Error())
	}
	c.File, c.Line = sc.File, sc.Line
	return c
}
