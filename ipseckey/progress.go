package ipseckey

import (
	"fmt"
	"io"
	"time"
)

// progress is a line on a terminal that says how far a file is, once that takes longer than a second. It vanishes
// before anything else is printed, and at the end.
type progress struct {
	s       *session
	w       io.Writer
	began   time.Time
	last    time.Time // when it was drawn
	visible bool
}

const (
	progressAfter = time.Second
	progressEvery = 100 * time.Millisecond
)

// startProgress begins to watch the load of a file, if somebody can see it.
func (s *session) startProgress() *progress {
	if !s.Terminal.Stderr || s.compat || s.smf || s.json || s.Now == nil {
		return nil
	}
	p := &progress{s: s, w: s.Stderr, began: s.Now()}
	s.Stderr = &behind{p, s.Stderr}
	s.Stdout = &behind{p, s.Stdout}
	return p
}

// step draws the line if it is time to.
func (p *progress) step() {
	if p == nil {
		return
	}
	now := p.s.Now()
	if now.Sub(p.began) < progressAfter || p.visible && now.Sub(p.last) < progressEvery {
		return
	}
	p.last, p.visible = now, true
	fmt.Fprintf(p.w, "\r%s: line %d, %d done, %d failed, %d s\x1b[K", p.s.file, p.s.reader.number, p.s.added,
		p.s.parsed-p.s.added, int(now.Sub(p.began)/time.Second))
}

// clear takes the line away.
func (p *progress) clear() {
	if p != nil && p.visible {
		io.WriteString(p.w, "\r\x1b[K")
		p.visible = false
	}
}

// behind is a stream that takes the line away first.
type behind struct {
	p *progress
	w io.Writer
}

func (b *behind) Write(text []byte) (int, error) {
	b.p.clear()
	return b.w.Write(text)
}
