package cli

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/pfkeyd/pfkeyd/internal/terminal"
)

// A chart is rows of bars, beside each other in columns. It can be text or a picture.
type chart struct {
	title   string
	notes   []string
	label   string // what the rows are
	columns []chartColumn
	rows    []chartRow
}

// chartColumn is one bar of each row.
type chartColumn struct {
	head string
	kind string  // the name of its colour: stranded, lost, dead or other
	full float64 // the share that a bar of the whole length stands for
}

type chartRow struct {
	label string
	cells []chartCell
	last  bool // a line goes below it
}

// chartCell is a share from 0 to 1, and what is written beside its bar.
type chartCell struct {
	share     float64
	low, high float64 // between what it lies; both 0 if it is exact
	text      string
}

// chartColours are those of text.
var chartColours = map[string]string{"stranded": terminal.Red, "lost": terminal.Yellow, "dead": terminal.Cyan}

// writeText writes a chart in lines that fit a terminal.
func (c *chart) writeText(w io.Writer, paint terminal.Painter) {
	for _, line := range terminal.Wrap(c.title, terminal.Columns) {
		fmt.Fprintln(w, line)
	}
	for _, note := range c.notes {
		for _, line := range terminal.Wrap(note, terminal.Columns-2) {
			fmt.Fprintf(w, "  %s\n", line)
		}
	}
	label, text := utf8.RuneCountInString(c.label), make([]int, len(c.columns))
	for _, r := range c.rows {
		label = max(label, utf8.RuneCountInString(r.label))
		for i, cell := range r.cells {
			text[i] = max(text[i], utf8.RuneCountInString(cell.text))
		}
	}
	label = min(label, chartLabel)
	width := (terminal.Columns - label) / len(c.columns)
	fmt.Fprintf(w, "%-*s", label, c.label)
	for i := range c.columns {
		pad := width - 2
		if i == len(c.columns)-1 {
			pad = 0
		}
		fmt.Fprintf(w, "  %-*.*s", pad, width-2, c.columns[i].head)
	}
	fmt.Fprintln(w)
	for _, r := range c.rows {
		fmt.Fprintf(w, "%s", padded(r.label, label))
		for i, cell := range r.cells {
			room := max(width-2-text[i]-1, 1)
			n := filled(cell.share/c.columns[i].full, room)
			bar := paint.Paint(chartColours[c.columns[i].kind], strings.Repeat("█", n)) + strings.Repeat("░", room-n)
			end := " "
			if i == len(r.cells)-1 {
				end = ""
			}
			fmt.Fprintf(w, "  %s %s%s", bar, cell.text, strings.Repeat(end, text[i]-utf8.RuneCountInString(cell.text)))
		}
		fmt.Fprintln(w)
		if r.last {
			fmt.Fprintf(w, "%s\n", strings.Repeat("─", terminal.Columns))
		}
	}
}

// chartLabel is how many characters of a label are shown.
const chartLabel = 46

// filled is how many of the characters of a bar are filled: what is something is seen, and so is what is not all.
func filled(share float64, room int) int {
	n := int(share*float64(room) + 0.5)
	switch {
	case share > 0 && n == 0:
		return 1
	case share < 1 && n >= room && room > 1:
		return room - 1
	}
	return min(n, room)
}

// padded cuts a text to n characters, or fills it up.
func padded(s string, n int) string {
	runes := []rune(s)
	if len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s + strings.Repeat(" ", n-len(runes))
}

// What a picture is drawn with, in pixels.
const (
	svgWidth = 860
	svgEdge  = 20
	svgLine  = 20
	svgLabel = 350 // where bars begin
	svgRune  = 8   // room for a character
)

const svgStyle = `text{font:13px system-ui,sans-serif;fill:#1b1b1f}.t{font-size:16px;font-weight:600}.n{fill:#5b5b66}
.page{fill:#fff}.room{fill:#e4e4ea}.stranded{fill:#d55e00}.lost{fill:#0072b2}.dead{fill:#b0468c}.other{fill:#6a6a76}
.i{stroke:#1b1b1f;stroke-width:1.5}
@media(prefers-color-scheme:dark){text{fill:#ececf1}.n{fill:#a9a9b6}.page{fill:#16161a}.room{fill:#32323b}
.stranded{fill:#ff9551}.lost{fill:#62b5ec}.dead{fill:#e78bbe}.other{fill:#a9a9b6}.i{stroke:#ececf1}}`

// svg is a picture that grows downwards.
type svg struct {
	strings.Builder
	y int
}

func (s *svg) text(x int, class, text string) {
	fmt.Fprintf(s, `<text x="%d" y="%d" class="%s">`, x, s.y, class)
	_ = xml.EscapeText(s, []byte(text)) // a Builder does not fail
	s.WriteString("</text>\n")
}

func (s *svg) rect(x, width float64, class string) {
	fmt.Fprintf(s, `<rect x="%.1f" y="%d" width="%.1f" height="12" class="%s"/>`+"\n", x, s.y-11, width, class)
}

// drawCharts makes one picture of charts, light or dark as its reader has it.
func drawCharts(charts []*chart) []byte {
	s := &svg{y: svgEdge}
	for _, c := range charts {
		c.draw(s)
		s.y += 2 * svgLine
	}
	height := s.y - svgLine
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">
<style>%s</style>
<rect class="page" width="100%%" height="100%%"/>
%s</svg>
`, svgWidth, height, svgWidth, height, svgStyle, s.String())
}

func (c *chart) draw(s *svg) {
	s.text(svgEdge, "t", c.title)
	for _, note := range c.notes {
		s.y += svgLine
		s.text(svgEdge, "n", note)
	}
	s.y += svgLine + 4
	s.text(svgEdge, "n", c.label)
	column := (svgWidth - svgEdge - svgLabel) / len(c.columns)
	longest := 0
	for _, r := range c.rows {
		for _, cell := range r.cells {
			longest = max(longest, utf8.RuneCountInString(cell.text))
		}
	}
	room := float64(column - svgRune*(longest+2))
	for i, col := range c.columns {
		s.text(svgLabel+i*column, "n", col.head)
	}
	for _, r := range c.rows {
		s.y += svgLine
		s.text(svgEdge, "", strings.TrimRight(padded(r.label, chartLabel), " "))
		for i, cell := range r.cells {
			x := float64(svgLabel + i*column)
			at := func(share float64) float64 { return room * min(share/c.columns[i].full, 1) }
			s.rect(x, room, "room")
			s.rect(x, at(cell.share), c.columns[i].kind)
			if cell.high > 0 {
				fmt.Fprintf(s, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" class="i"/>`+"\n", x+at(cell.low), s.y-5,
					x+at(cell.high), s.y-5)
			}
			s.text(int(x+room)+6, "", cell.text)
		}
		if r.last {
			s.y += 6
		}
	}
}
