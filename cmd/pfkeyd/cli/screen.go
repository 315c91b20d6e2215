package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/internal/terminal"
)

// columns is how wide a line may be.
const columns = 79

// screen prints what happens in a performance, in colour on a terminal that wants it. After an error of a write or of
// the pause it shows nothing any more.
type screen struct {
	terminal.Painter
	out     io.Writer
	elapsed time.Duration // on the engine's clock

	pause func(lines int) error // comes between two things; lines is how much there is to read; nil: none
	fresh int                   // lines since the last pause
	err   error                 // the first one
}

func newScreen(out io.Writer, colour *command.Colour) *screen {
	return &screen{out: out, Painter: colour.Wanted(out)}
}

func (s *screen) title(format string, a ...any) {
	fmt.Fprintln(s.out, s.Paint(terminal.Bold, fmt.Sprintf(format, a...)))
}

func (s *screen) title(format string, a ...any) {
	s.show(s.paint(bold, fmt.Sprintf(format, a...)) + "\n")
}

// text prints lines as they are.
func (s *screen) text(format string, a ...any) { s.show(fmt.Sprintf(format, a...) + "\n") }

func (s *screen) act(n int, title string) {
	fmt.Fprintf(s.out, "\n%s\n", s.Paint(terminal.Bold, fmt.Sprintf("%d. %s", n, title)))
}

// line is one moment: when, who, what, and the verdict if there is one.
func (s *screen) line(who, what, verdict string) {
	start := fmt.Sprintf("%4ds  %-9s  ", int(s.elapsed.Seconds()), who)
	mark := ""
	if verdict != "" {
		mark = fmt.Sprintf("%-9s  ", verdict)
	}
	indent := len(start) + len(mark)
	for i, part := range terminal.Wrap(what, terminal.Columns-indent) {
		if i == 0 {
			fmt.Fprintf(s.out, "%s%s%s\n", start, s.Paint(terminal.VerdictColour(verdict), mark), part)
		} else {
			fmt.Fprintf(s.out, "%*s%s\n", indent, "", part)
		}
	}
	s.show(text)
}

func (s *screen) wrong(format string, a ...any) {
	fmt.Fprintf(s.out, "       %s\n", s.Paint(terminal.Red, "wrong: "+fmt.Sprintf(format, a...)))
}
