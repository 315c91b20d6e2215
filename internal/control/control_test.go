package control_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/control"
	"github.com/pfkeyd/pfkeyd/internal/door"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/internal/leak"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

var (
	own  = netip.MustParseAddr("192.0.2.1")
	peer = netip.MustParseAddr("192.0.2.2")
)

type setup struct {
	e    *engine.Engine
	srv  *control.Server
	path string
	c    *control.Client
	done chan error
}

func start(t *testing.T, eo engine.Options, co control.Options) *setup {
	t.Helper()
	before := runtime.NumGoroutine()
	eo.Addrs = []netip.Addr{own}
	e, err := kernels.New("illumos", eo)
	if err != nil {
		t.Fatal(err)
	}
	e.KeepEvents()
	s := &setup{e: e, path: control.Path(filepath.Join(t.TempDir(), "e")), done: make(chan error, 1)}
	l, err := control.Listen(s.path)
	if err != nil {
		t.Fatal(err)
	}
	s.srv = control.NewServer(e, co)
	go func() { s.done <- s.srv.Serve(context.Background(), l) }()
	s.c = control.NewClient(s.path)
	t.Cleanup(func() {
		s.c.Close()
		s.srv.Close()
		if err := <-s.done; err != nil {
			t.Errorf("Serve = %v", err)
		}
		e.Close()
		leak.Goroutines(t, before)
	})
	return s
}

func (s *setup) open(t *testing.T) pfkey.Socket {
	t.Helper()
	sock, errno := s.e.Open(pfkey.Cred{Privileged: true}, 3, 2)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	t.Cleanup(sock.Close)
	return sock
}

// larval makes a LARVAL SA with the given SPI, over a socket that stays open.
func (s *setup) larval(t *testing.T, spi wire.SPI) {
	t.Helper()
	s.reserve(t, s.open(t), spi)
}

func (s *setup) reserve(t *testing.T, sock pfkey.Socket, spi wire.SPI) {
	t.Helper()
	d := s.e.Dialect()
	b := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgGetSPI, SAType: wire.SATypeESP, Seq: 1, PID: 1})
	b = d.AppendAddress(b, wire.ExtAddressSrc, wire.Address{Addr: peer})
	b = d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Addr: own})
	b = d.AppendSPIRange(b, wire.SPIRange{Min: spi, Max: spi})
	if errno := sock.Send(d.Finish(b), pfkey.Cred{Privileged: true}); errno != wire.OK {
		t.Fatalf("GETSPI: %v", errno)
	}
}

// esp is a packet for that SA.
func esp() []byte {
	b := make([]byte, 60)
	b[0], b[3], b[8], b[9] = 0x45, 60, 64, 50
	copy(b[12:], peer.AsSlice())
	copy(b[16:], own.AsSlice())
	b[22] = 0x10
	binary.BigEndian.PutUint16(b[10:], ^ip.Checksum(0, b[:20]))
	return b
}

func TestStatus(t *testing.T) {
	s := start(t, engine.Options{}, control.Options{Servers: map[string]func() any{
		"packets": func() any { return struct{ Injected int }{7} },
	}})
	s.larval(t, 0x1000)
	s.larval(t, 0x1001)
	s.e.Inbound(&packet.Packet{ID: 5, Data: esp()})
	st, err := s.c.Status(t.Context(), -1)
	if err != nil {
		t.Fatal(err)
	}
	if st.Kernel != "illumos" || len(st.SAs) != 2 || st.SACount != 2 || st.Ledger.Held != 1 || len(st.Sockets) != 2 {
		t.Errorf("%+v", st)
	}
	held := 0
	for _, sa := range st.SAs {
		for _, p := range sa.Held {
			held++
			if p.ID != 5 || p.Bytes != 60 {
				t.Errorf("held: %+v", p)
			}
		}
	}
	if held != 1 {
		t.Errorf("%d held packets are listed", held)
	}
	if m, ok := st.Servers["packets"].(map[string]any); !ok || m["Injected"] != 7.0 {
		t.Errorf("servers: %v", st.Servers)
	}
	if st, err = s.c.Status(t.Context(), 1); err != nil || len(st.SAs) != 1 || st.SACount != 2 {
		t.Errorf("with a limit of 1: %d of %d SAs, %v", len(st.SAs), st.SACount, err)
	}
	if st, err = s.c.Status(t.Context(), 0); err != nil || len(st.SAs) != 2 {
		t.Errorf("without limit: %d SAs, %v", len(st.SAs), err)
	}
}

func TestClock(t *testing.T) {
	begin := time.Date(2020, 2, 2, 2, 2, 2, 0, time.UTC)
	s := start(t, engine.Options{Start: begin}, control.Options{})
	s.larval(t, 0x1000)
	var got []packet.Verdict
	s.e.Inbound(&packet.Packet{Data: esp(), Done: func(_ *packet.Packet, v packet.Verdict) { got = append(got, v) }})
	c, err := s.c.Clock(t.Context())
	if err != nil || !c.Now.Equal(begin) || !c.Virtual || c.Next == nil || !c.Next.After(begin) {
		t.Fatalf("%+v, %v", c, err)
	}
	c, err = s.c.Advance(t.Context(), 8*time.Hour)
	if err != nil || !c.Now.Equal(begin.Add(8*time.Hour)) || !s.e.Now().Equal(c.Now) {
		t.Fatalf("%+v, %v", c, err)
	}
	// What was due has happened, before the answer came.
	if len(got) != 2 || got[1].Reason != packet.LarvalGone {
		t.Errorf("verdicts %+v", got)
	}
	if c, err = s.c.Advance(t.Context(), 0); err != nil || !c.Now.Equal(begin.Add(8*time.Hour)) {
		t.Errorf("advance by nothing: %+v, %v", c, err)
	}
	// Two at a time add up.
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := s.c.Advance(t.Context(), 90*time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if now := s.e.Now(); !now.Equal(begin.Add(14 * time.Hour)) {
		t.Errorf("the clock shows %v", now)
	}
}

func TestRealClock(t *testing.T) {
	s := start(t, engine.Options{Clock: func() time.Time { return time.Unix(1, 0) }}, control.Options{})
	c, err := s.c.Clock(t.Context())
	if err != nil || c.Virtual || !c.Now.Equal(time.Unix(1, 0)) {
		t.Errorf("%+v, %v", c, err)
	}
	_, err = s.c.Advance(t.Context(), time.Hour)
	var e *control.Error
	if !errors.As(err, &e) || e.Code != http.StatusConflict || !strings.Contains(err.Error(), "--clock virtual") {
		t.Errorf("Advance = %v", err)
	}
}

func (s *setup) request(t *testing.T, method, path, body string) (*http.Response, string) {
	t.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", s.path)
	}}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://x"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestRequests(t *testing.T) {
	s := start(t, engine.Options{}, control.Options{})
	tests := []struct {
		method, path, body string
		code               int
		contains           string
	}{
		{"GET", "/status", "", 200, `"kernel":"illumos"`},
		{"GET", "/status?sas=5", "", 200, `"sas":[]`},
		{"GET", "/status?sas=-1", "", 400, `sas=\"-1\" is not a number`},
		{"GET", "/status?sas=99999999999", "", 400, "not a number"},
		{"HEAD", "/status", "", 200, ""},
		{"POST", "/status", "", 405, "/status takes GET, HEAD"},
		{"DELETE", "/clock", "", 405, "/clock takes GET, HEAD, POST"},
		{"PUT", "/metrics", "", 405, "/metrics takes"},
		{"GET", "/", "", 404, "there are /status"},
		{"GET", "/status/", "", 404, "there are /status"},
		{"GET", "/debug/pprof/", "", 404, ""},
		{"GET", "/clock", "", 200, `"virtual":true`},
		{"POST", "/clock", `{"advance":"90s"}`, 200, `"now":"2014-01-01T00:01:30Z"`},
		{"POST", "/clock", `{"advance":"-1s"}`, 400, "does not go back"},
		{"POST", "/clock", `{"advance":"soon"}`, 400, "not a duration"},
		{"POST", "/clock", `{"advance":"9000h"}`, 400, "in one go"},
		{"POST", "/clock", `{"advance":8}`, 400, "the body is not"},
		{"POST", "/clock", `{"advance":"1s","x":1}`, 400, "unknown field"},
		{"POST", "/clock", `{"advance":"1s"} {}`, 400, "something follows"},
		{"POST", "/clock", `{"advance":"1s"`, 400, "the body is not"},
		{"POST", "/clock", ``, 400, "the body is not"},
		{"POST", "/clock", `null`, 400, "not a duration"},
		{"POST", "/clock", `{"advance":"` + strings.Repeat("1", 5000) + `s"}`, 413, "more than 4096 bytes"},
		{"POST", "/clock", `{"advance":"1s"}` + strings.Repeat(" ", 5000), 413, "more than 4096 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path+" "+tt.body[:min(len(tt.body), 30)], func(t *testing.T) {
			resp, body := s.request(t, tt.method, tt.path, tt.body)
			if resp.StatusCode != tt.code || !strings.Contains(body, tt.contains) {
				t.Errorf("%s: %s", resp.Status, body)
			}
			if resp.Header.Get("Content-Type") != "application/json" {
				t.Errorf("content type %q", resp.Header.Get("Content-Type"))
			}
			if tt.method != "HEAD" {
				var v map[string]any
				if err := json.Unmarshal([]byte(body), &v); err != nil {
					t.Error(err)
				}
				if _, ok := v["error"]; ok != (tt.code != 200) {
					t.Errorf("body %s", body)
				}
			}
			if tt.code == 405 && resp.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	s := start(t, engine.Options{}, control.Options{Servers: map[string]func() any{
		`od"d`:  func() any { return map[string]any{"n": uint64(1 << 60), "text": "x"} },
		"empty": func() any { return nil },
	}})
	s.larval(t, 0x1000)
	s.e.Inbound(&packet.Packet{Data: esp()})
	s.e.Inbound(&packet.Packet{Data: []byte{1}})
	b, err := s.c.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sample := regexp.MustCompile(`^[a-z_]+(\{[a-z]+="([^"\\]|\\.)*"(,[a-z]+="([^"\\]|\\.)*")*\})? [0-9.e+]+$`)
	families := map[string]bool{}
	for l := range strings.Lines(string(b)) {
		l = strings.TrimSuffix(l, "\n")
		if f := strings.Fields(l); strings.HasPrefix(l, "# TYPE ") {
			families[f[2]] = true
		} else if !strings.HasPrefix(l, "# HELP ") {
			if !sample.MatchString(l) {
				t.Errorf("malformed sample %q", l)
			}
			if name, _, _ := strings.Cut(strings.Fields(l)[0], "{"); !families[name] {
				t.Errorf("no TYPE before %q", l)
			}
		}
	}
	for _, want := range []string{
		`pfkeyd_info{kernel="illumos",fault=""} 1`,
		"pfkeyd_packets_injected_total 2",
		"pfkeyd_packets_held 1",
		"pfkeyd_packets_in_flight 0",
		`pfkeyd_packets_ended_total{verdict="dropped"} 1`,
		`pfkeyd_packets_dropped_total{reason="bad-header"} 1`,
		"pfkeyd_sas 1",
		"pfkeyd_sockets 1",
		`pfkeyd_server{server="od\"d",name="n"} 1152921504606846976`,
	} {
		if !strings.Contains(string(b), want+"\n") {
			t.Errorf("no line %q in\n%s", want, b)
		}
	}
}

// TestStatusIsBounded: of a large database a part is listed, and the rest counted.
func TestStatusIsBounded(t *testing.T) {
	s := start(t, engine.Options{}, control.Options{})
	const n = 10_007
	sock := s.open(t)
	for spi := range wire.SPI(n) {
		s.reserve(t, sock, 0x1000+spi)
	}
	for limit, want := range map[int]int{-1: 1000, 0: 10_000, 17: 17, 10_005: 10_000, 1 << 30: 10_000} {
		st, err := s.c.Status(t.Context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(st.SAs) != want || st.SACount != n {
			t.Errorf("limit %d: %d SAs of %d are listed, want %d of %d", limit, len(st.SAs), st.SACount, want, n)
		}
	}
}

// fullHouse opens as many connections as there may be, each of which has written text. It waits until the engine has
// let all of them in.
func fullHouse(t *testing.T, s *setup, text string) (conns []net.Conn) {
	t.Helper()
	for range 64 {
		c, err := net.Dial("unix", s.path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	return conns
}

// Connections have a bound, and those that do nothing give way: whatever 64 of them wait for, the next one is served at
// once.
func TestIdleGiveWay(t *testing.T) {
	const request = "GET /clock HTTP/1.1\r\nHost: engine\r\n\r\n"
	for _, tt := range []struct {
		name, text string
		gives      time.Duration // after which the server itself gives such a client up
	}{
		{"silent", "", 5 * time.Second},
		{"half a request", "GET /clock HT", 5 * time.Second},
		{"half a header", "GET /clock HTTP/1.1\r\nHost: eng", 5 * time.Second},
		{"half a body", "POST /clock HTTP/1.1\r\nHost: engine\r\nContent-Length: 20\r\n\r\n{", 10 * time.Second},
		{"between two requests", request, time.Minute},
		{"an answer that is not read", "GET /status?sas=0 HTTP/1.1\r\nHost: engine\r\n\r\n", 5 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, engine.Options{}, control.Options{})
			sock := s.open(t)
			for spi := range wire.SPI(2000) { // so that an answer fills a socket
				s.reserve(t, sock, 0x1000+spi)
			}
			fullHouse(t, s, tt.text)
			ctx, cancel := context.WithTimeout(t.Context(), tt.gives*8/10)
			defer cancel()
			for range 3 {
				if _, err := s.c.Status(ctx, 1); err != nil {
					t.Fatal(err)
				}
				s.c.Close()
			}
		})
	}
}

// Who is idle gives way before who has begun to ask, and of these the one that has been idle for longest.
func TestWhoGivesWay(t *testing.T) {
	s := start(t, engine.Options{}, control.Options{})
	conns := fullHouse(t, s, "GET /clock HTTP/1.1\r\n")
	answered := func(c net.Conn) bool {
		t.Helper()
		n, err := c.Read(make([]byte, 4096))
		return n > 0 && err == nil
	}
	for _, i := range []int{40, 20} {
		if _, err := io.WriteString(conns[i], "Host: engine\r\n\r\n"); err != nil || !answered(conns[i]) {
			t.Fatal("no answer", err)
		}
	}
	for _, i := range []int{40, 20} {
		// The answer is there before the engine knows that the connection is idle; after the next one it does.
		if _, err := io.WriteString(conns[i], "GET /clock HTTP/1.1\r\nHost: engine\r\n\r\n"); err != nil ||
			!answered(conns[i]) {
			t.Fatal("no answer", err)
		}
	}
	if _, err := s.c.Clock(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone := 0
	for _, i := range []int{40, 20} {
		conns[i].SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := conns[i].Read(make([]byte, 1)); errors.Is(err, io.EOF) {
			gone++
		}
	}
	if gone != 1 {
		t.Errorf("%d of the idle ones have given way, want 1", gone)
	}
	for i, c := range conns {
		if i == 40 || i == 20 {
			continue
		}
		if _, err := io.WriteString(c, "Host: engine\r\n\r\n"); err != nil || !answered(c) {
			t.Fatalf("connection %d, which had begun to ask, has no answer: %v", i, err)
		}
	}
}

// For whom the engine is at work, no connection is closed: the next one waits.
func TestBusyStay(t *testing.T) {
	var busy atomic.Int32
	full, release := make(chan struct{}), make(chan struct{})
	s := start(t, engine.Options{}, control.Options{Servers: map[string]func() any{"slow": func() any {
		if busy.Add(1) == 64 {
			close(full)
		}
		<-release
		return nil
	}}})
	conns := fullHouse(t, s, "GET /status HTTP/1.1\r\nHost: engine\r\n\r\n")
	<-full
	next, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if _, err := io.WriteString(next, "GET /clock HTTP/1.1\r\nHost: engine\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	next.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := next.Read(make([]byte, 4096)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the next one got %d bytes, %v, while the engine was at work for 64", n, err)
	}
	close(release)
	next.SetReadDeadline(time.Time{})
	if n, err := next.Read(make([]byte, 4096)); n == 0 || err != nil {
		t.Errorf("the next one: %v", err)
	}
	answers := 0
	for _, c := range conns {
		if n, err := c.Read(make([]byte, 4096)); n > 0 && err == nil {
			answers++
		}
	}
	// One may have given way between the engine's work and the answer.
	if answers < 63 {
		t.Errorf("%d of 64 were answered", answers)
	}
}

func TestCheck(t *testing.T) {
	s := start(t, engine.Options{}, control.Options{Check: func(c net.Conn) error {
		if _, ok := c.(*net.UnixConn); !ok {
			t.Errorf("Check got a %T", c)
		}
		return errors.New("user 7 may not")
	}})
	for range 2 {
		_, err := s.c.Status(t.Context(), -1)
		var e *control.Error
		if !errors.As(err, &e) || e.Code != http.StatusForbidden || e.Text != "user 7 may not" {
			t.Errorf("Status = %v", err)
		}
	}
}

func TestLifecycle(t *testing.T) {
	s := start(t, engine.Options{}, control.Options{})
	if _, err := s.c.Clock(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.srv.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(s.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if _, err := s.c.Clock(t.Context()); !errors.Is(err, unix.ENOENT) {
		t.Errorf("Clock without an engine = %v", err)
	}
	l, err := control.Listen(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.srv.Serve(t.Context(), l); err != nil {
		t.Errorf("Serve after Close = %v", err)
	}

	srv := control.NewServer(s.e, control.Options{})
	if l, err = control.Listen(s.path); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- srv.Serve(ctx, l) }()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve after the end of its context = %v", err)
	}
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "c")
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Lstat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if _, err := control.Listen(path); err == nil || !strings.Contains(err.Error(), "is in use") {
		t.Errorf("a living socket: %v", err)
	}
	l.(*door.Listener).UnixListener.Close() // and leaves the file
	if l, err = control.Listen(path); err != nil {
		t.Fatalf("a leftover socket: %v", err)
	}
	l.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Listen(file); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("a file: %v", err)
	}
	if _, err := control.Listen(filepath.Join(dir, "none", "c")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}
