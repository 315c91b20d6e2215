package ipseckey

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/pfkeyd/pfkeyd/internal/terminal"
	"github.com/pfkeyd/pfkeyd/wire"
)

// summary is a table of the SAs of a dump, one line each. A terminal gets it behind the listing.
type summary struct {
	rows [][]string
	left int // SAs that are not in it
}

// maxSummary bounds the table: nobody reads a longer one.
const maxSummary = 1000

var summaryHead = []string{"SPI", "TYPE", "STATE", "DIR", "SOURCE", "DESTINATION", "ALGORITHMS", "LEFT"}

// add takes an SA into the table.
func (t *summary) add(s *session, msg []byte) {
	if len(t.rows) == maxSummary {
		t.left++
		return
	}
	r := NewRecord(s.dial, msg, false)
	var algs []string
	for _, a := range []string{r.Encrypt, r.Auth} {
		if a != "" {
			algs = append(algs, a)
		}
	}
	dir := ""
	for _, f := range r.Flags {
		switch f {
		case "X_INBOUND":
			dir += "in"
		case "X_OUTBOUND":
			dir += "out"
		}
	}
	t.rows = append(t.rows, []string{r.SPI, r.SAType, r.State, dir, endText(r.Src), endText(r.Dst),
		strings.Join(algs, " "), s.timeLeft(r)})
}

func endText(a *RecordAddress) string {
	if a == nil {
		return ""
	}
	text := strings.TrimPrefix(a.Addr, "::ffff:")
	if a.Port != 0 {
		text += fmt.Sprintf(".%d", a.Port)
	}
	return text
}

// timeLeft is how long an SA lives on at most.
func (s *session) timeLeft(r *Record) string {
	if r.Hard == nil || r.Current == nil {
		return ""
	}
	now, left := uint64(s.now()), uint64(1)<<63
	if r.Hard.AddTime != 0 {
		left = r.Current.Added + r.Hard.AddTime - now
	}
	if r.Hard.UseTime != 0 && r.Current.Used != 0 {
		left = min(left, r.Current.Used+r.Hard.UseTime-now)
	}
	switch n := int64(left); {
	case left == 1<<63:
		return ""
	case n < 0:
		return "expired"
	case n < 120:
		return fmt.Sprintf("%ds", n)
	case n < 2*3600:
		return fmt.Sprintf("%dm", n/60)
	case n < 2*86400:
		return fmt.Sprintf("%dh", n/3600)
	default:
		return fmt.Sprintf("%dd", n/86400)
	}
}

// print writes the table.
func (t *summary) print(s *session, w io.Writer) {
	if len(t.rows) == 0 {
		return
	}
	all := append([][]string{summaryHead}, t.rows...)
	widths := make([]int, len(summaryHead))
	for _, row := range all {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	fmt.Fprintln(w)
	for n, row := range all {
		var b strings.Builder
		for i, cell := range row {
			if i > 0 {
				b.WriteString("  ")
			}
			b.WriteString(cell)
			b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)))
		}
		line := strings.TrimRight(b.String(), " ")
		switch {
		case n == 0:
			line = s.paint(terminal.Bold, line)
		case row[2] == wire.Illumos().StateName(wire.StateDying) || row[2] == wire.Illumos().StateName(wire.StateDead):
			line = s.paint(terminal.Red, line)
		case row[2] == wire.Illumos().StateName(wire.StateLarval):
			line = s.paint(terminal.Yellow, line)
		}
		fmt.Fprintln(w, line)
	}
	if t.left > 0 {
		fmt.Fprintf(w, "and %d more\n", t.left)
	}
}
