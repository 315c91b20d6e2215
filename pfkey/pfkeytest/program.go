package pfkeytest

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/pfkeyd/pfkeyd/launch"
)

// A ProgramOption changes how [Host.Start] starts a program. They have the names that options of "pfkeyd run" have.
type ProgramOption func(*launch.Options)

// FakeIDs has setuid, setgid, setgroups and their kin succeed without effect, for daemons that give up their privileges
// although the test has none.
func FakeIDs() ProgramOption { return func(o *launch.Options) { o.Identity = true } }

// UDPEncap has the socket option UDP_ENCAP succeed without effect, for daemons that stop where the machine lacks it.
func UDPEncap() ProgramOption { return func(o *launch.Options) { o.UDPEncap = true } }

// programStates says of each program whether it still runs, for errors.
func (h *Host) programStates() string {
	h.mu.Lock()
	programs := h.programs
	h.mu.Unlock()
	var b strings.Builder
	for _, p := range programs {
		fmt.Fprintf(&b, "\n\t%s %s", p.name, p.state())
	}
	return b.String()
}

// A lineWriter writes whole lines with a word in front of each. It is safe for concurrent use.
type lineWriter struct {
	prefix string

	mu   sync.Mutex
	w    io.Writer
	rest []byte // of a line that has not ended yet
}

// maxLine is where a longer line is broken.
const maxLine = 64 << 10

// Write implements [io.Writer].
func (l *lineWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, b...)
	for {
		n := bytes.IndexByte(l.rest, '\n')
		if n < 0 && len(l.rest) < maxLine {
			return len(b), nil
		}
		line := l.rest
		if n >= 0 {
			line, l.rest = l.rest[:n], l.rest[n+1:]
		} else {
			l.rest = nil
		}
		fmt.Fprintf(l.w, "%s: %s\n", l.prefix, line)
	}
}

// flush writes what is left.
func (l *lineWriter) flush() {
	l.mu.Lock()
	rest := len(l.rest) > 0
	l.mu.Unlock()
	if rest {
		_, _ = l.Write([]byte{'\n'})
	}
}
