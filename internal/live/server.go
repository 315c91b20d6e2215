package live

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/door"
	"github.com/pfkeyd/pfkeyd/wire"
)

const (
	// maxConns is how many connections there are at a time; one more takes the place of one that does nothing.
	maxConns  = 64
	maxHeader = 16 << 10
	maxBody   = 5 << 20
	// maxMessages is how many messages are explained at once, and maxBytesTold how many bytes they have.
	maxMessages  = 100
	maxBytesTold = 2 << 20
)

// Server shows what a recorder has. It is safe for concurrent use.
type Server struct {
	r        *Recorder
	dialect  *wire.Dialect
	log      *slog.Logger
	listener net.Listener
	guard    *guard
	http     *http.Server
	stopping context.Context // ends with the server
}

// Listen makes a server on a port of 127.0.0.1; 0 is any. [Server.Serve] has it begin. Errors are those of the
// network, and of an address without a dialect. log may be nil.
func Listen(ctx context.Context, r *Recorder, port uint16, log *slog.Logger) (*Server, error) {
	d, err := r.o.Engine.Dialect()
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{r: r, dialect: d, log: log, listener: l}
	s.guard = newGuard(l.Addr(), s.handler())
	stopping, stop := context.WithCancel(context.Background())
	s.stopping = stopping
	s.http = &http.Server{
		Handler:           s.guard,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      5 * time.Minute, // moving the clock takes a while
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ConnState: func(c net.Conn, state http.ConnState) {
			switch g := c.(*door.Guest); state {
			case http.StateActive:
				g.Is(door.Slow)
			case http.StateIdle:
				g.Is(door.Idle)
			case http.StateClosed:
				g.Leave()
			}
		},
	}
	s.http.RegisterOnShutdown(stop)
	return s, nil
}

// Address is where a browser finds the page. It has the secret: whoever knows it may look, and move the clock.
func (s *Server) Address() string {
	return fmt.Sprintf("http://%s/%s/", s.listener.Addr(), s.guard.secret)
}

// Serve answers browsers until ctx ends.
func (s *Server) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		last, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if s.http.Shutdown(last) != nil {
			s.http.Close()
		}
	})
	defer stop()
	lobby := door.NewLobby(s.listener, maxConns, func(err error, retry time.Duration) {
		s.log.Warn("page: accept", "err", err, "retry", retry)
	})
	if err := s.http.Serve(lobby); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{name}", s.page)
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /info", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, s.r.info(r.Context()))
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, s.r.Look(r.Context()))
	})
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("POST /clock", s.clock)
	mux.HandleFunc("POST /explain", s.explain)
	mux.HandleFunc("GET /export", s.export)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, "there is nothing at %q for %s", r.URL.Path, r.Method)
	})
	return mux
}

// fail answers with an error.
func fail(w http.ResponseWriter, code int, format string, a ...any) {
	answer(w, code, struct {
		Error string `json:"error"`
	}{fmt.Sprintf(format, a...)})
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
	w.Write(append(b, '\n')) // an error means that the browser has gone
}

// read decodes the body of a request; false if it has been refused. A form of another site cannot send JSON.
func read(w http.ResponseWriter, r *http.Request, v any) bool {
	if typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || typ != "application/json" {
		fail(w, http.StatusUnsupportedMediaType, "the body has to be application/json")
		return false
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err = d.Token(); err == io.EOF {
			return true
		} else if err == nil {
			err = errors.New("something follows the object")
		}
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		fail(w, http.StatusRequestEntityTooLarge, "the body has more than %d bytes", tooLarge.Limit)
		return false
	}
	fail(w, http.StatusBadRequest, "the body is not what was expected: %v", err)
	return false
}

// clock moves the engine's clock.
func (s *Server) clock(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Advance string `json:"advance"`
	}
	if !read(w, r, &q) {
		return
	}
	by, err := time.ParseDuration(q.Advance)
	if err != nil {
		fail(w, http.StatusBadRequest, "%q is not a duration such as 8h or 90s", q.Advance)
		return
	}
	c, err := s.r.advance(r.Context(), by)
	if code, text, no := refused(err); no {
		fail(w, code, "%s", text)
	} else if err != nil {
		fail(w, http.StatusBadGateway, "the engine does not answer: %v", err)
	} else {
		answer(w, http.StatusOK, c)
	}
}

// explain tells messages field by field.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Messages []string `json:"messages"`
	}
	if !read(w, r, &q) {
		return
	}
	if len(q.Messages) > maxMessages {
		fail(w, http.StatusBadRequest, "there are %d messages, and may be %d", len(q.Messages), maxMessages)
		return
	}
	x := newExplainer(s.dialect, s.r.o.Keys, maxTold)
	total := 0
	for i, text := range q.Messages {
		msg, err := hex.DecodeString(text)
		if err != nil {
			fail(w, http.StatusBadRequest, "message %d is not hexadecimal", i)
			return
		}
		if total += len(msg); total > maxBytesTold {
			fail(w, http.StatusBadRequest, "the messages have more than %d bytes", maxBytesTold)
			return
		}
		x.add(msg)
	}
	answer(w, http.StatusOK, &x.Explained)
}

// export gives the page as a file.
func (s *Server) export(w http.ResponseWriter, r *http.Request) {
	s.r.catchUp(r.Context())
	text, err := Export(r.Context(), s.r)
	if err != nil {
		fail(w, http.StatusInternalServerError, "%v", err)
		return
	}
	w.Header().Set("Content-Type", types[".html"])
	w.Header().Set("Content-Disposition", `attachment; filename="pfkeyd-`+s.r.o.Engine.Kernel+`.html"`)
	w.Write(text) // an error means that the browser has gone
}
