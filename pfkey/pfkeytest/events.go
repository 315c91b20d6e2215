package pfkeytest

import (
	"context"
	"io"
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/event"
)

// Events are what happens on a host, in order: PF_KEY messages both ways, sockets that come and go, SAs that change
// their state, packets and their verdicts, moves of the clock. One goroutine uses them at a time.
type Events struct {
	reader *engine.EventReader
	got    []event.Event
}

// Events begins to read what happens on the host, with what the history of its kernel has already: the last 10,000
// events or 16 MiB. Of what happens while nobody reads it has at most 1000 packets and 1000 other events a second, so
// call it first in a test that wants all. From then on it is 10,000 of either at once and a second, for as long as no
// more come. Nobody waits for the reader: what is left out is an event of type [event.Missing]. Key bytes are zero.
//
// Messages are those of the kernel itself, behind the lies of [Hostile].
func (h *Host) Events(f event.Filter) *Events {
	r := h.engine.Events(engine.EventOptions{Filter: f, From: 1})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readers = append(h.readers, r)
	return &Events{reader: r}
}

// Past returns the events there have been since the last call, and does not wait. They belong to the caller.
func (e *Events) Past() []event.Event {
	for more := true; more; {
		e.got, more = e.reader.Next(e.got)
	}
	past := e.got
	e.got = nil
	return past
}

// Next returns the next event, and waits for it. The error is that of ctx, or [io.EOF] when the host is closed.
func (e *Events) Next(ctx context.Context) (event.Event, error) {
	for len(e.got) == 0 {
		more := true
		if e.got, more = e.reader.Next(e.got); !more && !e.reader.Wait(ctx) {
			if err := ctx.Err(); err != nil {
				return event.Event{}, err
			}
			return event.Event{}, io.EOF
		}
	}
	first := e.got[0]
	e.got = slices.Delete(e.got, 0, 1)
	return first, nil
}

// Find returns the next event that f takes, and passes over those before it. Otherwise it is as Next.
func (e *Events) Find(ctx context.Context, f event.Filter) (event.Event, error) {
	for {
		next, err := e.Next(ctx)
		if err != nil || f.Match(&next) && next.Type != event.Missing {
			return next, err
		}
	}
}
