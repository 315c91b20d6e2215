package control_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/control"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/kernel/event"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// past reads the history.
func (s *setup) past(t *testing.T, q control.EventQuery) (all []event.Event) {
	t.Helper()
	q.From, q.Past = max(q.From, 1), true
	err := s.c.Events(t.Context(), q, nil, func(e event.Event) error {
		all = append(all, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// brief is an event in a word or two.
func brief(e *event.Event) string {
	s := string(e.Type)
	switch {
	case e.Message != nil:
		s += " " + e.Message.Name + " > " + e.Message.To
	case e.SA != nil:
		s += " " + e.SA.SPI + " " + e.SA.From + ">" + e.SA.To
	case e.Packet != nil:
		s += " " + e.Packet.Verdict + " " + e.Packet.SPI
	case e.Errno != "":
		s += " " + e.Errno
	}
	return s
}

func briefs(events []event.Event) (all []string) {
	for i := range events {
		all = append(all, brief(&events[i]))
	}
	return all
}

var keyed = []byte("sixteen key byte")

// add is an ADD with a key.
func add(d *wire.Dialect, spi wire.SPI) []byte {
	b := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAdd, SAType: wire.SATypeESP, Seq: 2, PID: 1})
	b = d.AppendSA(b, wire.SA{SPI: spi, State: wire.StateMature, Encrypt: wire.EncAESCBC})
	b = d.AppendAddress(b, wire.ExtAddressSrc, wire.Address{Addr: peer})
	b = d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Addr: own})
	b = d.AppendKey(b, wire.ExtKeyEncrypt, wire.Key{Bits: 128, Data: keyed})
	return d.Finish(b)
}

// story makes something of everything happen.
func (s *setup) story(t *testing.T) {
	t.Helper()
	sock, errno := s.e.Open(pfkey.Cred{PID: 7, Privileged: true}, 3, 2)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	s.reserve(t, sock, 0x1000)
	s.e.Inbound(&packet.Packet{ID: 5, Data: esp()})
	s.e.Announce(s.e.Now().Add(time.Hour))
	s.e.Proceed(s.e.Now().Add(time.Hour))
	if errno := sock.Send(add(s.e.Dialect(), 0x2000), pfkey.Cred{PID: 8, Privileged: true}); errno != wire.OK {
		t.Fatal(errno)
	}
	sock.Close()
}

// The history tells all that has happened, in order, with both times.
func TestEvents(t *testing.T) {
	s := start(t, engine.Options{}, control.Options{})
	from := s.e.Now()
	s.story(t)
	events := s.past(t, control.EventQuery{})
	for i, e := range events {
		if e.N != uint64(i+1) || e.Time.Before(from) || e.Real.IsZero() || i > 0 && e.Real.Before(events[i-1].Real) {
			t.Errorf("event %d: number %d, times %v and %v", i, e.N, e.Time, e.Real)
		}
	}
	want := []string{"opened", "message GETSPI > kernel", "sa 0x1000 >larval", "message GETSPI > program",
		"packet queued 0x1000", "clock", "sa 0x1000 larval>dead", "packet dropped 0x1000", "message ADD > kernel",
		"sa 0x2000 >mature", "message ADD > program", "closed"}
	got := briefs(events)
	for i, s := range got { // what expires is told to sockets or not, as the kernel likes
		if s == "message EXPIRE > program" {
			got = append(got[:i], got[i+1:]...)
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got)\n%s", diff)
	}
	request := events[1]
	if request.Socket != 1 || request.Message.SAType != "esp" ||
		!strings.HasPrefix(request.Message.Line, "GETSPI esp seq=1") {
		t.Errorf("the request is %+v, %+v", request, request.Message)
	}
	if p := events[5].Packet; p != nil && (p.ID != 5 || p.Data != hex.EncodeToString(esp()) || p.Counter == "") {
		t.Errorf("the packet is %+v", p)
	}
}

// What send fails with follows the message, and so does a message that there is no room for.
func TestEventsThatFail(t *testing.T) {
	e, err := kernels.New("linux", engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	e.KeepEvents()
	cred := pfkey.Cred{PID: 7, Privileged: true}
	sock, errno := e.Open(cred, 3, 2)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	defer sock.Close()
	if errno := sock.Send([]byte{2}, cred); errno == wire.OK {
		t.Fatal("a message of one byte is taken")
	}
	flush := e.Dialect().Finish(e.Dialect().AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgFlush}))
	for lost := uint64(0); lost == 0; lost = e.Status(1).Sockets[0].Lost {
		sock.Send(flush, cred)
	}
	events := e.Events(engine.EventOptions{From: 1})
	defer events.Close()
	var got []string
	for list, more := events.Next(nil); more; list, more = events.Next(nil) {
		got = append(got, briefs(list)...)
	}
	if diff := cmp.Diff([]string{"opened", "message  > kernel", "refused EMSGSIZE"}, got[:3]); diff != "" {
		t.Errorf("events (-want +got)\n%s", diff)
	}
	if last := got[len(got)-1]; last != "lost FLUSH > program" {
		t.Errorf("the last event is %s", last)
	}
}

// Filters are each a choice; several are a choice of all of them.
func TestEventFilters(t *testing.T) {
	s := start(t, engine.Options{}, control.Options{})
	s.story(t)
	for _, tt := range []struct {
		name string
		q    event.Filter
		want []string
	}{
		{"type", event.Filter{Types: []event.Type{event.Opened, event.Closed}}, []string{"opened", "closed"}},
		{"message", event.Filter{Messages: []string{"ADD"}},
			[]string{"message ADD > kernel", "message ADD > program"}},
		{"type or message", event.Filter{Types: []event.Type{event.Clock}, Messages: []string{"GETSPI"}},
			[]string{"message GETSPI > kernel", "message GETSPI > program", "clock"}},
		{"SPI", event.Filter{SPIs: []uint32{0x1000}, Types: []event.Type{event.Message, event.Packet},
			Sockets: nil}, []string{"message GETSPI > program", "packet queued 0x1000", "packet dropped 0x1000"}},
		{"socket", event.Filter{Sockets: []uint64{2}}, nil},
		{"socket and type", event.Filter{Sockets: []uint64{1}, Types: []event.Type{event.Closed, event.Packet}},
			[]string{"closed"}},
	} {
		got := briefs(s.past(t, control.EventQuery{Filter: tt.q}))
		for i, s := range got {
			if s == "message EXPIRE > program" {
				got = append(got[:i], got[i+1:]...)
				break
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.name, diff)
		}
	}
	for _, query := range []string{"type=dance", "socket=x", "spi=4294967296", "from=yesterday", "keys=1",
		"until=never", "since=1", "type="} {
		req, _ := http.NewRequest(http.MethodGet, "http://engine/events?"+query, nil)
		resp, err := s.raw(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", query, resp.Status)
		}
	}
}

// The page of events has the parameters that there are, and requests that are answered.
func TestEventsPage(t *testing.T) {
	s := start(t, engine.Options{}, control.Options{})
	text, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(path string) (code int, body string) {
		req, _ := http.NewRequest(http.MethodGet, "http://engine"+path, nil)
		resp, err := s.raw(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK { // else it may not end
			b, _ := io.ReadAll(resp.Body)
			body = string(b)
		}
		return resp.StatusCode, body
	}
	paths := regexp.MustCompile(`http://engine(/events[^']*)`).FindAllStringSubmatch(string(text), -1)
	for _, path := range paths {
		if code, body := ask(path[1]); code != http.StatusOK {
			t.Errorf("%s: %d %s", path[1], code, body)
		}
	}
	_, table, _ := strings.Cut(string(text), "| parameter |")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := regexp.MustCompile("(?m)^\\| `([a-z]+)`").FindAllStringSubmatch(table, -1)
	_, all := ask("/events?since=1")
	for _, row := range rows {
		if !regexp.MustCompile(`\b` + row[1] + `\b`).MatchString(all) {
			t.Errorf("there is no %s: %s", row[1], all)
		}
	}
	if len(paths) < 4 || len(rows) != strings.Count(all, ",")+2 {
		t.Errorf("%d requests, %d parameters on the page; %s", len(paths), len(rows), all)
	}
}

// raw is a client of HTTP at the port.
func (s *setup) raw(t *testing.T) *http.Client {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", s.path)
		}}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// Keys are shown to those who ask, in what comes from then on, and to nobody after that.
func TestEventKeys(t *testing.T) {
	s := start(t, engine.Options{}, control.Options{})
	key := hex.EncodeToString(keyed)
	shows := func(events []event.Event) (n int) {
		for _, e := range events {
			if e.Message != nil && strings.Contains(e.Message.Data, key) {
				n++
			}
		}
		return n
	}
	sock := s.open(t)
	send := func(spi wire.SPI) {
		if errno := sock.Send(add(s.e.Dialect(), spi), pfkey.Cred{Privileged: true}); errno != wire.OK {
			t.Fatal(errno)
		}
	}
	send(0x1000)
	enough := errors.New("enough")
	ready := make(chan struct{})
	var open, hidden []event.Event
	done := make(chan error, 1)
	go func() {
		done <- s.c.Events(t.Context(), control.EventQuery{From: 1, Keys: true}, func() { close(ready) },
			func(e event.Event) error {
				open = append(open, e)
				if e.Message != nil && e.Message.SPI == "0x3000" {
					return enough
				}
				return nil
			})
	}()
	<-ready
	send(0x2000)
	hidden = s.past(t, control.EventQuery{})
	sock.Send(add(s.e.Dialect(), 0x3000), pfkey.Cred{Privileged: true})
	if err := <-done; !errors.Is(err, enough) {
		t.Fatal(err)
	}
	if n := shows(open); n != 2 {
		t.Errorf("who asks sees the key %d times, want it in the two requests that came then", n)
	}
	if n := shows(hidden); n != 0 {
		t.Errorf("who does not ask sees the key %d times", n)
	}
}

// Server-sent events have numbers, from which a reader goes on.
func TestServerSentEvents(t *testing.T) {
	s := start(t, engine.Options{}, control.Options{})
	s.story(t)
	req, _ := http.NewRequest(http.MethodGet, "http://engine/events?until=now", nil)
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Last-Event-ID", "1")
	resp, err := s.raw(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" ||
		!strings.HasPrefix(string(text), "id: 2\ndata: {\"n\":2,\"time\":\"") ||
		!strings.HasSuffix(string(text), "}\n\n") {
		t.Errorf("%s\n%.200s", got, text)
	}
}

// A stream goes on until the server shuts down, and then has all that happened.
func TestEventsEnd(t *testing.T) {
	s := start(t, engine.Options{}, control.Options{})
	ready := make(chan struct{})
	done := make(chan error, 1)
	var got []event.Event
	go func() {
		done <- s.c.Events(t.Context(), control.EventQuery{Filter: event.Filter{Types: []event.Type{event.Opened}}},
			func() { close(ready) }, func(e event.Event) error {
				got = append(got, e)
				return nil
			})
	}()
	<-ready
	for range 500 {
		s.open(t)
	}
	if err := s.srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil || len(got) != 500 {
		t.Errorf("%d events, %v", len(got), err)
	}
}

// A reader that does not read holds nobody up, and is told how much it has missed.
func TestStalledReader(t *testing.T) {
	s := start(t, engine.Options{}, control.Options{})
	req, _ := http.NewRequest(http.MethodGet, "http://engine/events", nil)
	resp, err := s.raw(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	const packets = 40_000
	data := esp()
	for id := range uint64(packets) {
		s.e.Inbound(&packet.Packet{ID: id + 1, Data: data})
	}
	lines := json.NewDecoder(resp.Body)
	var seen, missing uint64
	for seen+missing < packets {
		var e event.Event
		if err := lines.Decode(&e); err != nil {
			t.Fatal(err)
		}
		if e.Type == event.Missing {
			if missing += e.Missing.Count; e.Missing.Of != event.Packet {
				t.Fatalf("%+v is missing", e.Missing)
			}
		} else {
			seen++
		}
	}
	if seen+missing != packets || missing == 0 {
		t.Errorf("%d seen, %d missing, of %d", seen, missing, packets)
	}
}
