// Command mutants breaks a kernel on purpose and counts how often that is noticed: a recording that nobody's mistake
// can fail proves nothing. It makes mutants of kernel/NAME, or of what kernels share (target.go), from the syntax tree:
// two neighbouring checks swapped, a recipient changed, a field of a reply dropped, and the like. All of them are built
// at once, each as a copy of its function that is chosen by number when the program runs, by means of an overlay, so
// that the tree is never touched. The recordings are played on each mutant until the first difference; those that
// survive get the tests.
//
//	go run ./internal/mutants -kernel linux            # "make mutants" does it for each kernel
//	go run ./internal/mutants -kernel linux -ops all   # more kinds of change, see below
//	go run ./internal/mutants -kernel linux -list      # the mutants there are
//	go run ./internal/mutants -sample 200 -seed 7 -run 'update\.go'
//
// The kinds are those of a wrong answer: swap (two neighbouring checks, or two neighbours of a list), recipient (who
// hears a message), field (a part of a reply is left out), code (another errno or diagnostic). With -ops all also those
// of any wrong program: check, compare, assign, call, number, row; see operators.go.
//
// Survivors that are known stand in known/NAME.txt with their reasons. The exit code is 1 if one survives that is not
// listed there, or if fewer than -want percent of those that are not equivalent are caught; a sample says nothing about
// the share, so there only the list counts.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// timeout is what catches a mutant that does nothing any more, or an innocent one on a machine that is very busy.
const timeout = "timeout"

// crash is what catches a mutant whose process ends.
const crash = "crash"

// unreached stands for a function that no recording runs.
const unreached = "unreached"

// environment tells a program that was built with mutants which of them to be.
const environment = "PFKEYD_MUTANT"

type options struct {
	kernel   string // the name of a target
	ops      string
	run      string
	sample   int
	seed     uint64
	parallel int
	want     float64
	patience time.Duration
	list     bool
	tests    bool
	verbose  bool
	mode     string
	dir      string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var o options
	f := flag.NewFlagSet("mutants", flag.ContinueOnError)
	f.StringVar(&o.kernel, "kernel", "illumos", "what to break: "+strings.Join(slices.Sorted(maps.Keys(targets)), ", "))
	f.StringVar(&o.ops, "ops", "swap,recipient,field,code",
		"kinds of mutants, with commas between; all: every kind there is")
	f.StringVar(&o.run, "run", "", "only mutants whose name matches this regular expression")
	f.IntVar(&o.sample, "sample", 0, "only so many mutants, chosen by -seed; 0: all")
	f.Uint64Var(&o.seed, "seed", 1, "which mutants -sample takes")
	f.IntVar(&o.parallel, "p", min(2, runtime.GOMAXPROCS(0)), "mutants that are tried at a time")
	f.Float64Var(&o.want, "want", 95,
		"percentage that must be caught of those that are not equivalent; not asked of a sample")
	f.DurationVar(&o.patience, "timeout", 30*time.Second,
		"after which a mutant that does nothing any more counts as caught")
	f.BoolVar(&o.list, "list", false, "list the mutants and do nothing")
	f.BoolVar(&o.tests, "tests", true, "run the tests on those that the recordings do not catch")
	f.BoolVar(&o.verbose, "v", false, "tell of each mutant by what it was caught")
	f.StringVar(&o.mode, "mode", "", "used by the program itself")
	f.StringVar(&o.dir, "dir", "", "used by the program itself")
	if err := f.Parse(os.Args[1:]); err != nil {
		os.Exit(2)
	}
	ok, err := true, error(nil)
	switch o.mode {
	case "reach":
		err = reach(o.kernel, o.dir)
	case "play":
		err = playAll(o.kernel, o.dir, os.Stdin, os.Stdout)
	default:
		ok, err = run(ctx, o, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// choose takes the mutants that the options name.
func choose(all []*mutant, o options) ([]*mutant, error) {
	pattern, err := regexp.Compile(o.run)
	if err != nil {
		return nil, err
	}
	ops := strings.Split(o.ops, ",")
	chosen := slices.DeleteFunc(slices.Clone(all), func(m *mutant) bool {
		return !slices.Contains(ops, m.op) && o.ops != "all" || !pattern.MatchString(m.name())
	})
	if o.sample > 0 && o.sample < len(chosen) {
		r := rand.New(rand.NewPCG(o.seed, 0))
		r.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
		chosen = chosen[:o.sample]
		slices.SortFunc(chosen, func(a, b *mutant) int { return a.number - b.number })
	}
	return chosen, nil
}

func run(ctx context.Context, o options, out io.Writer) (ok bool, err error) {
	start := time.Now()
	aim, ok := targets[o.kernel]
	if !ok {
		return false, fmt.Errorf("nothing is called %q here", o.kernel)
	}
	src, err := load(aim.without, aim.folders...)
	if err != nil {
		return false, err
	}
	all := src.mutants()
	chosen, err := choose(all, o)
	if err != nil {
		return false, err
	}
	if o.list {
		for _, m := range chosen {
			fmt.Fprintln(out, m.position, m.name())
		}
		return true, nil
	}
	known, err := readKnown(filepath.Join("internal", "mutants", "known", o.kernel+".txt"))
	if err != nil {
		return false, err
	}
	tmp, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(tmp)

	b := &build{src: src, users: aim.users, dir: tmp}
	chosen, err = b.compile(ctx, chosen)
	if err != nil {
		return false, err
	}
	built := time.Since(start)
	fmt.Fprintf(out, "%d mutants of %s, %d do not compile; built in %.1f s\n", len(chosen),
		strings.Join(aim.folders, ", "), len(b.refused), built.Seconds())
	if aim.played != nil {
		seen := slices.DeleteFunc(slices.Clone(chosen), func(m *mutant) bool {
			return slices.Contains(aim.unseen, m.site.file.path)
		})
		if err := b.recordings(ctx, seen, o); err != nil {
			return false, err
		}
	}
	var left []*mutant
	for _, m := range chosen {
		if m.caughtBy == "" {
			left = append(left, m)
		}
	}
	played := time.Since(start)
	fmt.Fprintf(out, "%d caught by recordings, %.1f s\n", len(chosen)-len(left), (played - built).Seconds())
	if o.tests && len(left) > 0 && ctx.Err() == nil {
		if err := b.tests(ctx, left, o); err != nil {
			return false, err
		}
		fmt.Fprintf(out, "tests of the rest, %.1f s\n", (time.Since(start) - played).Seconds())
	}
	if ctx.Err() != nil {
		return false, errors.New("interrupted")
	}
	return report(out, all, chosen, known, o, time.Since(start)), nil
}

// report prints the survivors and the sums, and says whether they are as wanted. all are the mutants there are, chosen
// those that were tried.
func report(out io.Writer, all, chosen []*mutant, known *knownList, o options, took time.Duration) bool {
	type sum struct{ all, caught, equivalent int }
	ops := map[string]*sum{}
	var total sum
	unknown := 0
	for _, m := range chosen {
		s := ops[m.op]
		if s == nil {
			s = &sum{}
			ops[m.op] = s
		}
		s.all++
		total.all++
		k, listed := known.find(m.name())
		if m.caughtBy != "" {
			s.caught++
			total.caught++
			if o.verbose {
				fmt.Fprintf(out, "caught   %s %s: %s\n", m.position, m.name(), m.caughtBy)
			}
			if listed && k.kind == equivalent && m.caughtBy != timeout {
				fmt.Fprintf(out, "%s %s is listed as equivalent, but caught by %s\n", m.position, m.name(), m.caughtBy)
				unknown++
			}
			continue
		}
		if !listed {
			unknown++
			fmt.Fprintf(out, "SURVIVES %s %s\n", m.position, m.name())
			continue
		}
		if k.kind == equivalent {
			s.equivalent++
			total.equivalent++
		}
		if o.verbose {
			fmt.Fprintf(out, "%s %s %s: %s\n", k.kind, m.position, m.name(), k.reason)
		}
	}
	for _, name := range known.gone(all) {
		unknown++
		fmt.Fprintf(out, "listed, but no mutant (any more): %s\n", name)
	}
	share := func(s sum) float64 {
		if s.all == s.equivalent {
			return 100
		}
		return 100 * float64(s.caught) / float64(s.all-s.equivalent)
	}
	for _, name := range slices.Sorted(maps.Keys(ops)) {
		s := ops[name]
		fmt.Fprintf(out, "%-10s %5d mutants, %5d caught, %3d equivalent: %5.1f %%\n", name, s.all, s.caught,
			s.equivalent, share(*s))
	}
	fmt.Fprintf(out, "%-10s %5d mutants, %5d caught, %3d equivalent: %5.1f %%; %d not as listed; %.0f s\n", "all",
		total.all, total.caught,
		total.equivalent, share(total), unknown, took.Seconds())
	return unknown == 0 && (share(total) >= o.want || o.sample > 0)
}

// build is a program with mutants in it.
type build struct {
	src     *source
	users   []string // packages whose tests look at it, beside its own
	dir     string   // for everything that is made
	overlay string   // file name
	refused []*mutant
}

var compilerSays = regexp.MustCompile(`(?m)^(?:\./|\S*/)?([\w.-]+\.go):(\d+):(?:\d+:)? (.*)$`)

// compile builds the program with the mutants, and leaves out those that the compiler refuses.
func (b *build) compile(ctx context.Context, chosen []*mutant) ([]*mutant, error) {
	for range 20 {
		o, err := b.src.write(b.dir, chosen)
		if err != nil {
			return nil, err
		}
		b.overlay = filepath.Join(b.dir, "overlay.json")
		j, err := json.Marshal(map[string]any{"Replace": o.replace})
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(b.overlay, j, 0o600); err != nil {
			return nil, err
		}
		args := []string{"build", "-overlay", b.overlay, "-o", b.program()}
		for _, dir := range b.src.dirs {
			args = append(args, "-gcflags="+module+"/"+dir+"/...=-e") // all errors, not the first ten
		}
		cmd := exec.CommandContext(ctx, "go", append(args, "./internal/mutants")...)
		msg, err := cmd.CombinedOutput()
		if err == nil {
			return chosen, nil
		}
		bad := map[*mutant]bool{}
		for _, m := range compilerSays.FindAllStringSubmatch(string(msg), -1) {
			line, _ := strconv.Atoi(m[2])
			if x := o.at(m[1], line); x != nil {
				bad[x] = true
			}
		}
		if len(bad) == 0 {
			return nil, fmt.Errorf("go build: %w\n%s", err, msg)
		}
		for m := range bad {
			b.refused = append(b.refused, m)
		}
		chosen = slices.DeleteFunc(slices.Clone(chosen), func(m *mutant) bool { return bad[m] })
	}
	return nil, errors.New("the mutants do not compile")
}

func (b *build) program() string { return filepath.Join(b.dir, "play") }

// limited is a command that cannot take all memory, being one mutant, or any if m is nil.
func limited(ctx context.Context, m *mutant, name string, args ...string) *exec.Cmd {
	const kilobytes = 4 << 20
	script := fmt.Sprintf(`ulimit -v %d 2>/dev/null; exec "$0" "$@"`, kilobytes)
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", script, name}, args...)...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	if m != nil {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", environment, m.number))
	}
	return cmd
}

// recordings plays them on each mutant, several at a time.
func (b *build) recordings(ctx context.Context, chosen []*mutant, o options) error {
	if msg, err := limited(ctx, nil, b.program(), "-mode", "reach", "-kernel", o.kernel, "-dir",
		b.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, msg)
	}
	queue := make(chan *mutant)
	var players sync.WaitGroup
	for range o.parallel {
		players.Go(func() {
			var p *process
			for m := range queue {
				for fresh := false; ; {
					if p == nil {
						p, fresh = b.start(ctx, o, nil), true
					}
					if m.caughtBy = p.try(m, m.site.number, o.patience); !p.dead {
						break
					}
					p.end()
					p = nil
					if m.caughtBy != crash || fresh { // else the mutant before may have done it
						break
					}
				}
				if m.caughtBy == unreached { // it may have run as the program started, to make a table
					q := b.start(ctx, o, m)
					m.caughtBy = q.try(m, everywhere, o.patience)
					q.end()
				}
			}
			if p != nil {
				p.end()
			}
		})
	}
	for _, m := range chosen {
		if ctx.Err() != nil {
			break
		}
		queue <- m
	}
	close(queue)
	players.Wait()
	return nil
}

// process is a process that plays recordings on one mutant after the other.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	dead  bool
}

// start starts one, which is a mutant from its start on unless m is nil.
func (b *build) start(ctx context.Context, o options, m *mutant) *process {
	p := &process{cmd: limited(ctx, m, b.program(), "-mode", "play", "-kernel", o.kernel, "-dir", b.dir),
		lines: make(chan string, 1)}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return &process{dead: true}
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil || p.cmd.Start() != nil {
		return &process{dead: true}
	}
	p.in = in
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	return p
}

// try says by what a mutant of a site was caught; empty if it survives.
func (p *process) try(m *mutant, site int, patience time.Duration) string {
	if p.dead {
		return "the player does not start"
	}
	if _, err := fmt.Fprintln(p.in, m.number, site); err != nil {
		p.dead = true
		return crash
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case line, ok := <-p.lines:
		if !ok {
			p.dead = true
			return crash
		}
		return strings.TrimPrefix(line, "survives")
	case <-timer.C:
		p.dead = true
		return timeout
	}
}

func (p *process) end() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	if p.in != nil {
		p.in.Close()
	}
	if p.dead {
		p.cmd.Process.Kill()
		for range p.lines { // until it has gone
		}
	}
	_ = p.cmd.Wait() // how it ends does not matter
}

// packages are those whose tests look at what is broken. Those of package conform play the recordings, which has been
// done.
func (b *build) packages() (names []string) {
	for _, f := range b.src.files {
		if name := "./" + f.folder(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return append(names, b.users...)
}

// tester is the tests of a package, built.
type tester struct{ pkg, program string }

// run runs them on a mutant, or on the unbroken kernel.
func (t tester) run(ctx context.Context, m *mutant, o options) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, o.patience)
	defer cancel()
	cmd := limited(ctx, m, t.program, "-test.short", "-test.failfast", "-test.run", "^(Test|Fuzz)")
	cmd.Dir = t.pkg
	cmd.WaitDelay = time.Second
	return cmd.CombinedOutput()
}

// try says by what a mutant was caught; empty if it survives. What fails once, and not again, proves nothing.
func (t tester) try(ctx context.Context, m *mutant, o options) (by string) {
	for range 2 {
		start := time.Now()
		msg, err := t.run(ctx, m, o)
		switch {
		case err == nil:
			return ""
		case time.Since(start) >= o.patience:
			return timeout
		}
		by = t.pkg + " " + firstFailure(string(msg))
	}
	return by
}

// tests runs the tests of the packages on each mutant until one fails.
func (b *build) tests(ctx context.Context, left []*mutant, o options) error {
	var testers []tester
	for i, pkg := range b.packages() {
		program := filepath.Join(b.dir, fmt.Sprintf("tests%d", i))
		cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", b.overlay, "-o", program, pkg)
		if msg, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go test -c %s: %w\n%s", pkg, err, msg)
		}
		if _, err := os.Stat(program); err != nil {
			continue // there is none for a package without tests
		}
		t := tester{pkg, program}
		if msg, err := t.run(ctx, nil, o); err != nil {
			return fmt.Errorf("the tests of %s fail on the unbroken kernel: %w\n%s", pkg, err, msg)
		}
		testers = append(testers, t)
	}
	queue := make(chan *mutant)
	var workers sync.WaitGroup
	for range o.parallel {
		workers.Go(func() {
			for m := range queue {
				for _, t := range testers {
					if m.caughtBy = t.try(ctx, m, o); m.caughtBy != "" {
						break
					}
				}
			}
		})
	}
	for _, m := range left {
		if ctx.Err() != nil {
			break
		}
		queue <- m
	}
	close(queue)
	workers.Wait()
	return nil
}

var failedTest = regexp.MustCompile(`--- FAIL: (\S+)`)

func firstFailure(output string) string {
	if m := failedTest.FindStringSubmatch(output); m != nil {
		return m[1]
	}
	return crash
}
