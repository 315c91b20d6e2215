package conform

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"regexp/syntax"
	"runtime"
	"sync"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/files"
)

// Config says what to play on what. The zero value of everything but Kernel is useful.
type Config struct {
	Kernel *Kernel  // whose recordings
	Paths  []string // files and folders of recordings; none: those built in
	Run    string   // regular expression: only scenarios whose name matches; empty: all

	Target Target // nil: an [InProcess] made of what follows
	// Addrs are the own addresses of the emulated host; nil: those of the recordings' host.
	Addrs    []netip.Addr
	Tunables map[string]string // the kernel's own tunables, by name
	Fault    string            // a deliberate fault of the emulator, by name

	Workers  int           // scenarios played at a time; 0: one for each processor
	Patience time.Duration // after which a scenario that does not come back counts as failed; 0: never

	ShowKeys bool // differences have key bytes as they are

	// Progress, if set, is called after each scenario, in order, with how many are done. Observe, if set, gets its
	// result.
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
	Scenario   string   `json:"scenario"`
	File       string   `json:"file"`
	Line       int      `json:"line"`
	Status     Status   `json:"status"`
	Deviations []string `json:"deviations,omitempty"` // names of those it took to pass
	// why; also of a scenario that was played only in part
	Skipped  string `json:"skipped,omitempty"`
	Unjudged int    `json:"unjudged,omitempty"` // steps that a live target could not do
	// values that this live target gives otherwise each time, by kind
	Eased map[string]int `json:"compared_as_volatile,omitempty"`
	// how often a live kernel was asked until it passed, if more than once
	Tries       int          `json:"tries,omitempty"`
	Differences []Difference `json:"differences,omitempty"`
	// With Deviations: what differs from the recording as it stands.
	Deviating []Difference `json:"-"`

	steps int
	err   error // what kept it from being played
}

// Report is how a run went. Passed + Failed + Skipped is the number of scenarios.
type Report struct {
	Results    []Result
	Unreadable []error // an *[InputError] for each place of the input that could not be played

	Passed, Failed, Skipped int
	Deviating               int            // scenarios that passed with deviations
	Steps                   int            // in all scenarios
	Unjudged                int            // of these, those that a live target could not do
	Eased                   map[string]int // values that were compared as volatile because of the live target, by kind
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

// A UsageError is a request that makes no sense, such as a broken pattern.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UsageError) Unwrap() error { return e.Err }

// Run plays recordings and judges what came back. Scenarios that differ are no error; they are in the report. The error
// is a *[UsageError], a *[GoneError] if there is nobody to play with, or that of a ctx that ended or of a live target
// that hangs, with the report of what was done until then.
func Run(ctx context.Context, c Config) (Report, error) {
	var rep Report
	k := c.Kernel
	pattern, err := compile(c.Run)
	if err != nil {
		return rep, err
	}
	t := c.Target
	if t == nil {
		t = InProcess{Kernel: k, Addrs: c.Addrs, Tunables: c.Tunables, Fault: c.Fault}
	}
	if err := Try(t, k); err != nil { // a bad tunable or fault is told once, not for each scenario
		return rep, err
	}
	live, isLive := t.(Live)
	if c.Workers == 0 && isLive {
		c.Workers = live.Workers()
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	scs, captures, bad := Load(ctx, k, c.Paths)
	if ctx.Err() != nil {
		return rep, files.ErrInterrupted
	}
	rep.Unreadable = bad
	var all []func() Result
	for _, sc := range scs {
		if wanted(pattern, sc.File, sc.Name) {
			all = append(all, func() Result { return again(t, func() Result { return scenario(ctx, t, k, sc, &c) }) })
		}
	}
	for _, x := range captures {
		if wanted(pattern, x.File(), x.Name()) {
			all = append(all, func() Result { return x.Play(t, k) })
		}
	}
	err = inOrder(ctx, len(all), c.Workers, func(i int) Result { return all[i]() }, func(i int, r Result) {
		rep.add(r)
		if _, gone := errors.AsType[*GoneError](r.err); isLive && (gone || errors.Is(r.err, errStuck)) {
			stop(r.err) // the others would only wait as long
		}
		if c.Observe != nil {
			c.Observe(r)
		}
		if c.Progress != nil {
			c.Progress(i+1, len(all))
		}
	})
	return rep, err
}

// Try looks whether the recordings of a kernel can be played, and there is a machine to play on. The error is a
// *[UsageError] or, if there is nobody to play with, a *[GoneError].
func Try(t Target, k *Kernel) error {
	if k.Dialect == nil {
		return &UsageError{fmt.Errorf("%s is not emulated yet: its recordings can be read, not played", k.Name)}
	}
	m, err := t.Boot(&Scenario{}, nil)
	if err == nil {
		m.Close()
		return nil
	}
	if _, ok := errors.AsType[*GoneError](err); ok {
		return err
	}
	return &UsageError{err}
}

// compile makes the pattern of --run; nil for none.
func compile(run string) (*regexp.Regexp, error) {
	if run == "" {
		return nil, nil
	}
	pattern, err := regexp.Compile(run)
	if err != nil {
		return nil, &UsageError{fmt.Errorf("--run %q is no regular expression: %w", run, plainSyntax(err))}
	}
	return pattern, nil
}

// wanted says whether the pattern of --run picks a scenario: by its name, or by its name behind that of the folder of
// its file, which is how documents tell of recordings.
func wanted(pattern *regexp.Regexp, file, name string) bool {
	if pattern == nil || pattern.MatchString(name) {
		return true
	}
	folder := filepath.Base(filepath.Dir(file))
	at := pattern.FindStringIndex(folder + "/" + name)
	return at != nil && at[0] < len(folder) && at[1] > len(folder)+1
}

// plainSyntax leaves the library's introduction out of what is wrong with a regular expression.
func plainSyntax(err error) error {
	if e, ok := errors.AsType[*syntax.Error](err); ok {
		return fmt.Errorf("%s: %s", e.Code, e.Expr)
	}
	return err
}

func (r *Report) add(x Result) {
	r.Results = append(r.Results, x)
	r.Steps += x.steps
	r.Unjudged += x.Unjudged
	for kind, n := range x.Eased {
		if r.Eased == nil {
			r.Eased = map[string]int{}
		}
		r.Eased[kind] += n
	}
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

// again plays a scenario as often as the target wants one that fails.
func again(t Target, play func() Result) (r Result) {
	tries := 1
	if live, ok := t.(Live); ok {
		tries = live.Tries()
	}
	for n := 1; ; n++ {
		if r = play(); r.Status != Failed || r.err != nil || n >= tries {
			if n > 1 && r.Status == Passed {
				r.Tries = n
			}
			return r
		}
	}
}

// scenario plays and judges one.
func scenario(ctx context.Context, t Target, k *Kernel, sc *Scenario, c *Config) Result {
	r := Result{Scenario: sc.Name, File: sc.File, Line: sc.Line, Status: Failed, steps: len(sc.Steps)}
	p := patiently(ctx, c.Patience, t, k, sc)
	switch {
	case p.err != nil:
		r.err = p.err
		r.Differences = []Difference{{Step: 1, Op: sc.Steps[0].Op, Field: "play", What: p.err.Error()}}
		return r
	case p.whole:
		r.Status, r.Skipped = Skipped, p.skip
		if _, ok := t.(Live); ok {
			r.Unjudged = len(sc.Steps)
		}
		return r
	case p.skip != "":
		r.Unjudged, r.Skipped = len(sc.Steps)-len(p.outs), p.skip
	}
	r.Eased = p.eased
	judge := func(sc *Scenario) []Difference { return compare(k, sc, p.outs, c.ShowKeys, toleranceOf(t)) }
	r.Differences = judge(p.want)
	if len(r.Differences) > 0 || sc.Panic || sc.Why != "" {
		amended := p.want.Clone()
		for _, d := range k.Deviations {
			if d.Amend(amended) {
				r.Deviations = append(r.Deviations, d.Name)
			}
		}
		if r.Deviations != nil && p.expect != nil {
			p.expect(amended)
		}
		if r.Deviations != nil {
			// If neither fits, the nearer one is the better report.
			if diff := judge(amended); len(diff) < len(r.Differences) || len(diff) == 0 {
				r.Deviating, r.Differences = r.Differences, diff
			}
		}
	}
	if len(r.Differences) == 0 {
		r.Status = Passed
	} else {
		r.Deviations, r.Deviating = nil, nil
	}
	return r
}

// patiently plays a scenario, which may take so long beside the time that it sleeps; 0: for ever.
func patiently(ctx context.Context, patience time.Duration, t Target, k *Kernel, sc *Scenario) playing {
	if patience > 0 {
		var cancel context.CancelFunc
		patience += sc.sleeps(t)
		ctx, cancel = context.WithTimeoutCause(ctx, patience, fmt.Errorf("%w within %v", errStuck, patience))
		defer cancel()
	}
	// In a goroutine of its own, which is left behind if the machine is stuck: then it has proved its point.
	done := make(chan playing, 1)
	go func() { done <- play(t, k, sc) }()
	select {
	case p := <-done:
		return p
	case <-ctx.Done():
		return playing{err: context.Cause(ctx)}
	}
}

// errStuck is in the chain when a scenario did not end in time.
var errStuck = errors.New("the target did not come back")

// sleeps is how long a scenario waits on a target whose time is real.
func (sc *Scenario) sleeps(t Target) (d time.Duration) {
	if _, ok := t.(Live); !ok {
		return 0
	}
	for i := range sc.Steps {
		if w, ok := sc.Steps[i].Args.(interface{ Waits() time.Duration }); ok {
			d += w.Waits()
		}
	}
	return d
}

// toleranceOf is how many milliseconds a message may come early or late. In virtual time it is what the recorder itself
// took.
func toleranceOf(t Target) int64 {
	if _, ok := t.(Live); ok {
		return 400
	}
	return 60
}
