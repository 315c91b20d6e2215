package terminal

import (
	"io"
	"strings"
)

// A Table is rows under a head, in columns. What is wider than [Columns] goes on in further lines, in columns of their
// own. The zero value is ready to use; it is not safe for concurrent use.
type Table struct {
	// Paint, if set, colours a cell of a column, counted from 0, which has been given its width already.
	Paint func(column int, cell string) string

	rows [][]string
}

const (
	gap    = "  " // between columns
	indent = "    "
)

// Row adds a row; the first one is the head. All rows have as many cells.
func (t *Table) Row(cells ...string) { t.rows = append(t.rows, cells) }

// Write writes the table.
func (t *Table) Write(w io.Writer) error {
	if len(t.rows) == 0 {
		return nil
	}
	widths := make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	lines := broken(widths)
	var b strings.Builder
	for n, row := range t.rows {
		for k, columns := range lines {
			t.line(&b, row, columns, widths, k > 0, n == 0)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// span is the columns from one to before another.
type span struct{ from, to int }

// broken puts columns into as few lines as there must be.
func broken(widths []int) (lines []span) {
	width := 0
	now := span{}
	for i, w := range widths {
		if need := width + len(gap) + w; i > now.from && need > Columns {
			lines = append(lines, now)
			now, width = span{i, i}, len(indent)-len(gap)
		}
		width += w
		if i > now.from || now.from > 0 {
			width += len(gap)
		}
		now.to = i + 1
	}
	return append(lines, now)
}

// line writes the cells of one line. The last one has room to the edge, and goes on below itself if that is not enough.
// A line without cells is left out unless it is the first, or of the head.
func (t *Table) line(b *strings.Builder, row []string, columns span, widths []int, further, head bool) {
	if further && !head && strings.Join(row[columns.from:columns.to], "") == "" {
		return
	}
	var start strings.Builder
	at := 0
	if further {
		start.WriteString(indent)
		at = len(indent)
	}
	last := columns.to - 1
	for i := columns.from; i < last; i++ {
		cell := row[i] + strings.Repeat(" ", widths[i]-len(row[i])) + gap
		at += len(cell)
		start.WriteString(t.painted(i, cell, head))
	}
	for k, part := range Wrap(row[last], max(Columns-at, 1)) {
		text := t.painted(last, part, head)
		if k == 0 {
			text = start.String() + text
		} else {
			text = strings.Repeat(" ", at) + text
		}
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
}

func (t *Table) painted(column int, cell string, head bool) string {
	if head || t.Paint == nil {
		return cell
	}
	return t.Paint(column, cell)
}
