package cli

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// progress is a line on standard error that is written over and over, if that is a terminal, and nothing otherwise. It
// is safe for concurrent use.
type progress struct {
	mu    sync.Mutex
	w     io.Writer // nil: nobody looks
	last  time.Time
	shown bool
}

func (e *env) progress() *progress {
	if !isTerminal(e.stderr) || os.Getenv("TERM") == "dumb" {
		return &progress{}
	}
	return &progress{w: e.stderr}
}

// show writes the line, ten times a second at most.
func (p *progress) show(format string, a ...any) {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.last) > 100*time.Millisecond {
		p.last, p.shown = now, true
		fmt.Fprintf(p.w, "\r\x1b[K%.79s", fmt.Sprintf(format, a...))
	}
}

// clear takes the line away.
func (p *progress) clear() {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		p.shown = false
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
