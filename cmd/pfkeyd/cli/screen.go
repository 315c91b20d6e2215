package cli

import (
	"fmt"
	"io"
	"strings"
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

// show prints one thing, after a pause for what was there before.
func (s *screen) show(text string) {
	if s.err == nil && s.fresh > 0 && s.pause != nil {
		s.err = s.pause(s.fresh)
		s.fresh = 0
	}
	if s.err == nil {
		s.fresh += strings.Count(text, "\n")
		_, s.err = io.WriteString(s.out, text)
	}
}

func (s *screen) title(format string, a ...any) {
	s.show(s.Paint(terminal.Bold, fmt.Sprintf(format, a...)) + "\n")
}

// text prints lines as they are.
func (s *screen) text(format string, a ...any) { s.show(fmt.Sprintf(format, a...) + "\n") }

func (s *screen) act(n int, title string) {
	s.show("\n" + s.Paint(terminal.Bold, fmt.Sprintf("%d. %s", n, title)) + "\n")
}

// line is one moment: when, who, what, and the verdict if there is one.
func (s *screen) line(who, what, verdict string) {
	start := fmt.Sprintf("%4ds  %-9s  ", int(s.elapsed.Seconds()), who)
	mark := ""
	if verdict != "" {
		mark = fmt.Sprintf("%-9s  ", verdict)
	}
	indent := len(start) + len(mark)
	parts := terminal.Wrap(what, columns-indent)
	text := start + s.Paint(terminal.VerdictColour(verdict), mark) + parts[0] + "\n"
	for _, part := range parts[1:] {
		text += strings.Repeat(" ", indent) + part + "\n"
	}
	s.show(text)
}

// message shows the one line of a message; what is too long goes on below it.
func (s *screen) message(sent bool, line string) {
	text, arrow := "", "<"
	if sent {
		arrow = ">"
	}
	for _, part := range terminal.Wrap(line, columns-9) {
		text += fmt.Sprintf("       %s %s\n", arrow, part)
		arrow = " "
	}
	s.show(text)
}

func (s *screen) wrong(format string, a ...any) {
	s.show("       " + s.Paint(terminal.Red, "wrong: "+fmt.Sprintf(format, a...)) + "\n")
}
