package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/internal/racelab"
	"github.com/pfkeyd/pfkeyd/internal/terminal"
)

type raceFlags struct {
	faults  []string
	endings []string
	replay  string

	free    bool
	delays  []time.Duration
	trials  int
	packets int
	window  time.Duration

	plot string // a file, or onTerminal
	html string

	arrivals int
	seed     uint64
}

// raceDelays cover what key management takes, from nothing to a slow machine of 2008.
var raceDelays = []time.Duration{
	0, 20 * time.Microsecond, 100 * time.Microsecond, 500 * time.Microsecond, time.Millisecond,
}

// raceTrials are played for each delay unless asked otherwise: all lines take some ten seconds. A hit is rarer than one
// in so many; --trials 20000 takes minutes and may see one.
const raceTrials = 500

func (e *env) raceCommand() *cobra.Command {
	var f raceFlags
	cmd := &cobra.Command{
		Use:   "race",
		Short: "Make the race between packets and key management happen",
		Long: `race runs engines of its own in this process, in three variants: larval-unlocked
(Solaris until 2008), larval-window (illumos since then), and ours.

Without other flags it plays every order that the code allows of two packets,
an UPDATE, and one way in which the SA ends: none, delete, flush, timeout (of
the LARVAL SA) or expire (the hard limit of the promoted one). For each it says
how many schedules there are and how many of them do wrong to a packet:
  stranded  it waits on an SA that nobody will empty any more
  lost      it was dropped although the SA was there to take it
  dead      it was delivered on a DEAD SA
and tells the shortest such schedule of each variant as a story. --replay plays
one again: VARIANT/ENDING/SCHEDULE, where a schedule has one letter for each
stretch between two named points: 1 and 2 are the packets, U the UPDATE, E the
ending.

--plot draws that: for each variant and ending the share of orders that strand,
lose and misdeliver a packet; the point of no return, which is how the share of
orders that fail grows along one schedule until it is all of those left; and,
measured as by --free, how often real threads hit the window of 2008. --plot alone
draws bars of text, --plot=FILE an SVG. --html writes a page on which every schedule
can be played step by step, forwards and backwards, and left at any step for another
one; it needs nothing else. Both play all schedules first; --ending none is quick.

--free lets the race happen by itself, on real threads through real sockets:
the initiator of a Quick Mode sends packets right behind message 3, and the
responder takes --delay from message 3 to its UPDATE. No window is widened, unless
--window says for how long a packet waits between its look at the SA and its store.
It prints how often a packet was stranded or lost, with 95 % confidence. early says
how often the first packet came before the UPDATE, astride how often the UPDATE
came between the first packet and the last: only then can a window be hit, and
even then it rarely is. --plot draws both rates. An interrupt (Ctrl-C) ends it
with what there is.

--arrivals lets packets arrive on threads of their own while SAs are promoted,
deleted, flushed and expired, and checks that the ledger is exact and nothing is
stranded.

With --json each line of a table is one object; a replay is one with its steps.

Exit status: 0 done; 1 our variant mistreated a packet, or a fault variant never
did; 2 usage.`,
		Example: `  ipsecinject race
  ipsecinject race --replay larval-unlocked/none/1UU11U22U
  ipsecinject race --plot --ending none
  ipsecinject race --html race.html --plot=race.svg
  ipsecinject race --free --trials 20000 --plot=rates.svg
  ipsecinject race --arrivals 10000000`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && f.plot == onTerminal && cmd.Flags().Changed("plot") {
				return command.Usagef("--plot takes its file behind an equals sign: --plot=%s", args[0])
			}
			return command.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return e.race(cmd, &f) },
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&f.faults, "fault", racelab.Variants(), "`VARIANT`s to run; of --arrivals: ours unless given")
	fl.StringSliceVar(&f.endings, "ending", racelab.Endings(), "`ENDING`s to run")
	fl.StringVar(&f.replay, "replay", "", "tell one `SCHEDULE`: VARIANT/ENDING/LETTERS")
	fl.BoolVar(&f.free, "free", false, "let it happen by itself")
	fl.DurationSliceVar(&f.delays, "delay", raceDelays, "`TIME`s from message 3 to UPDATE, of --free")
	fl.IntVar(&f.trials, "trials", raceTrials, "`NUMBER` of Quick Modes for each delay, of --free")
	fl.IntVar(&f.packets, "packets", 8, "`NUMBER` of packets behind message 3, of --free")
	fl.DurationVar(&f.window, "window", 0, "`TIME` by which the window is widened, of --free and --plot")
	fl.StringVar(&f.plot, "plot", "", "draw it: as text, or into `FILE`, an SVG (--plot=FILE)")
	fl.Lookup("plot").NoOptDefVal = onTerminal
	fl.StringVar(&f.html, "html", "", "write every schedule as a page into `FILE`")
	fl.IntVar(&f.arrivals, "arrivals", 0, "`NUMBER` of packets that arrive while SAs come and go")
	fl.Uint64Var(&f.seed, "seed", 1, "`NUMBER` that chooses what happens to which SA, of --arrivals")
	command.Complete(cmd, "fault", racelab.Variants()...)
	command.Complete(cmd, "ending", racelab.Endings()...)
	return cmd
}

func (e *env) race(cmd *cobra.Command, f *raceFlags) error {
	ctx := cmd.Context()
	for _, v := range f.faults {
		if !slices.Contains(racelab.Variants(), v) {
			return command.Usagef("--fault %q: want one of %s", v, strings.Join(racelab.Variants(), ", "))
		}
	}
	for _, v := range f.endings {
		if !slices.Contains(racelab.Endings(), v) {
			return command.Usagef("--ending %q: want one of %s", v, strings.Join(racelab.Endings(), ", "))
		}
	}
	modes := 0
	for _, is := range []bool{f.replay != "", f.free, f.arrivals != 0} {
		if is {
			modes++
		}
	}
	switch {
	case modes > 1:
		return command.Usagef("--replay, --free and --arrivals exclude each other")
	case modes > 0 && f.html != "", f.plot != "" && (f.replay != "" || f.arrivals != 0):
		return command.Usagef("--html is for every order, --plot for that and for --free")
	case f.plot == onTerminal && e.json:
		return command.Usagef("--plot alone draws text, which --json has none of: --plot=FILE")
	case f.window < 0 || f.window > time.Second:
		return command.Usagef("--window %v: from nothing to a second is wanted", f.window)
	case f.trials < 1, f.packets < 1, f.packets > 64:
		return command.Usagef("--trials and --packets are at least 1, packets at most 64")
	case f.arrivals < 0 || f.arrivals == 0 && cmd.Flags().Changed("arrivals"):
		return command.Usagef("--arrivals %d: how many packets is wanted", f.arrivals)
	case slices.ContainsFunc(f.delays, func(d time.Duration) bool { return d < 0 }):
		return command.Usagef("--delay is not less than nothing")
	case f.replay != "":
		return e.replayRace(f.replay)
	case f.free:
		return e.freeRace(ctx, f)
	case f.arrivals != 0:
		if !cmd.Flags().Changed("fault") {
			f.faults = []string{racelab.Ours}
		}
		return e.arriveRace(ctx, f)
	}
	return e.everyRace(ctx, f)
}

// printJSON writes one object on a line of its own.
func (e *env) printJSON(v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = e.stdout.Write(append(b, '\n'))
	}
	if err != nil {
		return command.Failed(fmt.Errorf("writing: %w", err))
	}
	return nil
}

// everyRace plays all schedules.
func (e *env) everyRace(ctx context.Context, f *raceFlags) error {
	bar := e.progress()
	progress := func(played int) { bar.show("%d schedules", played) }
	var trees []*racelab.Tree
	var surveys []racelab.Survey
	var err error
	if f.plot != "" || f.html != "" {
		trees, surveys, err = racelab.Grow(ctx, f.faults, f.endings, progress)
	} else {
		surveys, err = racelab.Explore(ctx, f.faults, f.endings, progress)
	}
	bar.clear()
	if err != nil {
		return command.Failed(err)
	}
	if f.html != "" {
		if err := writeRacePage(ctx, f.html, f, trees, surveys); err != nil {
			return command.Failed(fmt.Errorf("--html: %w", err))
		}
	}
	if f.plot != onTerminal {
		if err := e.listSurveys(f, surveys); err != nil {
			return err
		}
	}
	if f.plot != "" {
		if err := e.drawRace(ctx, f, trees, surveys); err != nil {
			return err
		}
	}
	return judgeSurveys(surveys)
}

// judgeSurveys is the error of a variant that is not as it is known.
func judgeSurveys(surveys []racelab.Survey) error {
	var wrong []string
	for i := range surveys {
		s := &surveys[i]
		if (s.Failing > 0) == (s.Variant == racelab.Ours) || s.Broken != "" {
			wrong = append(wrong, fmt.Sprintf("%s with %s: %d of %d schedules fail", s.Variant, s.Ending, s.Failing,
				s.Schedules))
		}
	}
	if len(wrong) > 0 {
		return command.Failed(errors.New(strings.Join(wrong, "; ")))
	}
	return nil
}

// worst finds for each variant the survey with the shortest schedule that fails.
func worst(surveys []racelab.Survey) map[string]*racelab.Survey {
	found := map[string]*racelab.Survey{}
	for i := range surveys {
		s := &surveys[i]
		if w := found[s.Variant]; s.Failing > 0 && (w == nil || len(s.Worst()) < len(w.Worst())) {
			found[s.Variant] = s
		}
	}
	return found
}

// listSurveys prints the surveys as a table, and the worst schedule of each variant as a story.
func (e *env) listSurveys(f *raceFlags, surveys []racelab.Survey) error {
	if e.json {
		for i := range surveys {
			if err := e.printJSON(&surveys[i]); err != nil {
				return err
			}
		}
		return nil
	}
	fmt.Fprintf(e.stdout, "every order of two packets, an UPDATE and an ending, in the real code\n\n")
	fmt.Fprintf(e.stdout, "%-16s %-8s %10s %10s %10s %10s %10s\n", "variant", "ending", "schedules", "failing",
		"stranded", "lost", "dead")
	total := 0
	for i := range surveys {
		s := &surveys[i]
		total += s.Schedules
		fmt.Fprintf(e.stdout, "%-16s %-8s %10d %10d %10d %10d %10d\n", s.Variant, s.Ending, s.Schedules, s.Failing,
			s.Stranded, s.Lost, s.Dead)
	}
	fmt.Fprintf(e.stdout, "%-16s %-8s %10d\n", "", "", total)
	shortest := worst(surveys)
	for _, v := range f.faults {
		w := shortest[v]
		if w == nil {
			continue
		}
		fmt.Fprintln(e.stdout)
		if err := e.tell(w.Variant, w.Ending, w.Worst()); err != nil {
			return err
		}
	}
	return nil
}

// replayRace plays one schedule.
func (e *env) replayRace(name string) error {
	parts := strings.Split(name, "/")
	if len(parts) != 3 {
		return command.Usagef("--replay %q is not VARIANT/ENDING/SCHEDULE", name)
	}
	return e.tell(parts[0], parts[1], parts[2])
}

// raceStep is a step of a replay as --json prints it.
type raceStep struct {
	Actor    string   `json:"actor"`
	From     string   `json:"from"`
	To       string   `json:"to"`
	State    string   `json:"state"`
	Linked   bool     `json:"linked"`
	Held     []uint64 `json:"held"`
	Verdicts []string `json:"verdicts"`
}

func (e *env) tell(variant, ending, schedule string) error {
	lab, err := racelab.New(variant, ending)
	if err != nil {
		return command.Usagef("%w", err)
	}
	r, err := lab.Play(schedule)
	if err != nil {
		return command.Usagef("%w", err)
	}
	if !e.json {
		lab.Tell(e.stdout, r)
		fmt.Fprintf(e.stdout, "\nagain: ipsecinject race --replay %s/%s/%s\n", variant, ending, schedule)
		return nil
	}
	steps := make([]raceStep, len(r.Steps))
	for i, s := range r.Steps {
		steps[i] = raceStep{string(rune(s.Actor)), s.From, s.To, s.State.String(), s.Linked,
			append([]uint64{}, s.Held...), []string{}}
		for _, v := range s.Verdicts {
			steps[i].Verdicts = append(steps[i].Verdicts, v.String())
		}
	}
	return e.printJSON(struct {
		Variant  string     `json:"variant"`
		Ending   string     `json:"ending"`
		Schedule string     `json:"schedule"`
		Fates    [2]string  `json:"fates"`
		Steps    []raceStep `json:"steps"`
	}{variant, ending, schedule, [2]string{r.Fates[0].String(), r.Fates[1].String()}, steps})
}

// freeRace measures how often the windows are hit. An interrupt ends it early, with what was measured until then.
func (e *env) freeRace(ctx context.Context, f *raceFlags) error {
	if !e.json {
		window := "no window is widened"
		if f.window > 0 {
			window = fmt.Sprintf("the window is widened by %v", f.window)
		}
		fmt.Fprintf(e.stdout, "free running: %s for each line,\n%s right behind message 3; %s\n\n",
			command.Count(f.trials, "Quick Mode"), command.Count(f.packets, "packet"), window)
		fmt.Fprintf(e.stdout, freeHead,
			"variant", "delay", "early", "astride", "hits", "stranded", "lost", "rate", "95 % within")
	}
	results, err := e.freeLines(ctx, f, e.freeResult)
	interrupted := ctx.Err() != nil
	if err != nil && !interrupted {
		return command.Failed(err)
	}
	if !e.json {
		e.freeSummary(f, results)
	}
	if f.plot != "" && len(results) > 0 {
		if interrupted {
			ctx = context.WithoutCancel(ctx) // what was measured is drawn all the same
		}
		if err := e.showCharts(ctx, f.plot, []*chart{ratesChart(results)}); err != nil {
			return err
		}
	}
	oursHit := 0
	for _, r := range results {
		if r.Variant == racelab.Ours {
			oursHit += r.Hits
		}
	}
	switch {
	case oursHit > 0:
		return command.Failed(fmt.Errorf("ours stranded or lost packets in %s", command.Count(oursHit, "trial")))
	case interrupted:
		lines := command.Count(len(f.faults)*len(f.delays), "line")
		return command.Failed(fmt.Errorf("interrupted after %d of %s", len(results), lines))
	}
	return nil
}

const (
	freeHead = "%-15s %6s %6s %7s %5s %8s %4s %7s %s\n"
	freeLine = "%-15s %6v %5.1f%% %6.1f%% %s %8d %4d %6.3f%% %.3f-%.3f\n"
)

// freeLines measures line by line, and shows each. With an error, which may be that of ctx, comes what there is, the
// line that was begun included.
func (e *env) freeLines(
	ctx context.Context, f *raceFlags, show func(racelab.FreeResult) error,
) (results []racelab.FreeResult, err error) {
	bar := e.progress()
	defer bar.clear()
	lines := len(f.faults) * len(f.delays)
	for _, v := range f.faults {
		for _, d := range f.delays {
			bar.show("%s, delay %v: %d of %d lines", v, d, len(results), lines)
			res, err := racelab.Free{Variant: v, Delay: d, Trials: f.trials, Packets: f.packets, Window: f.window,
				Now: time.Now}.Run(ctx)
			bar.clear()
			if res.Trials > 0 {
				results = append(results, res)
				if err := show(res); err != nil {
					return results, err
				}
			}
			if err != nil {
				return results, err
			}
		}
	}
	return results, nil
}

func (e *env) freeResult(res racelab.FreeResult) error {
	if e.json {
		return e.printJSON(res)
	}
	percent := func(n int) float64 { return 100 * float64(n) / float64(res.Trials) }
	hits := fmt.Sprintf("%5d", res.Hits)
	if res.Hits > 0 {
		hits = e.colour.Wanted(e.stdout).Paint(terminal.Red, hits)
	}
	_, err := fmt.Fprintf(e.stdout, freeLine,
		res.Variant, res.Delay, percent(res.Early), percent(res.Astride), hits, res.Strands, res.Losses,
		100*res.Rate, 100*res.Low, 100*res.High)
	return err
}

// freeSummary adds the lines of each variant up.
func (e *env) freeSummary(f *raceFlags, results []racelab.FreeResult) {
	fmt.Fprintln(e.stdout)
	for _, v := range f.faults {
		var trials, astride, hits int
		for _, r := range results {
			if r.Variant == v {
				trials, astride, hits = trials+r.Trials, astride+r.Astride, hits+r.Hits
			}
		}
		if trials == 0 {
			continue
		}
		fmt.Fprintf(e.stdout, "%s: %s in %s, %d astride\n",
			v, command.Count(hits, "hit"), command.Count(trials, "trial"), astride)
	}
}

// arriveRace floods engines with packets.
func (e *env) arriveRace(ctx context.Context, f *raceFlags) error {
	var wrong []string
	for _, v := range f.faults {
		bar := e.progress()
		begin := time.Now()
		a := racelab.Arrivals{Variant: v, Packets: f.arrivals, Threads: max(runtime.GOMAXPROCS(0)-1, 1), Seed: f.seed,
			Progress: func(sent int) { bar.show("%s: %d of %d packets", v, sent, f.arrivals) }}
		res, err := a.Run(ctx)
		bar.clear()
		if err != nil {
			return command.Failed(err)
		}
		took := time.Since(begin)
		if e.json {
			if err := e.printJSON(res); err != nil {
				return err
			}
		} else {
			printArrivals(e.stdout, res, took)
		}
		if v == racelab.Ours && res.Wrong != "" {
			wrong = append(wrong, res.Wrong)
		}
	}
	if len(wrong) > 0 {
		return command.Failed(errors.New(strings.Join(wrong, "; ")))
	}
	return nil
}

func printArrivals(w io.Writer, res *racelab.ArrivalsResult, took time.Duration) {
	b := res.Ledger
	fmt.Fprintf(w, "%s: %d packets in %.1f s, while %d SAs were reserved and %d promoted,\n", res.Variant, res.Packets,
		took.Seconds(), res.Reserved, res.Promoted)
	fmt.Fprintf(w, "%d deleted, with %d flushes and %d ageing passes\n", res.Deleted, res.Flushed, res.Aged)
	fmt.Fprintf(w, "ledger: %d injected = %d ended + %d held + %d in flight\n", b.Injected, b.Ended, b.Held, b.InFlight)
	fmt.Fprintf(w, "        %d delivered", b.Verdicts["delivered"])
	reasons := make([]string, 0, len(b.Reasons))
	for r := range b.Reasons {
		reasons = append(reasons, r)
	}
	slices.Sort(reasons)
	for _, r := range reasons {
		fmt.Fprintf(w, ", %d %s", b.Reasons[r], r)
	}
	fmt.Fprintln(w)
	if res.Wrong != "" {
		fmt.Fprintf(w, "wrong: %s\n", res.Wrong)
	} else {
		fmt.Fprintln(w, "The ledger is exact, and nothing was stranded.")
	}
}
