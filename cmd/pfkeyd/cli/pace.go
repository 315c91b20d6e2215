package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// errInterrupted is what a performance ends with when somebody has enough of it.
var errInterrupted = errors.New("interrupted")

// A pace waits between two things that a screen shows, of which the first has some lines.
type pace interface {
	pause(ctx context.Context, lines int) error
}

// slow is a pace: the time that a line takes.
type slow time.Duration

func (p slow) pause(ctx context.Context, lines int) error {
	timer := time.NewTimer(time.Duration(p) * time.Duration(lines))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stepper is a pace: it waits for a key. On a terminal that is any key, elsewhere the end of a line. Once there is
// nothing more to read it waits no longer.
type stepper struct {
	terminal *os.File // nil: what in reads is none
	in       *bufio.Reader
}

// interruptKey is Ctrl-C on a terminal that passes on every key.
const interruptKey = 3

func newStepper(in io.Reader) *stepper {
	s := &stepper{in: bufio.NewReader(in)}
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.terminal = f
	}
	return s
}

// pause implements pace. The terminal passes on every key only while it waits; however the wait ends, it is as it was.
func (s *stepper) pause(ctx context.Context, _ int) error {
	if s.terminal != nil {
		before, err := term.MakeRaw(int(s.terminal.Fd()))
		if err != nil {
			return err
		}
		defer term.Restore(int(s.terminal.Fd()), before)
	}
	pressed := make(chan error, 1)
	go func() { pressed <- s.key() }() // nothing takes it from its read: if ctx is over first, it ends with the program
	select {
	case err := <-pressed:
		if err != nil && err != errInterrupted {
			err = fmt.Errorf("--step: %w", err)
		}
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// key reads one key.
func (s *stepper) key() error {
	if s.terminal == nil {
		_, err := s.in.ReadSlice('\n')
		if err == io.EOF || err == bufio.ErrBufferFull { // who sends that much without an end of line means one, too
			return nil
		}
		return err
	}
	var b [64]byte // a key may be several bytes
	n, err := s.terminal.Read(b[:])
	switch {
	case bytes.IndexByte(b[:n], interruptKey) >= 0:
		return errInterrupted
	case err == io.EOF:
		return nil
	}
	return err
}
