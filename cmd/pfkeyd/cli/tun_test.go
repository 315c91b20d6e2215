package cli

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/packet"
)

// fakeTUN is a TUN device as an engine sees it.
type fakeTUN struct {
	in  chan []byte // what the machine routes into it
	out chan []byte // what comes out of it
	end chan struct{}
	err error // of Write
}

func newFakeTUN() *fakeTUN {
	return &fakeTUN{in: make(chan []byte), out: make(chan []byte, 10), end: make(chan struct{})}
}

func (d *fakeTUN) Read(b []byte) (int, error) {
	select {
	case p, ok := <-d.in:
		if !ok {
			return 0, os.ErrClosed
		}
		return copy(b, p), nil
	case <-d.end:
		return 0, os.ErrDeadlineExceeded
	}
}

func (d *fakeTUN) Write(b []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	d.out <- append([]byte(nil), b...)
	return len(b), nil
}

func (d *fakeTUN) SetReadDeadline(time.Time) error { close(d.end); return nil }
func (d *fakeTUN) Close() error                    { return nil }

func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if diff := cmp.Diff(fmt.Sprintf("%x", want), fmt.Sprintf("%x", got)); diff != "" {
		t.Errorf("%s (-want +got)\n%s", what, diff)
	}
}

// TestTUNTwo: what comes out of one device goes into the other.
func TestTUNTwo(t *testing.T) {
	e := newEngine(t)
	host, wire := newFakeTUN(), newFakeTUN()
	l := &tunLink{target: e, own: e.Host().Own, host: host, wire: wire}
	l.start(func(err error) { t.Error(err) })
	defer l.close()
	out, in := datagram(here, there, "out"), datagram(there, here, "in")
	host.in <- out
	same(t, "out", <-wire.out, out)
	wire.in <- in
	same(t, "in", <-host.out, in)
	wire.in <- unknown(t)

	// What comes in by the packet port, or is made by the engine, has the same ways out.
	e.Inbound(&packet.Packet{Data: in})
	same(t, "injected", <-host.out, in)
	e.Emit(out)
	same(t, "made by the engine", <-wire.out, out)
	wire.err = os.ErrInvalid
	host.in <- out
	l.stop()
	if diff := cmp.Diff(any(tunCounters{HostRead: 2, HostWritten: 2, WireRead: 2, WireWritten: 2, Lost: 1}),
		l.Counters()); diff != "" {
		t.Errorf("counters (-want +got)\n%s", diff)
	}
}

// TestTUNOne: with one device the destination tells the ways apart, and nothing goes back to where it came from as it
// was.
func TestTUNOne(t *testing.T) {
	e := newEngine(t)
	both := newFakeTUN()
	l := &tunLink{target: e, own: e.Host().Own, host: both, wire: both}
	l.start(func(err error) { t.Error(err) })
	defer l.close()
	out, in := datagram(here, there, "out"), datagram(there, here, "in")
	both.in <- out
	both.in <- in
	both.in <- unknown(t) // for an own address: it comes in, and nobody can open it
	e.Outbound(&packet.Packet{ID: 1, Data: out}, "")
	same(t, "injected", <-both.out, out)
	l.stop()
	if diff := cmp.Diff(any(tunCounters{HostRead: 1, WireRead: 2, WireWritten: 1, Returned: 2}),
		l.Counters()); diff != "" {
		t.Errorf("counters (-want +got)\n%s", diff)
	}
	if got := e.Ledger().Balance().Reasons; got["no-sa"] != 1 {
		t.Errorf("dropped %v", got)
	}
	if got := e.Ledger().Balance().Verdicts; got["transmitted"] != 2 || got["delivered"] != 1 {
		t.Errorf("verdicts %v", got)
	}
}

// TestTUNGone: a device that goes away is told.
func TestTUNGone(t *testing.T) {
	e := newEngine(t)
	wire := newFakeTUN()
	l := &tunLink{target: e, own: e.Host().Own, wire: wire}
	told := make(chan error, 1)
	l.start(func(err error) { told <- err })
	close(wire.in)
	if err := <-told; err == nil {
		t.Error("without an error")
	}
	l.stop()
	l.close()
}

func TestTUNNames(t *testing.T) {
	for _, tt := range []struct {
		host, wire string
		ok         bool
	}{
		{"", "", true}, {"tun0", "", true}, {"tun0=ip.tun0", "", true}, {"tun0", "tun1", true}, {"", "tun1", true},
		{"fifteenbytes_ab", "", true},
		{"sixteen_bytes_ab", "", false}, {"tun%d", "", false}, {"../tun", "", false}, {"..", "", false},
		{"tun0=", "", false}, {"=ip.tun0", "", false},
		{"tun 0", "", false}, {"tun0", "tun%d", false}, {"tun0", "tun1=ip.tun0", true},
	} {
		f := tunFlags{host: tt.host, wire: tt.wire}
		if err := f.check(); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", f, err)
		}
	}
}
