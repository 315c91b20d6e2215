package packetport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/leak"
	"github.com/pfkeyd/pfkeyd/packet"
)

// target is an engine that does with a packet what its first byte behind the version says.
type target struct {
	ledger packet.Ledger
	block  chan struct{} // 'b' waits for it
	sane   bool          // no 'X'

	mu   sync.Mutex
	held packet.Queue
	seen []string
	ids  map[uint64]int
}

func (t *target) Ledger() *packet.Ledger { return &t.ledger }

func (t *target) Inbound(p *packet.Packet) { t.packet(p, "in") }

func (t *target) Outbound(p *packet.Packet, tunnel string) { t.packet(p, "out:"+tunnel) }

func (t *target) packet(p *packet.Packet, how string) {
	t.ledger.Inject(p)
	t.mu.Lock()
	t.seen = append(t.seen, how)
	if t.ids == nil {
		t.ids = map[uint64]int{}
	}
	t.ids[p.ID]++
	t.mu.Unlock()
	op := byte('?')
	if len(p.Data) > 1 {
		op = p.Data[1]
	}
	if t.sane && op == 'X' {
		op = '?'
	}
	switch op {
	case 'd':
		p.End(packet.Verdict{Kind: packet.Delivered, Inner: bytes.Clone(p.Data)})
	case 't':
		p.End(packet.Verdict{Kind: packet.Transmitted, Inner: esp(0x2000)})
	case 'q', 'h':
		k := packet.Queued
		if op == 'h' {
			k = packet.Held
		}
		t.mu.Lock()
		t.held.Push(p, k, 1<<30)
		t.mu.Unlock()
		p.Report()
	case 'r': // releases all
		t.release(packet.Verdict{Kind: packet.Delivered, Inner: []byte("E")})
		p.End(packet.Verdict{Kind: packet.Dropped, Reason: packet.Keepalive})
	case 'b':
		<-t.block
		p.End(packet.Verdict{Kind: packet.Dropped, Reason: packet.Fragment})
	case 'L':
		p.End(packet.Verdict{Kind: packet.Delivered, Inner: make([]byte, MaxPacket+5)})
	case 'X':
		p.Done(p, packet.Verdict{Kind: 99})
		p.End(packet.Verdict{Kind: packet.Dropped, Counter: "not text \xff"})
	default:
		p.End(packet.Verdict{Kind: packet.Dropped, Reason: packet.NoSA, Counter: "esp_no_sa"})
	}
}

func (t *target) release(v packet.Verdict) {
	var ps []*packet.Packet
	t.mu.Lock()
	for p := t.held.Pop(); p != nil; p = t.held.Pop() {
		ps = append(ps, p)
	}
	t.mu.Unlock()
	for _, p := range ps {
		p.End(v)
	}
}

// pkt is a packet that makes the target do op, padded to n bytes.
func pkt(op byte, n int) []byte {
	b := make([]byte, n)
	b[0], b[1] = 0x45, op
	return b
}

// esp is an IPv4 packet with ESP; its TOS makes the target do nothing in particular.
func esp(spi uint32) []byte {
	b := make([]byte, 40)
	b[0], b[3], b[9] = 0x45, 40, 50
	copy(b[12:], []byte{192, 0, 2, 2, 192, 0, 2, 1})
	binary.BigEndian.PutUint32(b[20:], spi)
	return b
}

type setup struct {
	*target
	srv  *Server
	path string
	done chan error
}

// serve runs a server on a socket until the end of the test, and checks that nothing is left of it.
func serve(t *testing.T, o ServerOptions) *setup {
	t.Helper()
	before := runtime.NumGoroutine()
	s := &setup{target: &target{block: make(chan struct{})}, done: make(chan error, 1)}
	s.path = filepath.Join(t.TempDir(), "p")
	l, err := net.Listen("unixpacket", s.path)
	if err != nil {
		t.Fatal(err)
	}
	s.srv = NewServer(s.target, o)
	go func() { s.done <- s.srv.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		s.srv.Close()
		if err := <-s.done; err != nil {
			t.Errorf("Serve = %v", err)
		}
		leak.Goroutines(t, before)
	})
	return s
}

func (s *setup) dial(t *testing.T) *Client {
	t.Helper()
	c, err := Dial(t.Context(), s.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func inject(t *testing.T, c *Client, pkt []byte) uint64 {
	t.Helper()
	id, err := c.Inject(t.Context(), pkt, Inbound, "")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func recv(t *testing.T, c *Client) Verdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	v, err := c.Recv(ctx)
	if err != nil {
		t.Fatalf("Recv: %v", err)
	}
	return v
}

func want(t *testing.T, got Verdict, want Verdict) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
}

func TestVerdicts(t *testing.T) {
	s := serve(t, ServerOptions{Name: "illumos"})
	c := s.dial(t)
	if c.Name() != "illumos" {
		t.Errorf("Name = %q", c.Name())
	}
	d := pkt('d', 60)
	id := inject(t, c, d)
	d[5] = 0xff // the packet may be used again
	d = pkt('d', 60)
	want(t, recv(t, c), Verdict{ID: id, Kind: packet.Delivered, Inner: d})

	id = inject(t, c, esp(0x1000))
	want(t, recv(t, c), Verdict{ID: id, Kind: packet.Dropped, Reason: "no-sa", Counter: "esp_no_sa",
		HasSPI: true, SPI: 0x1000})

	id, err := c.Inject(t.Context(), pkt('t', 30), Outbound, "tun0")
	if err != nil {
		t.Fatal(err)
	}
	want(t, recv(t, c), Verdict{ID: id, Kind: packet.Transmitted, HasSPI: true, SPI: 0x2000,
		Inner: esp(0x2000)})

	if err := c.InjectAs(t.Context(), 1<<63, pkt('q', 9), Inbound, ""); err != nil {
		t.Fatal(err)
	}
	want(t, recv(t, c), Verdict{ID: 1 << 63, Kind: packet.Queued})
	r := inject(t, c, pkt('r', 2))
	want(t, recv(t, c), Verdict{ID: 1 << 63, Kind: packet.Delivered, Inner: []byte("E")})
	want(t, recv(t, c), Verdict{ID: r, Kind: packet.Dropped, Reason: "keepalive"})

	if diff := cmp.Diff([]string{"in", "in", "out:tun0", "in", "in"}, s.seen); diff != "" {
		t.Errorf("the engine saw (-want +got):\n%s", diff)
	}
	st := s.srv.Counters()
	if st.Injected != 5 || st.Unanswered != 0 || st.Answered != 6 || st.Connections != 1 {
		t.Errorf("stats: %+v", st)
	}
}

func TestLargest(t *testing.T) {
	s := serve(t, ServerOptions{})
	c := s.dial(t)
	if err := c.Watch(t.Context()); err != nil {
		t.Fatal(err)
	}
	big := pkt('d', MaxPacket)
	id := inject(t, c, big)
	want(t, recv(t, c), Verdict{ID: 1, Watched: true, Kind: packet.Delivered, Packet: big, Inner: big})
	want(t, recv(t, c), Verdict{ID: id, Kind: packet.Delivered, Inner: big})
	if _, err := c.Inject(t.Context(), make([]byte, MaxPacket+1), Inbound, ""); !errors.Is(err,
		errLong) {
		t.Errorf("Inject of too long a packet: %v", err)
	}
	inject(t, c, pkt('L', 10))
	for range 2 {
		if v := recv(t, c); !v.Cut || len(v.Inner) != MaxPacket {
			t.Errorf("Inner of %d bytes, cut %v", len(v.Inner), v.Cut)
		}
	}
}

// Two injectors use the same ids; the engine must see different ones, and each injector only its own.
func TestTwoInjectors(t *testing.T) {
	s := serve(t, ServerOptions{})
	const n = 200
	var wg sync.WaitGroup
	for i := range 2 {
		c := s.dial(t)
		wg.Go(func() {
			ctx := t.Context()
			go func() {
				for j := range n {
					if _, err := c.Inject(ctx, append(pkt('d', 20), byte(i), byte(j)), Inbound,
						""); err != nil {
						t.Error(err)
						return
					}
				}
			}()
			for j := range n {
				v, err := c.Recv(ctx)
				if err != nil || v.ID != uint64(j+1) || !bytes.HasSuffix(v.Inner, []byte{byte(i), byte(j)}) {
					t.Errorf("injector %d, verdict %d: %+v, %v", i, j, v, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if len(s.ids) != 2*n {
		t.Errorf("the engine saw %d different ids of %d packets", len(s.ids), 2*n)
	}
	b := s.ledger.Balance()
	if b.Injected != 2*n || b.Ended != 2*n || b.InFlight != 0 {
		t.Errorf("ledger: %+v", b)
	}
}

func TestWatch(t *testing.T) {
	s := serve(t, ServerOptions{})
	a, b, w := s.dial(t), s.dial(t), s.dial(t)
	inject(t, a, pkt('d', 20)) // before: not told
	recv(t, a)
	for range 2 { // asking twice changes nothing
		if err := w.Watch(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	q := append(pkt('q', 20), esp(0x3000)...)
	inject(t, a, q)
	if v := recv(t, a); v.Kind != packet.Queued {
		t.Fatalf("verdict %+v", v)
	}
	a.Close()
	for s.srv.Counters().Connections != 2 {
		runtime.Gosched() // until the server has seen it leave
	}
	inject(t, b, pkt('r', 10))
	recv(t, b)
	want(t, recv(t, w), Verdict{ID: 2, Watched: true, Kind: packet.Delivered, Packet: q, Inner: []byte("E")})
	want(t, recv(t, w), Verdict{ID: 3, Watched: true, Kind: packet.Dropped, Reason: "keepalive",
		Packet: pkt('r', 10)})

	// One that is put into the ledger by something else.
	p := &packet.Packet{ID: 77, Data: esp(0x4000)}
	s.target.Inbound(p)
	want(t, recv(t, w), Verdict{
		ID: 77, Watched: true, Kind: packet.Dropped, Reason: "no-sa", Counter: "esp_no_sa", HasSPI: true, SPI: 0x4000,
		Packet: esp(0x4000),
	})
	// One that the engine makes itself.
	p = &packet.Packet{Data: esp(0x4001)}
	s.ledger.Inject(p)
	p.End(packet.Verdict{Kind: packet.Sent, Inner: p.Data})
	want(t, recv(t, w), Verdict{Watched: true, Kind: packet.Sent, HasSPI: true, SPI: 0x4001,
		Inner: esp(0x4001)})
	st := s.srv.Counters()
	if st.Watchers != 1 || st.Left != 1 || st.Unanswered != 0 {
		t.Errorf("stats: %+v", st)
	}
	w.Close()
	for s.srv.Counters().Watchers != 0 {
		runtime.Gosched()
	}
}

// Watch while another goroutine receives: the answer reaches both.
func TestWatchWhileReceiving(t *testing.T) {
	s := serve(t, ServerOptions{})
	c := s.dial(t)
	got := make(chan Verdict, 1)
	go func() {
		v, err := c.Recv(context.Background())
		if err != nil {
			t.Error(err)
		}
		got <- v
	}()
	if err := c.Watch(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.target.Inbound(&packet.Packet{ID: 5, Data: pkt('?', 2)})
	if v := <-got; !v.Watched || v.ID != 5 {
		t.Errorf("%+v", v)
	}
}

// Verdicts that arrive before the answer to WATCH are not lost.
func TestWatchKeepsVerdicts(t *testing.T) {
	s := serve(t, ServerOptions{})
	c := s.dial(t)
	for range 10 {
		inject(t, c, pkt('d', 20))
	}
	if err := c.Watch(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if v := recv(t, c); v.ID != uint64(i+1) || v.Watched {
			t.Errorf("verdict %d: %+v", i+1, v)
		}
	}
}

// A connection that never reads is cut off from its verdicts, not the engine from its work, and learns how many it
// lost.
func TestOverrun(t *testing.T) {
	s := serve(t, ServerOptions{Queue: 100_000})
	deaf, other := s.dial(t), s.dial(t)
	const n = 1000
	for range n {
		inject(t, deaf, pkt('d', 5000))
	}
	// The engine has taken all of them, and others get their answers.
	id := inject(t, other, pkt('d', 20))
	if v := recv(t, other); v.ID != id {
		t.Errorf("%+v", v)
	}
	for s.srv.Counters().Injected != n+1 {
		runtime.Gosched()
	}
	lost := s.srv.Counters().Lost
	if lost == 0 || lost > n {
		t.Fatalf("lost %d of %d", lost, n)
	}
	last := inject(t, deaf, pkt('?', 20))
	var told, verdicts uint64
	var before uint64
	for {
		v, err := deaf.Recv(t.Context())
		var o *OverrunError
		if errors.As(err, &o) {
			if o.Lost == 0 || !strings.Contains(err.Error(), fmt.Sprint(o.Lost)) {
				t.Errorf("overrun %v", err)
			}
			told += o.Lost
			before += o.Lost
			if verdicts+told == n+1 {
				break // the last one was lost as well
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		verdicts++
		before++
		if v.ID != before {
			t.Fatalf("verdict %d stands where %d of them were told or lost", v.ID, before-1)
		}
		if v.ID == last {
			break
		}
	}
	if verdicts+told != n+1 {
		t.Errorf("%d verdicts and %d lost of %d", verdicts, told, n+1)
	}
	if got := s.srv.Counters().Lost; got != told {
		t.Errorf("the server counted %d lost, told %d", got, told)
	}
	b := s.ledger.Balance()
	if b.Injected != b.Ended {
		t.Errorf("ledger: %+v", b)
	}
}

// A verdict that has no encoding is not lost silently.
func TestUnencodableVerdict(t *testing.T) {
	s := serve(t, ServerOptions{})
	c := s.dial(t)
	id := inject(t, c, pkt('X', 2))
	var o *OverrunError
	if _, err := c.Recv(t.Context()); !errors.As(err, &o) || o.Lost != 1 {
		t.Errorf("Recv = %v", err)
	}
	want(t, recv(t, c), Verdict{ID: id, Kind: packet.Dropped, Counter: "not text ?"})
	if st := s.srv.Counters(); st.Lost != 1 {
		t.Errorf("stats: %+v", st)
	}
}

func TestBadFrames(t *testing.T) {
	s := serve(t, ServerOptions{})
	nc, err := net.Dial("unixpacket", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	read := func() frame {
		t.Helper()
		buf := make([]byte, maxFrame)
		n, err := nc.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		f, err := decode(buf[:n])
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if diff := cmp.Diff(frame(helloFrame{}), read()); diff != "" {
		t.Fatal(diff)
	}
	hello, _ := helloFrame{}.appendTo(nil)
	watch, _ := watchFrame{}.appendTo(nil)
	unix.SetsockoptInt(fd(t, nc), unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20)
	tests := []struct {
		name string
		in   []byte
		id   uint64
		text string
	}{
		{"short", []byte{1}, 0, "frame ends too early"},
		{"version", []byte{9, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1}, 0, "unknown version"},
		{"bad direction", []byte{1, 1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1}, 5, "dir at byte 2"},
		{"no packet", []byte{1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6}, 6, "IP datagram at byte 12: empty"},
		{"engine's frame", hello, 0, "hello frame: type at byte 1"},
		{"too long", append([]byte{1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 7}, make([]byte, maxFrame+10)...), 7,
			"too long"},
		{"watch again", watch, 0, "watches already"},
	}
	if _, err := nc.Write(watch); err != nil {
		t.Fatal(err)
	}
	if f := read(); f != frame(watchingFrame{}) {
		t.Fatalf("%+v", f)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := nc.Write(tt.in); err != nil {
				t.Fatal(err)
			}
			r, ok := read().(refusedFrame)
			if !ok || r.ID != tt.id || !strings.Contains(r.Text, tt.text) {
				t.Errorf("%+v", r)
			}
		})
	}
	if st := s.srv.Counters(); st.Refused != uint64(len(tests)) || st.Injected != 0 {
		t.Errorf("stats: %+v", st)
	}
}

func fd(t *testing.T, c net.Conn) (n int) {
	t.Helper()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(f uintptr) { n = int(f) }); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCheck(t *testing.T) {
	s := serve(t, ServerOptions{Check: func(c net.Conn) error {
		if _, ok := c.(*net.UnixConn); !ok {
			t.Errorf("Check got a %T", c)
		}
		return errors.New("user 7 may not use this engine")
	}})
	_, err := Dial(t.Context(), s.path)
	var r *RefusedError
	if !errors.As(err, &r) || !strings.Contains(err.Error(), "user 7") {
		t.Fatalf("Dial = %v", err)
	}
	if st := s.srv.Counters(); st.Rejected != 1 {
		t.Errorf("stats: %+v", st)
	}
}

// There are so many connections and no more; one that leaves makes room.
func TestMaxConns(t *testing.T) {
	s := serve(t, ServerOptions{})
	first := s.dial(t)
	for range maxConns - 1 {
		s.dial(t)
	}
	_, err := Dial(t.Context(), s.path)
	var r *RefusedError
	if !errors.As(err, &r) || !strings.Contains(err.Error(), "256 connections are open") {
		t.Errorf("one too many: %v", err)
	}
	first.Close()
	for s.srv.Counters().Connections >= maxConns {
		runtime.Gosched()
	}
	s.dial(t)
}

// The whole way of stopping: what was sent is taken in, held packets end with the engine, and their verdicts still
// arrive.
func TestShutdown(t *testing.T) {
	s := serve(t, ServerOptions{})
	c := s.dial(t)
	id := inject(t, c, pkt('q', 20))
	if v := recv(t, c); v.Kind != packet.Queued {
		t.Fatalf("%+v", v)
	}
	blocked := inject(t, c, pkt('b', 20))
	for s.srv.Counters().Injected != 2 {
		runtime.Gosched()
	}
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.srv.Stop(short); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop while the engine works = %v", err)
	}
	close(s.block)
	if err := s.srv.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Inject(t.Context(), pkt('d', 20), Inbound, ""); err != nil {
		t.Logf("Inject after Stop: %v", err)
	}
	if _, err := Dial(t.Context(), s.path); err == nil {
		t.Error("a stopped server accepts")
	}
	s.target.release(packet.Verdict{Kind: packet.Dropped, Reason: packet.Shutdown})
	if err := s.srv.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, recv(t, c), Verdict{ID: blocked, Kind: packet.Dropped, Reason: "fragment"})
	want(t, recv(t, c), Verdict{ID: id, Kind: packet.Dropped, Reason: "shutdown"})
	// One packet was never read, and the client is told that something is missing.
	if _, err := c.Recv(t.Context()); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("Recv after the end = %v", err)
	}
	if s.srv.Counters().Injected != 2 {
		t.Error("a packet was injected after Stop")
	}
	for range 2 { // again, in another order
		if err := s.srv.Close(); err != nil {
			t.Error(err)
		}
		if err := s.srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.srv.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// A client that does not read cannot keep a server from stopping.
func TestShutdownDeaf(t *testing.T) {
	s := serve(t, ServerOptions{Queue: 64 << 20})
	c := s.dial(t)
	for range 300 {
		inject(t, c, pkt('d', 60000))
	}
	for s.srv.Counters().Injected != 300 {
		runtime.Gosched()
	}
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error)
	go func() { got <- s.srv.Shutdown(ctx) }()
	for {
		if _, err := net.Dial("unixpacket", s.path); err != nil {
			break // it has begun
		}
	}
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown = %v", err)
	}
	if n := s.srv.Counters().Connections; n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func TestServeAfterClose(t *testing.T) {
	srv := NewServer(&target{}, ServerOptions{})
	srv.Close()
	l, err := net.Listen("unixpacket", filepath.Join(t.TempDir(), "p"))
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Serve(t.Context(), l); err != nil {
		t.Errorf("Serve = %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
	if err := srv.Serve(t.Context(), l); err != nil {
		t.Errorf("Serve with a listener that is closed = %v", err)
	}
}

// Serve waits for the connections of its own listener, not for those of another.
func TestServeTwoListeners(t *testing.T) {
	srv := NewServer(&target{}, ServerOptions{})
	var paths []string
	var ends []chan error
	for range 2 {
		path := filepath.Join(t.TempDir(), "p")
		l, err := net.Listen("unixpacket", path)
		if err != nil {
			t.Fatal(err)
		}
		end := make(chan error, 1)
		go func() { end <- srv.Serve(t.Context(), l) }()
		paths, ends = append(paths, path), append(ends, end)
	}
	c, err := Dial(t.Context(), paths[1])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := srv.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ends[0]; err != nil {
		t.Errorf("Serve without a connection = %v", err)
	}
	select {
	case err := <-ends[1]:
		t.Errorf("Serve = %v while its connection is open", err)
	default:
	}
	srv.Close()
	if err := <-ends[1]; err != nil {
		t.Errorf("Serve = %v", err)
	}
}

func TestServeContext(t *testing.T) {
	before := runtime.NumGoroutine()
	srv := NewServer(&target{}, ServerOptions{})
	path := filepath.Join(t.TempDir(), "p")
	l, err := net.Listen("unixpacket", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- srv.Serve(ctx, l) }()
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve = %v", err)
	}
	if _, err := c.Recv(t.Context()); err != io.EOF {
		t.Errorf("Recv = %v", err)
	}
	leak.Goroutines(t, before)
}

// failing is a listener whose Accept fails in the given ways before it works.
type failing struct {
	net.Listener
	errs []error
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
	}
	return f.Listener.Accept()
}

func TestAcceptErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p")
	l, err := net.Listen("unixpacket", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(&target{}, ServerOptions{})
	done := make(chan error)
	go func() { done <- srv.Serve(t.Context(), &failing{l, []error{unix.EMFILE, unix.ECONNABORTED}}) }()
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	srv.Close()
	if err := <-done; err != nil {
		t.Errorf("Serve = %v", err)
	}

	srv = NewServer(&target{}, ServerOptions{})
	if err := srv.Serve(t.Context(), &failing{l, []error{unix.EBADF}}); !errors.Is(err, unix.EBADF) {
		t.Errorf("Serve with a broken listener = %v", err)
	}
}

func TestClientContext(t *testing.T) {
	s := serve(t, ServerOptions{})
	c := s.dial(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := c.Recv(ctx)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Recv = %v", err)
	}
	if _, err := c.Inject(ctx, pkt('d', 20), Inbound, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("Inject = %v", err)
	}
	if err := c.Watch(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Watch = %v", err)
	}
	// The connection is as good as before.
	id := inject(t, c, pkt('d', 20))
	if v := recv(t, c); v.ID != id {
		t.Errorf("%+v", v)
	}
}

func TestDialOther(t *testing.T) {
	tests := []struct {
		name  string
		first []byte
		want  error
	}{
		{"another protocol", []byte{2, 12, 0, 0}, errVersion},
		{"no greeting", []byte{1, 0x85, 0, 0}, errType},
		{"leaves", nil, io.EOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "p")
			l, err := net.Listen("unixpacket", path)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				c, err := l.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				if tt.first != nil {
					c.Write(tt.first)
				}
				c.Close()
			}()
			if _, err := Dial(t.Context(), path); !errors.Is(err, tt.want) {
				t.Errorf("Dial = %v, want %v", err, tt.want)
			}
		})
	}
	if _, err := Dial(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Dial without a socket = %v", err)
	}
}

// Everything at once, for the race detector.
func TestConcurrency(t *testing.T) {
	s := serve(t, ServerOptions{Queue: 20_000})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 10 {
				c, err := Dial(t.Context(), s.path)
				if err != nil {
					t.Error(err)
					return
				}
				if i%2 == 0 {
					if err := c.Watch(t.Context()); err != nil {
						t.Error(err)
					}
				}
				for j := range 50 {
					if _, err := c.Inject(t.Context(), pkt("dqr?"[j%4], 300), Inbound, ""); err != nil {
						t.Error(err)
					}
				}
				if i == 1 {
					c.Recv(t.Context())
				}
				s.srv.Counters()
				c.Close()
			}
		})
	}
	wg.Wait()
	if err := s.srv.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.target.release(packet.Verdict{Kind: packet.Dropped, Reason: packet.Shutdown})
	b := s.ledger.Balance()
	if b.Injected != b.Ended || b.Held != 0 {
		t.Errorf("ledger: %+v", b)
	}
	if st := s.srv.Counters(); st.Unanswered != 0 || st.Injected != b.Injected {
		t.Errorf("stats: %+v, ledger %+v", st, b)
	}
}

// pipes is a listener for net.Pipe, which keeps the bounds of writes as a SOCK_SEQPACKET does.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

// FuzzServer feeds two connections with frames: in is a list of (which connection, length, bytes). There must be no
// panic, no hang, and a ledger that adds up.
func FuzzServer(f *testing.F) {
	seed := func(frames ...[]byte) {
		var in []byte
		for i, b := range frames {
			in = append(in, byte(i&1), byte(len(b)))
			in = append(in, b...)
		}
		f.Add(in)
	}
	enc := func(fr frame) []byte {
		b, err := fr.appendTo(nil)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	in := func(op byte) []byte {
		return enc(injectFrame{Direction: Inbound, ID: 1, Packet: pkt(op, 30)})
	}
	seed(in('q'), in('q'), enc(watchFrame{}), in('r'), in('?'))
	seed(enc(watchFrame{}), enc(watchFrame{}), in('d'),
		enc(injectFrame{Direction: Outbound, Tunnel: "t", Packet: pkt('h', 9)}))
	seed([]byte{1}, enc(helloFrame{}), in('L'))
	f.Fuzz(func(t *testing.T, in []byte) {
		tg := &target{block: make(chan struct{}), sane: true}
		close(tg.block)
		srv := NewServer(tg, ServerOptions{Queue: 5000})
		l := newPipes()
		done := make(chan error)
		go func() { done <- srv.Serve(context.Background(), l) }()
		var conns [2]net.Conn
		var readers sync.WaitGroup
		for i := range conns {
			mine, theirs := net.Pipe()
			conns[i] = mine
			l.conns <- theirs
			readers.Go(func() {
				buf := make([]byte, maxFrame)
				for {
					n, err := mine.Read(buf)
					if err != nil {
						return
					}
					if _, err := decode(buf[:n]); err != nil {
						t.Errorf("the server sent %x: %v", buf[:n], err)
					}
				}
			})
		}
		for len(in) >= 2 {
			n := min(int(in[1]), len(in)-2)
			conns[in[0]&1].Write(in[2 : 2+n])
			in = in[2+n:]
		}
		if err := srv.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		tg.release(packet.Verdict{Kind: packet.Dropped, Reason: packet.Shutdown})
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		readers.Wait()
		b := tg.ledger.Balance()
		if st := srv.Counters(); b.Injected != b.Ended || st.Injected != b.Injected || st.Unanswered != 0 ||
			st.Connections != 0 {
			t.Errorf("ledger %+v, stats %+v", b, st)
		}
	})
}

func BenchmarkInject(b *testing.B) {
	tg := &target{}
	srv := NewServer(tg, ServerOptions{})
	path := filepath.Join(b.TempDir(), "p")
	l, err := net.Listen("unixpacket", path)
	if err != nil {
		b.Fatal(err)
	}
	go srv.Serve(b.Context(), l)
	defer srv.Close()
	c, err := Dial(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	p := pkt('d', 1400)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Inject(ctx, p, Inbound, ""); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Recv(ctx); err != nil {
			b.Fatal(err)
		}
	}
}
