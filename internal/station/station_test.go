package station_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/control"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/internal/leak"
	"github.com/pfkeyd/pfkeyd/internal/station"
	"github.com/pfkeyd/pfkeyd/packetport"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestMain fails when a station leaves goroutines or descriptors behind.
func TestMain(m *testing.M) {
	os.Exit(leak.Run(m, "/station.", "/pfkey.", "/launch.", "/control.", "/packetport."))
}

func boot(t *testing.T) *engine.Engine {
	t.Helper()
	e, err := kernels.New("illumos", engine.Options{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// path is in a directory whose name is short enough for sockets.
func path(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "station")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// sockets are the names of what lies at a path and beside it.
func sockets(t *testing.T, path string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Type()&os.ModeSocket != 0 {
			names = append(names, e.Name())
		}
	}
	return names
}

var all = []string{"s", "s.attach", "s.control", "s.packets"}

// A station answers at all its ports until it is told to stop. Then its sockets are gone and its engine is closed, and
// another one may have the path.
func TestRun(t *testing.T) {
	path := path(t)
	for range 2 {
		e := boot(t)
		s, err := station.Listen(e, path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(all, sockets(t, path)); diff != "" {
			t.Errorf("sockets (-want +got)\n%s", diff)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		stopping := 0
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx, station.Options{Stopping: func() { stopping++ }}) }()

		client, err := pfkey.Dial(t.Context(), s.Address().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Flush(t.Context(), wire.SATypeESP); err != nil {
			t.Error(err)
		}
		packets, err := packetport.Dial(t.Context(), packetport.Path(path))
		if err != nil {
			t.Fatal(err)
		}
		clock := control.NewClient(control.Path(path))
		if status, err := clock.Status(t.Context(), 0); err != nil || status.Kernel != "illumos" {
			t.Errorf("status %+v: %v", status, err)
		}
		stop()
		if err := <-ended; err != nil || stopping != 1 {
			t.Errorf("it ends with %v, and says %d times that it stops", err, stopping)
		}
		client.Close()
		packets.Close()
		clock.Close()
		if left := sockets(t, path); left != nil {
			t.Errorf("it leaves %q", left)
		}
		if _, errno := e.Open(pfkey.Cred{Privileged: true}, 3, 2); errno == wire.OK {
			t.Error("its engine goes on")
		}
	}
}

// A station that cannot have one of its sockets gives up the others.
func TestListenTaken(t *testing.T) {
	for _, taken := range all {
		path := path(t)
		l, err := net.Listen("unixpacket", filepath.Join(filepath.Dir(path), taken))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if s, err := station.Listen(boot(t), path); err == nil {
			t.Errorf("%s is somebody else's, and it is had", taken)
			s.Close()
		}
		if diff := cmp.Diff([]string{taken}, sockets(t, path)); diff != "" {
			t.Errorf("sockets (-want +got)\n%s", diff)
		}
	}
}

// The end of the session ends the station.
func TestSession(t *testing.T) {
	path := path(t)
	s, err := station.Listen(boot(t), path)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	ours.Close()
	if err := s.Run(t.Context(), station.Options{Session: theirs}); err != nil {
		t.Error(err)
	}
}
