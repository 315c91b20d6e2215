package conform

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/internal/terminal"
	"github.com/pfkeyd/pfkeyd/wire"
)

// reporter writes results as they come, and the sums at the end.
type reporter struct {
	c   Config
	f   *family
	out io.Writer
}

// shows says whether result has anything to say of r.
func (w *reporter) shows(r Result) bool { return w.c.JSON || w.c.Verbose || r.Status == Failed }

// result reports one scenario.
func (w *reporter) result(r Result) {
	if w.c.JSON {
		if !w.c.Verbose && len(r.Differences) > 1 {
			r.Differences = r.Differences[:1]
		}
		w.json(r)
		return
	}
	switch r.Status {
	case Failed:
		at := r.File
		if r.Line > 0 {
			at = fmt.Sprintf("%s:%d", r.File, r.Line)
		}
		fmt.Fprintf(w.out, "%s %s  (%s)\n", w.paint(terminal.Red, "FAIL"), r.Scenario, at)
		for i, d := range r.Differences {
			if i > 0 && !w.c.Verbose {
				fmt.Fprintf(w.out, "  and %d more %s (-v shows all)\n", len(r.Differences)-1,
					plural(len(r.Differences)-1, "difference"))
				break
			}
			if !w.c.Verbose {
				d.What, _, _ = strings.Cut(d.What, "\n") // without the stack of a panic
			}
			for _, line := range terminal.Wrap(d.String(), terminal.Columns-4) {
				fmt.Fprintf(w.out, "  %s\n", line)
			}
			w.bytes(d)
		}
	case Passed:
		if w.c.Verbose {
			deviating := ""
			if r.Deviations != nil {
				deviating = "  deviates: " + strings.Join(r.Deviations, ", ")
			}
			fmt.Fprintf(w.out, "%s %s%s\n", w.paint(terminal.Green, "pass"), r.Scenario, deviating)
		}
	case Skipped:
		if w.c.Verbose {
			fmt.Fprintf(w.out, "%s %s  %s\n", w.paint(terminal.Yellow, "skip"), r.Scenario, r.Skipped)
		}
	}
}

func (w *reporter) paint(colour, text string) string {
	return terminal.Painter(w.c.Colour).Paint(colour, text)
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

func (w *reporter) json(v any) {
	b, err := json.Marshal(v)
	if err != nil { // strings and numbers only
		panic("conform: " + err.Error())
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
func (w *reporter) sums(rep *Report) {
	by := rep.Deviations()
	if w.c.JSON {
		w.json(sums{rep.Passed, rep.Failed, rep.Deviating, rep.Skipped, rep.Unjudged, rep.Eased, len(rep.Unreadable),
			by})
		return
	}
	for _, d := range w.f.deviations {
		if n := by[d.name]; n > 0 {
			w.wrapped("deviation %s, %d %s: %s", d.name, n, plural(n, "scenario"), d.reason)
			if w.c.Verbose {
				for _, r := range rep.Results {
					if slices.Contains(r.Deviations, d.name) {
						fmt.Fprintf(w.out, "  %s\n", r.Scenario)
					}
				}
			}
		}
	}
	why, unjudged, repeated := map[string]int{}, map[string]int{}, 0
	for _, r := range rep.Results {
		if r.Status == Skipped {
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
	if _, ok := w.c.Target.(Live); ok && rep.Steps > 0 {
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

// bytes shows what a difference is about: messages field by field, packets in rows of 16 bytes; "-" is the recording,
// "+" ours.
func (w *reporter) bytes(d Difference) {
	var render func(b []byte) []string
	switch d.kind {
	case 'm':
		render = func(b []byte) []string {
			var buf bytes.Buffer
			w.f.dialect.Format(&buf, b, wire.FormatOptions{ShowKeys: w.c.ShowKeys})
			return strings.Split(strings.TrimRight(buf.String(), "\n"), "\n")
		}
	case 'p':
		render = rows
	default:
		return
	}
	var want, got []string
	if d.want != nil {
		want = render(d.want)
	}
	if d.got != nil {
		got = render(d.overlaid())
	}
	for _, line := range lineDiff(want, got) {
		fmt.Fprintf(w.out, "    %s\n", strings.TrimRight(line, " "))
	}
}

// overlaid is what we got with the recorded volatile bytes put over our own, so that only what matters stands out;
// unless a volatile span itself is what matters.
func (d Difference) overlaid() []byte {
	if len(d.want) != len(d.got) || firstDifference(d.want, d.got, d.vol) < 0 {
		return d.got
	}
	b := slices.Clone(d.got)
	for _, s := range d.vol {
		copy(b[s.Offset:s.Offset+s.Len], d.want[s.Offset:])
	}
	return b
}

func rows(b []byte) (lines []string) {
	for i := 0; i < len(b); i += 16 {
		lines = append(lines, fmt.Sprintf("%04x  % x", i, b[i:min(i+16, len(b))]))
	}
	return lines
}

// lineDiff marks the lines of a with "- ", those of b with "+ ", and common ones with two blanks; common lines far from
// any difference are left out.
func lineDiff(a, b []string) []string {
	// The longest common subsequence, by the textbook: messages have few lines.
	const most = 4000
	if len(a)*len(b) > most*most {
		a, b = a[:min(len(a), most)], b[:min(len(b), most)]
	}
	long := make([][]int32, len(a)+1)
	for i := range long {
		long[i] = make([]int32, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				long[i][j] = long[i+1][j+1] + 1
			} else {
				long[i][j] = max(long[i+1][j], long[i][j+1])
			}
		}
	}
	var all []string
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			all = append(all, "  "+a[i])
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || long[i+1][j] >= long[i][j+1]):
			all = append(all, "- "+a[i])
			i++
		default:
			all = append(all, "+ "+b[j])
			j++
		}
	}
	const around = 2
	keep := make([]bool, len(all))
	for i, line := range all {
		if line[0] != ' ' {
			for k := max(0, i-around); k < min(len(all), i+around+1); k++ {
				keep[k] = true
			}
		}
	}
	var shown []string
	for i, line := range all {
		switch {
		case keep[i]:
			shown = append(shown, line)
		case i == 0 || keep[i-1]:
			shown = append(shown, "  ...")
		}
	}
	return shown
}
