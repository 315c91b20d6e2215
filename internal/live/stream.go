package live

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const (
	// batch is how many events a browser is told at once, and pace how long it has for them. It can draw that many.
	batch = 500
	pace  = 50 * time.Millisecond
	// stalled is how long a browser may take to read what it is told.
	stalled = 10 * time.Second
	// quiet is how long nothing is said while nothing happens. A comment shows then whether the browser is still there.
	quiet = 15 * time.Second
)

// stream is what one browser is told of events.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	text    bytes.Buffer
}

// events tells what happens until the browser or the server leaves.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	next, err := begin(r)
	if err != nil {
		fail(w, http.StatusBadRequest, "%v", err)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	t := &stream{w: w, control: http.NewResponseController(w)}
	if t.control.SetReadDeadline(time.Time{}) != nil {
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	up, changed := s.r.isUp()
	t.engine(up)
	for most := 2 * maxEvents; ; most = batch { // the history comes as a whole
		list, then, more := s.r.history.read(next, most)
		if t.batches(list, then-1); t.send() != nil {
			return
		}
		if next = then; len(list) > 0 && !sleep(ctx, pace) {
			return
		}
		idle := time.NewTimer(quiet)
		select {
		case <-more:
		case <-changed:
			up, changed = s.r.isUp()
			t.engine(up)
		case <-idle.C:
			t.text.WriteString(":\n\n")
		case <-ctx.Done():
		}
		if idle.Stop(); ctx.Err() != nil {
			return
		}
	}
}

// begin is the number of the first event that a browser wants.
func begin(r *http.Request) (uint64, error) {
	if n, err := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 63); err == nil {
		return n + 1, nil
	}
	from := r.URL.Query().Get("from")
	if from == "" {
		return 1, nil
	}
	n, err := strconv.ParseUint(from, 10, 63)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("from=%q is not the number of an event", from)
	}
	return n, nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// engine tells whether there is an engine.
func (t *stream) engine(up bool) { fmt.Fprintf(&t.text, "event: engine\ndata: {\"up\":%v}\n\n", up) }

// batches tells events, of which the last is that of the number.
func (t *stream) batches(list []json.RawMessage, last uint64) {
	for len(list) > 0 {
		n := min(len(list), batch)
		if len(list) == n { // a browser that comes again begins behind them
			fmt.Fprintf(&t.text, "id: %d\n", last)
		}
		t.text.WriteString(`data: {"events":[`)
		for i, e := range list[:n] {
			if i > 0 {
				t.text.WriteByte(',')
			}
			t.text.Write(e)
		}
		t.text.WriteString("]}\n\n")
		list = list[n:]
	}
}

// send writes what there is to tell.
func (t *stream) send() error {
	if t.text.Len() == 0 {
		return nil
	}
	if err := t.control.SetWriteDeadline(time.Now().Add(stalled)); err != nil {
		return err
	}
	if _, err := t.w.Write(t.text.Bytes()); err != nil {
		return err
	}
	t.text.Reset()
	return t.control.Flush()
}
