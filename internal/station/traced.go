package station

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/launch"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/trace"
)

// tracePatience is how long what is left of a trace may take once its programs are gone, or the engine stops.
const tracePatience = time.Second

// traces are the records of messages that an engine writes for those who hand sockets over.
type traces struct {
	front  pfkey.Engine
	engine *engine.Engine
	log    *slog.Logger

	mu   sync.Mutex // guards what follows
	open map[*trace.Trace]struct{}
	past trace.Counters // of those that have ended
}

func newTraces(front pfkey.Engine, eng *engine.Engine, log *slog.Logger) *traces {
	return &traces{front: front, engine: eng, log: log, open: map[*trace.Trace]struct{}{}}
}

// begin makes a server in front of the engine whose messages are written to the file of r, and what ends both.
func (ts *traces) begin(r launch.TraceRequest) (*pfkey.Server, func(), error) {
	file, err := unblocked(r.File)
	if err != nil {
		return nil, nil, err
	}
	r.File.Close()
	o := trace.Options{ShowKeys: r.ShowKeys, Now: ts.engine.Now}
	if r.Format == launch.TracePcapng {
		o.Format = trace.Pcapng
	}
	if ts.engine.Virtual() {
		o.Machine = time.Now
	}
	o.Failed = func(err error) { ts.log.Error("a trace ends early", "err", err) }
	t := trace.New(ts.front, file, o)
	ts.mu.Lock()
	ts.open[t] = struct{}{}
	ts.mu.Unlock()
	server := pfkey.NewServer(t, pfkey.ServerOptions{Log: ts.log})
	return server, func() {
		server.Close()
		patience, cancel := context.WithTimeout(context.Background(), tracePatience)
		defer cancel()
		if err := t.Close(patience); err != nil {
			ts.log.Error("a trace is not complete", "err", err)
		}
		file.Close()
		ts.mu.Lock()
		defer ts.mu.Unlock()
		delete(ts.open, t)
		c := t.Counters()
		ts.past.Written += c.Written
		ts.past.Lost += c.Lost
	}, nil
}

// unblocked is a duplicate of file for which no write waits that a deadline cannot end.
func unblocked(file *os.File) (*os.File, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	dup := -1
	if e := raw.Control(func(fd uintptr) {
		if err = unix.SetNonblock(int(fd), true); err == nil {
			dup, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
		}
	}); e != nil {
		return nil, e
	}
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(dup), file.Name()), nil
}

// tracesCounters are shown in the status.
type tracesCounters struct {
	Open int `json:"open"` // traces that are being written
	trace.Counters
}

// Counters reads the counters, those of traces that have ended included.
func (ts *traces) Counters() tracesCounters {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	all := tracesCounters{Open: len(ts.open), Counters: ts.past}
	for t := range ts.open {
		c := t.Counters()
		all.Written += c.Written
		all.Lost += c.Lost
	}
	return all
}
