package launch_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/launch"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// serveDesk serves a desk at a path until the test ends.
func serveDesk(t *testing.T, d *launch.Desk, l net.Listener) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- d.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		d.Close()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// A starved listener has no descriptor for a connection at first.
type starved struct {
	net.Listener
	errs []error
}

func (s *starved) Accept() (net.Conn, error) {
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		return nil, err
	}
	return s.Listener.Accept()
}

// A desk that cannot accept for now waits, and goes on: the engine behind it has all the SAs.
func TestDeskStarved(t *testing.T) {
	office := openOffice(t)
	path := filepath.Join(t.TempDir(), "a")
	l, err := pfkey.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	var errs []error
	for _, errno := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ECONNABORTED} {
		errs = append(errs, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", errno)})
	}
	serveDesk(t, office.desk, &starved{l, errs})
	s, err := launch.Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// Sessions have a bound; who is turned away hears why, and one that leaves makes room.
func TestDeskSessions(t *testing.T) {
	office := openOffice(t)
	path := filepath.Join(t.TempDir(), "a")
	l, err := pfkey.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	serveDesk(t, office.desk, l)
	var open []*launch.Session
	for range 256 {
		s, err := launch.Dial(path)
		if err != nil {
			t.Fatalf("session %d: %v", len(open)+1, err)
		}
		defer s.Close()
		open = append(open, s)
	}
	if _, err := launch.Dial(path); err == nil || !strings.Contains(err.Error(), "256 sessions are open") {
		t.Errorf("one more: %v", err)
	}
	if n := office.desk.Counters().Refused; n != 1 {
		t.Errorf("%d refused, want 1", n)
	}
	open[0].Close()
	for { // the desk hears of the end in its own time
		s, err := launch.Dial(path)
		if err == nil {
			s.Close()
			return
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

// Who may not open a session hears why.
func TestDeskCheck(t *testing.T) {
	office := openOffice(t)
	d := launch.NewDesk(office.server,
		launch.DeskOptions{Check: func(net.Conn) error { return errors.New("user 7 may not") }})
	path := filepath.Join(t.TempDir(), "a")
	l, err := pfkey.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	serveDesk(t, d, l)
	if _, err := launch.Dial(path); err == nil || !strings.Contains(err.Error(), "user 7 may not") {
		t.Errorf("%v", err)
	}
}

// curious is a log handler that asks a desk for its lock.
type curious struct {
	slog.Handler
	desk *launch.Desk
}

func (c *curious) Handle(context.Context, slog.Record) error {
	_, other := net.Pipe()
	c.desk.ServeConn(other) // no Unix socket: it only looks
	return nil
}

// Whoever is turned away, and whoever logs that, holds up nobody else at the desk.
func TestDeskTurnsAwayUnlocked(t *testing.T) {
	office := openOffice(t)
	log := &curious{Handler: slog.NewTextHandler(io.Discard, nil)}
	log.desk = launch.NewDesk(office.server, launch.DeskOptions{Log: slog.New(log),
		Check: func(net.Conn) error { return errors.New("user 7 may not") }})
	path := filepath.Join(t.TempDir(), "a")
	l, err := pfkey.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	serveDesk(t, log.desk, l)
	if _, err := launch.Dial(path); err == nil || !strings.Contains(err.Error(), "user 7 may not") {
		t.Errorf("%v", err)
	}
}
