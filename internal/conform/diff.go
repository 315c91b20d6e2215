package conform

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// Lines shows what a difference is about: messages field by field, packets in rows of 16 bytes; "-" is the recording,
// "+" ours. Key bytes are zeroed unless showKeys.
func (d Difference) Lines(dialect *wire.Dialect, showKeys bool) (lines []string) {
	var render func(b []byte) []string
	switch d.kind {
	case 'm':
		render = func(b []byte) []string {
			var buf bytes.Buffer
			dialect.Format(&buf, b, wire.FormatOptions{ShowKeys: showKeys})
			return strings.Split(strings.TrimRight(buf.String(), "\n"), "\n")
		}
	case 'p':
		render = rows
	default:
		return nil
	}
	var want, got []string
	if d.want != nil {
		want = render(d.want)
	}
	if d.got != nil {
		got = render(d.overlaid())
	}
	for _, line := range lineDiff(want, got) {
		lines = append(lines, strings.TrimRight(line, " "))
	}
	return lines
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
