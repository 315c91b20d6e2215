package conform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Exit codes of [Main].
const (
	exitDone = iota
	exitFailed
	exitUsage // or unreadable input, whatever else failed
	exitNoEngine
)

// Main is the command "pfkeyd conform": it runs c, writes the report to stdout and everything else to stderr, and
// returns the exit code: 0 if every scenario passed, 1 if one failed, 2 for input that could not be read and requests
// that make no sense, 3 if there is no kernel at the address of a live target.
func Main(ctx context.Context, c Config, stdout, stderr io.Writer) int {
	complain := func(err error) { fmt.Fprintf(stderr, "pfkeyd conform: %s\n", c.words(err)) }
	f, err := familyOf(c.Kernel)
	if err != nil {
		complain(err)
		return exitUsage
	}
	bar := newProgress(stderr)
	w := &reporter{c: c, f: f, out: stdout}
	observe, progress := c.Observe, c.Progress
	c.Observe = func(r Result) {
		if w.shows(r) {
			bar.clear() // the terminal may be the same
			w.result(r)
		}
		if observe != nil {
			observe(r)
		}
	}
	c.Progress = func(done, total int) {
		bar.show(done, total)
		if progress != nil {
			progress(done, total)
		}
	}
	rep, err := Run(ctx, c)
	bar.clear()
	for _, bad := range rep.Unreadable {
		complain(bad)
	}
	if _, ok := errors.AsType[*UsageError](err); ok {
		complain(err)
		return exitUsage
	}
	if _, ok := errors.AsType[*GoneError](err); ok && len(rep.Results) == 0 {
		complain(err)
		return exitNoEngine
	}
	done := len(rep.Results)
	switch {
	case errors.Is(err, context.Canceled):
		complain(fmt.Errorf("interrupted after %d %s", done, plural(done, "scenario")))
	case err != nil:
		complain(fmt.Errorf("stopped after %d %s: %w", done, plural(done, "scenario"), err))
	case done == 0 && len(rep.Unreadable) > 0 && !c.JSON:
		return exitUsage
	case done == 0 && len(rep.Unreadable) == 0:
		complain(fmt.Errorf("no scenario of %s matches %q", c.Kernel, c.Run))
		return exitUsage
	}
	w.sums(&rep)
	switch {
	case len(rep.Unreadable) > 0:
		return exitUsage
	case rep.Failed > 0 || err != nil:
		return exitFailed
	}
	return exitDone
}

// words is an error as the command tells it.
func (c *Config) words(err error) string {
	if c.Words != nil {
		return c.Words(err)
	}
	return err.Error()
}

// progress is a bar on a terminal; on anything else it shows nothing.
type progress struct {
	w     io.Writer // nil: nowhere
	shown int       // tenths of a percent shown, plus one; 0: the line is clear
}

func newProgress(w io.Writer) *progress {
	if f, ok := w.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
			return &progress{w: w}
		}
	}
	return &progress{}
}

func (p *progress) show(done, total int) {
	if p.w == nil {
		return
	}
	const width = 40
	at := done*1000/total + 1
	if at == p.shown {
		return
	}
	p.shown = at
	n := done * width / total
	fmt.Fprintf(p.w, "\r[%s%s] %d/%d", strings.Repeat("#", n), strings.Repeat(".", width-n), done, total)
}

func (p *progress) clear() {
	if p.w != nil && p.shown != 0 {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = 0
	}
}
