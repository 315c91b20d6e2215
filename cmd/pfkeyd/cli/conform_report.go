package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/terminal"
)

// reporter writes the results of conform as they come, and the sums at the end.
type reporter struct {
	kernel   *conform.Kernel
	out      io.Writer
	verbose  bool // every scenario, and all differences of those that failed
	json     bool // one object a line instead of text
	showKeys bool // key bytes as they are
	live     bool // the target is one
	colour   bool // what passed and failed has colour
}

// shows says whether result has anything to say of r.
func (w *reporter) shows(r conform.Result) bool {
	return w.json || w.verbose || r.Status == conform.Failed
}

// result reports one scenario.
func (w *reporter) result(r conform.Result) {
	if w.json {
		if !w.verbose && len(r.Differences) > 1 {
			r.Differences = r.Differences[:1]
		}
		w.object(r)
		return
	}
	switch r.Status {
	case conform.Failed:
		at := r.File
		if r.Line > 0 {
			at = fmt.Sprintf("%s:%d", r.File, r.Line)
		}
		fmt.Fprintf(w.out, "%s %s  (%s)\n", w.paint(terminal.Red, "FAIL"), r.Scenario, at)
		for i, d := range r.Differences {
			if i > 0 && !w.verbose {
				fmt.Fprintf(w.out, "  and %d more %s (-v shows all)\n", len(r.Differences)-1,
					plural(len(r.Differences)-1, "difference"))
				break
			}
			if !w.verbose {
				d.What, _, _ = strings.Cut(d.What, "\n") // without the stack of a panic
			}
			for _, line := range terminal.Wrap(d.String(), terminal.Columns-4) {
				fmt.Fprintf(w.out, "  %s\n", line)
			}
			for _, line := range d.Lines(w.kernel.Dialect, w.showKeys) {
				fmt.Fprintf(w.out, "    %s\n", line)
			}
		}
	case conform.Passed:
		if w.verbose {
			deviating := ""
			if r.Deviations != nil {
				deviating = "  deviates: " + strings.Join(r.Deviations, ", ")
			}
			fmt.Fprintf(w.out, "%s %s%s\n", w.paint(terminal.Green, "pass"), r.Scenario, deviating)
		}
	case conform.Skipped:
		if w.verbose {
			fmt.Fprintf(w.out, "%s %s  %s\n", w.paint(terminal.Yellow, "skip"), r.Scenario, r.Skipped)
		}
	}
}

func (w *reporter) paint(colour, text string) string {
	return terminal.Painter(w.colour).Paint(colour, text)
}

// wrapped writes a sentence in lines that fit, all but the first indented.
func (w *reporter) wrapped(format string, a ...any) {
	const indent = "  "
	for i, line := range terminal.Wrap(fmt.Sprintf(format, a...), terminal.Columns-len(indent)) {
		if i > 0 {
			line = indent + line
		}
		fmt.Fprintln(w.out, line)
	}
}

func plural(n int, s string) string {
	if n == 1 {
		return s
	}
	return s + "s"
}

func (w *reporter) object(v any) {
	b, err := json.Marshal(v)
	if err != nil { // strings and numbers only
		panic("cli: " + err.Error())
	}
	w.out.Write(append(b, '\n'))
}

// sums is the last line of --json.
type sums struct {
	Passed     int            `json:"passed"`
	Failed     int            `json:"failed"`
	Deviating  int            `json:"deviations"`
	Skipped    int            `json:"skipped"`
	Unjudged   int            `json:"unjudged_steps"`
	Eased      map[string]int `json:"compared_as_volatile,omitempty"`
	Unreadable int            `json:"unreadable"`
	ByName     map[string]int `json:"deviations_by_name"`
}

// sums ends the report. Scripts read its last line.
func (w *reporter) sums(rep *conform.Report) {
	by := rep.Deviations()
	if w.json {
		w.object(sums{rep.Passed, rep.Failed, rep.Deviating, rep.Skipped, rep.Unjudged, rep.Eased, len(rep.Unreadable),
			by})
		return
	}
	for _, d := range w.kernel.Deviations {
		if n := by[d.Name]; n > 0 {
			w.wrapped("deviation %s, %d %s: %s", d.Name, n, plural(n, "scenario"), d.Reason)
			if w.verbose {
				for _, r := range rep.Results {
					if slices.Contains(r.Deviations, d.Name) {
						fmt.Fprintf(w.out, "  %s\n", r.Scenario)
					}
				}
			}
		}
	}
	why, unjudged, repeated := map[string]int{}, map[string]int{}, 0
	for _, r := range rep.Results {
		if r.Status == conform.Skipped {
			why[r.Skipped]++
		}
		if r.Tries > 1 {
			repeated++
		}
		if r.Unjudged > 0 {
			unjudged[r.Skipped] += r.Unjudged
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(unjudged)) {
		w.wrapped("not judged from there on, %d %s: %s", unjudged[reason], plural(unjudged[reason], "step"), reason)
	}
	if repeated > 0 {
		w.wrapped("%d %s passed when played again: this host does not keep time evenly",
			repeated, plural(repeated, "scenario"))
	}
	if w.live && rep.Steps > 0 {
		w.wrapped("%d of %d steps could not be judged on this target (%.1f %%)",
			rep.Unjudged, rep.Steps, 100*float64(rep.Unjudged)/float64(rep.Steps))
	}
	for _, kind := range slices.Sorted(maps.Keys(rep.Eased)) {
		w.wrapped("%d %s of the kind %q differ each time on this target, and were compared as volatile",
			rep.Eased[kind], plural(rep.Eased[kind], "value"), kind)
	}
	for _, reason := range slices.Sorted(maps.Keys(why)) {
		w.wrapped("skipped %d %s: %s", why[reason], plural(why[reason], "scenario"), reason)
	}
	w.wrapped("%d %s, %d skipped", rep.Deviating, plural(rep.Deviating, "deviation"), rep.Skipped)
	w.wrapped("%d passed, %d failed", rep.Passed, rep.Failed)
}
