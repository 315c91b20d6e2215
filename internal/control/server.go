package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/door"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/status"
)

const (
	maxBody   = 4096
	maxHeader = 16 << 10
	// defaultSAs is how many SAs a status lists unless asked otherwise, and maxSAs the most; and as many ACQUIREs and
	// policies.
	defaultSAs = 1000
	maxSAs     = 10_000
	// maxConns is how many connections there are at a time; one more takes the place of one that does nothing.
	maxConns = 64
	// maxAdvance bounds one request: kernels that look at their SAs every few seconds do so millions of times in a
	// year.
	maxAdvance = 366 * 24 * time.Hour
	// stride is how far the clock moves between two looks at whether the client is still there.
	stride = time.Hour
)

// Status is what GET /status answers.
type Status struct {
	status.Engine
	Servers map[string]any `json:"servers,omitempty"` // see Options.Servers
}

// Clock is what /clock answers.
type Clock struct {
	Now     time.Time  `json:"now"`
	Virtual bool       `json:"virtual"`        // moved by POST /clock only
	Next    *time.Time `json:"next,omitempty"` // when the engine has something to do next
}

// Options of a [Server]. The zero value is usable.
type Options struct {
	// Check decides, once per connection, whether the other side may use the port; its error is told to it. nil:
	// whoever can connect may.
	Check func(net.Conn) error
	// Servers reads the counters of what stands in front of the engine, by name such as "pfkey" or "packets"; each
	// value is something that becomes a JSON object. Its numbers appear among the metrics.
	Servers map[string]func() any
	// Log hears of refused connections and of errors of net/http; nil: nobody.
	Log *slog.Logger
}

// Server is the engine's side of the control port. Serve, Shutdown and Close may be called in any order and more than
// once, and are safe for concurrent use. It does not close the engine.
type Server struct {
	e    *engine.Engine
	opts Options
	log  *slog.Logger
	http *http.Server
	// stopping ends with the server.
	stopping context.Context

	clock sync.Mutex // one request moves the clock at a time; taken before the engine's control lock
}

// NewServer makes a server for e.
func NewServer(e *engine.Engine, o Options) *Server {
	s := &Server{e: e, opts: o, log: o.Log}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	stopping, stop := context.WithCancel(context.Background())
	s.stopping = stopping
	s.http = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      5 * time.Minute, // moving the clock takes a while
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		ConnContext:       s.check,
		ConnState: func(c net.Conn, state http.ConnState) {
			switch g := c.(*door.Guest); state {
			case http.StateActive:
				g.Is(door.Slow) // a byte of a request is there
			case http.StateIdle:
				g.Is(door.Idle)
			case http.StateClosed:
				g.Leave()
			}
		},
	}
	s.http.RegisterOnShutdown(stop)
	return s
}

// Serve answers requests on l, a stream listener such as that of [Listen], until the server is shut down or closed, and
// then returns nil; l is closed. When ctx ends the server is closed.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	defer l.Close()
	lobby := door.NewLobby(l, maxConns, func(err error, retry time.Duration) {
		s.log.Warn("control port: accept", "err", err, "retry", retry)
	})
	if err := s.http.Serve(lobby); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown stops accepting and waits for the requests that are being answered, or for ctx, whose error it returns then.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		s.http.Close()
	}
	return err
}

// Close ends everything at once.
func (s *Server) Close() error { return s.http.Close() }

// refusal is the context key of the error of Options.Check.
type refusal struct{}

func (s *Server) check(ctx context.Context, c net.Conn) context.Context {
	g := c.(*door.Guest)
	ctx = context.WithValue(ctx, guestKey{}, g)
	if s.opts.Check == nil {
		return ctx
	}
	if err := s.opts.Check(g.Conn); err != nil {
		s.log.Warn("control port: connection refused", "err", err)
		return context.WithValue(ctx, refusal{}, err)
	}
	return ctx
}

// guestKey is the context key of the guest whose request it is.
type guestKey struct{}

// working marks the connection of a request while the engine is at work for it, until the function that it returns is
// called.
func working(ctx context.Context) (done func()) {
	g, ok := ctx.Value(guestKey{}).(*door.Guest)
	if !ok {
		return func() {}
	}
	g.Is(door.AtWork)
	return func() { g.Is(door.Slow) }
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", s.status)
	mux.HandleFunc("GET /clock", s.getClock)
	mux.HandleFunc("POST /clock", s.postClock)
	mux.HandleFunc("GET /metrics", s.metrics)
	mux.HandleFunc("GET /events", s.events)
	for path, methods := range map[string]string{"/status": "GET, HEAD", "/clock": "GET, HEAD, POST",
		"/metrics": "GET, HEAD", "/events": "GET, HEAD"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", methods)
			fail(w, http.StatusMethodNotAllowed, "%s takes %s", path, methods)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, "there are /status, /clock, /metrics and /events")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err, ok := r.Context().Value(refusal{}).(error); ok {
			w.Header().Set("Connection", "close")
			fail(w, http.StatusForbidden, "%v", err)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		mux.ServeHTTP(w, r)
	})
}

// failure is the body of every error.
type failure struct {
	Error string `json:"error"`
}

func fail(w http.ResponseWriter, code int, format string, a ...any) {
	answer(w, code, failure{fmt.Sprintf(format, a...)})
}

// answer encodes before it writes, so that no slow reader holds anything up.
func answer(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(append(b, '\n')) // an error means that the client has gone
}

func (s *Server) read(ctx context.Context, limit int) Status {
	defer working(ctx)()
	st := Status{Engine: s.e.Status(limit)}
	if len(s.opts.Servers) > 0 {
		st.Servers = map[string]any{}
	}
	for name, read := range s.opts.Servers {
		st.Servers[name] = read()
	}
	return st
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	limit := defaultSAs
	if v := r.URL.Query().Get("sas"); v != "" {
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil {
			fail(w, http.StatusBadRequest, "sas=%q is not a number of SAs", v)
			return
		}
		limit = maxSAs
		if n > 0 {
			limit = int(min(n, maxSAs))
		}
	}
	answer(w, http.StatusOK, s.read(r.Context(), limit))
}

func (s *Server) readClock() Clock {
	c := Clock{Now: s.e.Now(), Virtual: s.e.Virtual()}
	if t, ok := s.e.Next(); ok {
		c.Next = &t
	}
	return c
}

func (s *Server) getClock(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, s.readClock())
}

// advance is the body of POST /clock.
type advance struct {
	Advance string `json:"advance"` // as time.ParseDuration reads it
}

func (s *Server) postClock(w http.ResponseWriter, r *http.Request) {
	var a advance
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(&a)
	if err == nil {
		if _, err = d.Token(); err == io.EOF {
			err = nil
		} else if err == nil {
			err = errors.New("something follows the object")
		}
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		fail(w, http.StatusRequestEntityTooLarge, "the body has more than %d bytes", maxBody)
		return
	}
	if err != nil {
		fail(w, http.StatusBadRequest, `the body is not {"advance":"DURATION"}: %v`, err)
		return
	}
	by, err := time.ParseDuration(a.Advance)
	switch {
	case err != nil:
		fail(w, http.StatusBadRequest, "advance %q is not a duration such as 8h or 90s", a.Advance)
		return
	case by < 0:
		fail(w, http.StatusBadRequest, "advance %s: a clock does not go back", a.Advance)
		return
	case by > maxAdvance:
		fail(w, http.StatusBadRequest, "advance %s is more than %v in one go", a.Advance, maxAdvance)
		return
	}
	if !s.e.Virtual() {
		fail(w, http.StatusConflict,
			"the engine's clock is the machine's; one that moves on demand needs --clock virtual")
		return
	}
	defer working(r.Context())()
	s.clock.Lock()
	defer s.clock.Unlock()
	to := s.e.Now().Add(by)
	if to.Year() > 2200 {
		fail(w, http.StatusBadRequest, "advance %s: the clock ends with the year 2200", a.Advance)
		return
	}
	s.e.Announce(to)
	for now := s.e.Now(); ; {
		if now = now.Add(stride); now.After(to) {
			now = to
		}
		s.e.Proceed(now)
		if !now.Before(to) {
			break
		}
		if r.Context().Err() != nil {
			return // nobody waits for the answer; the clock stays where it got
		}
	}
	answer(w, http.StatusOK, s.readClock())
}
