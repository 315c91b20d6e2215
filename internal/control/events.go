package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/event"
)

// EventQuery says which events GET /events tells. The zero value is all that happen from now on.
type EventQuery struct {
	Filter event.Filter
	// From is the number of the first event, if the history still has it; 0: none of the past, 1: all that there are.
	From uint64
	Keys bool // show keys in messages that come from now on
	Past bool // end with what has happened already
}

// values are the parameters of a request.
func (q *EventQuery) values() url.Values {
	v := url.Values{}
	for _, t := range q.Filter.Types {
		v.Add("type", string(t))
	}
	for _, m := range q.Filter.Messages {
		v.Add("message", m)
	}
	for _, s := range q.Filter.Sockets {
		v.Add("socket", strconv.FormatUint(s, 10))
	}
	for _, s := range q.Filter.SPIs {
		v.Add("spi", event.HexSPI(s))
	}
	if q.From > 0 {
		v.Set("from", strconv.FormatUint(q.From, 10))
	}
	if q.Keys {
		v.Set("keys", "show")
	}
	if q.Past {
		v.Set("until", "now")
	}
	return v
}

// parseEventQuery reads the parameters of a request; several values of one are alternatives, and may stand behind
// commas.
func parseEventQuery(v url.Values) (q EventQuery, err error) {
	for name, values := range v {
		for _, word := range strings.Split(strings.Join(values, ","), ",") {
			if err := q.set(name, word); err != nil {
				return q, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return q, nil
}

func (q *EventQuery) set(name, word string) (err error) {
	f := &q.Filter
	switch name {
	case "type":
		var t event.Type
		t, err = event.ParseType(word)
		f.Types = append(f.Types, t)
	case "message":
		f.Messages = append(f.Messages, strings.ToUpper(word))
	case "socket":
		var n uint64
		if n, err = strconv.ParseUint(word, 10, 64); err != nil {
			err = fmt.Errorf("%q is no number of a socket", word)
		}
		f.Sockets = append(f.Sockets, n)
	case "spi":
		var spi uint32
		spi, err = event.ParseSPI(word)
		f.SPIs = append(f.SPIs, spi)
	case "from":
		q.From, err = ParseFrom(word)
	case "keys":
		if q.Keys = word == "show"; !q.Keys {
			err = fmt.Errorf("%q is not show", word)
		}
	case "until":
		if q.Past = word == "now"; !q.Past {
			err = fmt.Errorf("%q is not now", word)
		}
	default:
		err = fmt.Errorf("there are type, message, socket, spi, from, keys and until")
	}
	return err
}

// ParseFrom reads where events shall begin, for [EventQuery].
func ParseFrom(word string) (uint64, error) {
	switch word {
	case "beginning":
		return 1, nil
	case "now":
		return 0, nil
	}
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not beginning, now or the number of an event", word)
	}
	return n, nil
}

// gather is how long a reader waits after each answer for more to come, so that a flood of events is told in few.
const gather = 5 * time.Millisecond

// events tells what happens in the engine until the client or the server leaves.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	q, err := parseEventQuery(r.URL.Query())
	if err != nil {
		fail(w, http.StatusBadRequest, "%v", err)
		return
	}
	write := writeLine
	w.Header().Set("Content-Type", "application/x-ndjson")
	if strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		write = writeServerSent
		w.Header().Set("Content-Type", "text/event-stream")
		if n, err := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 63); err == nil {
			q.From = n + 1
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	c := http.NewResponseController(w)
	// A reader may take its time: the connection goes when another one wants its place.
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		fail(w, http.StatusInternalServerError, "%v", err)
		return
	}
	if err := c.SetWriteDeadline(time.Time{}); err != nil {
		fail(w, http.StatusInternalServerError, "%v", err)
		return
	}
	events := s.e.Events(engine.EventOptions{Filter: q.Filter, From: q.From, Keys: q.Keys})
	defer events.Close()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	stop := context.AfterFunc(s.stopping, cancel)
	defer stop()
	if c.Flush() != nil { // from here on nothing is missed
		return
	}
	var list []event.Event
	var text bytes.Buffer
	for {
		var more bool
		list, more = events.Next(list[:0])
		for i := range list {
			write(&text, &list[i])
		}
		if text.Len() > 0 {
			if _, err := w.Write(text.Bytes()); err != nil {
				return
			}
			text.Reset()
		}
		if more {
			continue
		}
		if c.Flush() != nil || q.Past || ctx.Err() != nil {
			return // with all that happened before the server stopped
		}
		if events.Wait(ctx) {
			select {
			case <-time.After(gather):
			case <-ctx.Done():
			}
		}
	}
}

func writeLine(b *bytes.Buffer, e *event.Event) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(e) // nothing in it can fail
}

// writeServerSent is an event as of text/event-stream (HTML, section 9.2).
func writeServerSent(b *bytes.Buffer, e *event.Event) {
	if e.N > 0 {
		fmt.Fprintf(b, "id: %d\n", e.N)
	}
	b.WriteString("data: ")
	writeLine(b, e)
	b.WriteByte('\n')
}

// Events reads events until ctx ends, the engine goes or, with q.Past, the past is over; each is handed to f, whose
// error ends it and is returned. ready, if it is not nil, is called when no later event will be missed. The error is
// nil at the end of the stream.
func (c *Client) Events(ctx context.Context, q EventQuery, ready func(), f func(event.Event) error) error {
	return c.EventLines(ctx, q, ready, func(line []byte) error {
		var e event.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("control: answer to /events: %w", err)
		}
		return f(e)
	})
}

// EventLines is [Client.Events] with the JSON of each event as the engine has written it, and a newline at its end. It
// belongs to f. Whoever only passes it on needs a fraction of the time.
func (c *Client) EventLines(ctx context.Context, q EventQuery, ready func(), f func(line []byte) error) error {
	resp, err := c.open(ctx, http.MethodGet, "/events?"+q.values().Encode(), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if ready != nil {
		ready()
	}
	for r := bufio.NewReader(resp.Body); ; {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return ctx.Err() // the engine has gone, in whatever way
		}
		if err := f(line); err != nil {
			return err
		}
	}
}
