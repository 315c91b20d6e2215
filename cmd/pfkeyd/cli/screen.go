package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
)

// screen prints the time line of a performance, readable in 80 columns, in colour on a terminal that wants it.
type screen struct {
	out     io.Writer
	colour  bool
	elapsed time.Duration // on the engine's clock
}

func newScreen(out io.Writer) *screen { return &screen{out: out, colour: wantsColour(out)} }

// wantsColour says whether out is a terminal whose user has nothing against colour (https://no-color.org).
func wantsColour(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// Colours of ANSI terminals.
const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (s *screen) paint(colour, text string) string {
	if !s.colour || colour == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (s *screen) title(format string, a ...any) {
	fmt.Fprintln(s.out, s.paint(bold, fmt.Sprintf(format, a...)))
}

func (s *screen) text(format string, a ...any) { fmt.Fprintf(s.out, format+"\n", a...) }

func (s *screen) blank() { fmt.Fprintln(s.out) }

func (s *screen) act(n int, title string) {
	fmt.Fprintf(s.out, "\n%s\n", s.paint(bold, fmt.Sprintf("%d. %s", n, title)))
}

// verdictColours are by the name of the verdict.
var verdictColours = map[string]string{"queued": yellow, "delivered": green, "dropped": red}

// line is one moment: when, who, what, and the verdict if there is one.
func (s *screen) line(who, what, verdict string) {
	start := fmt.Sprintf("%4ds  %-9s  ", int(s.elapsed.Seconds()), who)
	mark := ""
	if verdict != "" {
		mark = fmt.Sprintf("%-9s  ", verdict)
	}
	indent := len(start) + len(mark)
	for i, part := range command.Wrap(what, columns-indent) {
		if i == 0 {
			fmt.Fprintf(s.out, "%s%s%s\n", start, s.paint(verdictColours[verdict], mark), part)
		} else {
			fmt.Fprintf(s.out, "%*s%s\n", indent, "", part)
		}
	}
}

// columns is how wide a line may be.
const columns = 80

func (s *screen) wrong(format string, a ...any) {
	fmt.Fprintf(s.out, "       %s\n", s.paint(red, "wrong: "+fmt.Sprintf(format, a...)))
}
