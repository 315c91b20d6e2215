package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/internal/racelab"
)

// onTerminal is the value of --plot without a file.
const onTerminal = "-"

// theRaceOf2008 is the variant whose race real threads are asked for.
var theRaceOf2008 = racelab.Variants()[0]

// drawRace draws what every schedule says, and beside it what real threads do.
func (e *env) drawRace(ctx context.Context, f *raceFlags, trees []*racelab.Tree, surveys []racelab.Survey) error {
	charts := []*chart{sharesChart(surveys)}
	shortest := worst(surveys)
	for _, v := range f.faults {
		if w := shortest[v]; w != nil {
			tree := trees[slices.IndexFunc(trees, func(t *racelab.Tree) bool {
				return t.Variant == v && t.Ending == w.Ending
			})]
			c, err := noReturnChart(tree, w.Worst())
			if err != nil {
				return command.Failed(err)
			}
			charts = append(charts, c)
		}
	}
	if slices.Contains(f.faults, theRaceOf2008) {
		of := *f
		of.faults = []string{theRaceOf2008}
		results, err := e.freeLines(ctx, &of, func(racelab.FreeResult) error { return nil })
		if err != nil {
			return command.Failed(err)
		}
		charts = append(charts, ratesChart(results))
	}
	return e.showCharts(ctx, f.plot, charts)
}

// showCharts writes charts as text, or into a file.
func (e *env) showCharts(ctx context.Context, plot string, charts []*chart) error {
	if plot != onTerminal {
		if err := writeFile(ctx, plot, drawCharts(charts)); err != nil {
			return command.Failed(fmt.Errorf("--plot: %w", err))
		}
		return nil
	}
	for i, c := range charts {
		if i > 0 {
			fmt.Fprintln(e.stdout)
		}
		c.writeText(e.stdout, e.colour.Wanted(e.stdout))
	}
	return nil
}

// sharesChart draws for each variant and ending the share of orders that do each wrong.
func sharesChart(surveys []racelab.Survey) *chart {
	total := 0
	c := &chart{title: "What every order does to a packet", label: "variant, ending",
		columns: []chartColumn{{"strands one", "stranded", 1}, {"loses one", "lost", 1}, {"on a DEAD SA", "dead", 1}}}
	for i := range surveys {
		s := &surveys[i]
		total += s.Schedules
		row := chartRow{label: fmt.Sprintf("%-15s %s", s.Variant, s.Ending),
			last: i+1 < len(surveys) && surveys[i+1].Variant != s.Variant}
		for _, n := range []int{s.Stranded, s.Lost, s.Dead} {
			share := float64(n) / float64(s.Schedules)
			row.cells = append(row.cells, chartCell{share: share, text: percent(share)})
		}
		c.rows = append(c.rows, row)
	}
	c.notes = []string{fmt.Sprintf("%d orders of two packets, an UPDATE and an ending; one may do several wrongs", total)}
	return c
}

// noReturnChart draws along one schedule how many of the orders that are left fail, until all do.
func noReturnChart(t *racelab.Tree, schedule string) (*chart, error) {
	path, err := t.Path(schedule)
	if err != nil {
		return nil, err
	}
	counts := t.Counts()
	c := &chart{title: fmt.Sprintf("The point of no return: %s/%s/%s", t.Variant, t.Ending, schedule),
		notes:   []string{"from each step of this schedule on: of all orders that are left, those that fail"},
		label:   "step",
		columns: []chartColumn{{"fail", "stranded", 1}}}
	for i, n := range path {
		h, k := t.Steps[t.Nodes[n].Step], counts[n]
		row := chartRow{label: h.Does, cells: []chartCell{{share: k.Share(k.Failing),
			text: fmt.Sprintf("%d of %d", k.Failing, k.Schedules)}}}
		if h.Who != "" {
			row.label = h.Who + " " + h.Does
		}
		if k.Failing == k.Schedules {
			row.cells[0].text += ": all"
			c.rows = append(c.rows, row)
			c.notes = append(c.notes, fmt.Sprintf("after %s there is no way back", schedule[:i]))
			break
		}
		c.rows = append(c.rows, row)
	}
	return c, nil
}

// ratesChart draws what real threads did, by the delay: how often the UPDATE came between the packets, which is what it
// takes, and how often that stranded or lost one.
func ratesChart(results []racelab.FreeResult) *chart {
	c := &chart{title: "On real threads, by the time from message 3 to UPDATE", label: "variant, delay",
		notes: []string{"no window is widened"}}
	highest := 0.0
	for i, r := range results {
		highest = max(highest, r.High)
		low, high := racelab.Wilson(r.Astride, r.Trials)
		astride := float64(r.Astride) / float64(r.Trials)
		c.rows = append(c.rows, chartRow{label: fmt.Sprintf("%-15s %v", r.Variant, r.Delay),
			cells: []chartCell{{astride, low, high, percent(astride)},
				{r.Rate, r.Low, r.High, fmt.Sprintf("%d of %d", r.Hits, r.Trials)}},
			last: i+1 < len(results) && results[i+1].Variant != r.Variant})
		if r.Window > 0 {
			c.notes[0] = fmt.Sprintf("THE WINDOW IS WIDENED BY %v (--window): so long a packet is busy between its look at "+
				"the SA and its store", r.Window)
		}
	}
	full := 1.0
	for _, nice := range []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.5} {
		if highest <= nice {
			full = nice
			break
		}
	}
	c.notes = append(c.notes, fmt.Sprintf("a full bar of hits is %v %% of the Quick Modes; the lines are 95 %% intervals",
		100*full))
	c.columns = []chartColumn{{"UPDATE among packets", "other", 1}, {"strands or loses one", "stranded", full}}
	return c
}

// percent writes a share, so that nothing and everything are told from almost.
func percent(share float64) string {
	switch {
	case share == 0:
		return "-"
	case share < 0.001:
		return "<0.1%"
	case share > 0.999 && share < 1:
		return ">99.9%"
	}
	return fmt.Sprintf("%.1f%%", 100*share)
}
