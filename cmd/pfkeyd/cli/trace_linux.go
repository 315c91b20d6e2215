package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/files"
	"github.com/pfkeyd/pfkeyd/trace"
)

// traceEndPatience is how long what is left of a trace may take once the programs and their engine are gone.
const traceEndPatience = 2 * time.Second

// traceOutput is where the trace of a run goes. Engines write it into a pipe, and this process carries it to the file:
// so the user of run hears what goes wrong with the file, whoever runs the engine, and a reader that stands still
// stands in the way of nobody but the trace.
type traceOutput struct {
	name string
	to   io.Writer
	file *os.File // to, or nil for standard output
	from *os.File // the pipe
	pipe *os.File // its other end, which engines get
	used bool     // one of them has got it
	sayf func(format string, a ...any)
	done chan struct{} // closed when carry has ended; what follows is for it, and then for finish

	err     error // of the file
	missing int64 // bytes that could not be written
	tail    []byte
}

// openTrace makes the file, or "-", standard output. It waits for the reader of a pipe until ctx ends.
func openTrace(ctx context.Context, name string, stdout io.Writer, sayf func(string, ...any)) (t *traceOutput,
	err error) {
	t = &traceOutput{name: name, to: stdout, sayf: sayf, done: make(chan struct{})}
	if name == "-" {
		// A reader who has gone is an error of the trace and no end of the run. Not ignored, which programs would
		// inherit.
		signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	} else {
		if t.file, err = files.Create(ctx, name, 0o600); err != nil {
			return nil, err
		}
		t.to = t.file
	}
	if t.from, t.pipe, err = os.Pipe(); err != nil {
		t.close()
		return nil, err
	}
	go t.carry() // ends with the last descriptor of the pipe, or with finish
	return t, nil
}

// carry brings what comes out of the pipe to the file. What the file does not take is read all the same, so that
// engines go on.
func (t *traceOutput) carry() {
	defer close(t.done)
	buf := make([]byte, 64<<10)
	for {
		n, err := t.from.Read(buf)
		if t.err == nil && n > 0 {
			var written int
			if written, t.err = t.to.Write(buf[:n]); t.err != nil {
				t.missing -= int64(written)
				if !errors.Is(t.err, os.ErrDeadlineExceeded) {
					t.sayf("--trace: %v; nothing more is written there", t.err)
				}
			}
		}
		if t.err != nil {
			t.missing += int64(n)
		}
		t.tail = append(t.tail, buf[max(0, n-trace.TailLen):n]...)
		t.tail = t.tail[max(0, len(t.tail)-trace.TailLen):]
		if err != nil {
			return
		}
	}
}

// finish waits until everything is written, when the engines are gone or have been left, and closes the file. The error
// says that the trace is not complete.
func (t *traceOutput) finish() error {
	defer t.close()
	t.pipe.Close()
	late := time.AfterFunc(traceEndPatience, func() {
		// The engine has not closed its end, or the reader of the file stands still.
		_ = t.from.SetReadDeadline(time.Unix(1, 0))
		if t.file != nil {
			_ = t.file.SetWriteDeadline(time.Unix(1, 0))
		}
	})
	defer late.Stop()
	select {
	case <-t.done:
	case <-time.After(2 * traceEndPatience):
		return fmt.Errorf("--trace %s: whoever reads it stands still: the trace is not complete", t.name)
	}
	end, ended := trace.ReadEnd(t.tail)
	switch {
	case errors.Is(t.err, os.ErrDeadlineExceeded):
		// The engine may have had more, of which it could not tell any more.
		return fmt.Errorf("--trace %s: whoever reads it stands still: bytes missing in it: at least %d", t.name,
			t.missing)
	case t.err != nil:
		return fmt.Errorf("--trace: %w; bytes missing in it: %d", t.err, t.missing)
	case !t.used:
		return nil
	case !ended:
		return fmt.Errorf("--trace %s: the engine did not write it to the end", t.name)
	case end.Lost > 0:
		return fmt.Errorf("--trace %s: records missing in it, because they could not be written fast enough: %d",
			t.name, end.Lost)
	}
	return nil
}

// close closes what is open. Without a file it may leave a Write behind, which ends with the process.
func (t *traceOutput) close() {
	for _, f := range []*os.File{t.from, t.pipe, t.file} {
		if f != nil {
			f.Close()
		}
	}
}
