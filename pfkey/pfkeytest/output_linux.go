package pfkeytest

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

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
