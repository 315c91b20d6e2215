package packetport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/pfkeyd/pfkeyd/internal/door"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
)

// Target is the engine behind a packet port. It is safe for concurrent use.
type Target interface {
	// Inbound takes in a protected packet: it injects p into the ledger and decides at once or later.
	Inbound(p *packet.Packet)
	// Outbound takes in a plaintext packet, of the named tunnel interface if tunnel is not empty.
	Outbound(p *packet.Packet, tunnel string)
	// Ledger is where its packets end.
	Ledger() *packet.Ledger
}

// defaultQueue is how many bytes of verdicts a server keeps for a connection that does not read.
const defaultQueue = 4 << 20

// maxConns is how many connections a server has at a time; one more is refused.
const maxConns = 256

// ServerOptions change what a [Server] does. The zero value is usable.
type ServerOptions struct {
	// Name is what the engine calls its kernel; at most 255 bytes.
	Name string
	// Check decides, once per connection, whether the other side may use the port; its error is told to it. nil:
	// whoever can connect may.
	Check func(net.Conn) error
	// Queue bounds what is kept for a connection that does not read, in bytes; 0: 4 MiB.
	Queue int
	// Log hears of refused connections and of what goes wrong with listeners; nil: nobody.
	Log *slog.Logger
}

// Counters are a reading of the counters of a server.
type Counters struct {
	Connections int64  `json:"connections"` // open now
	Watchers    int64  `json:"watchers"`    // of these, those that watch
	Unanswered  int64  `json:"unanswered"`  // packets handed to the engine that have no final verdict yet
	Rejected    uint64 `json:"rejected"`    // connections that Check refused, or that were too many
	Injected    uint64 `json:"injected"`    // packets handed to the engine
	Refused     uint64 `json:"refused"`     // frames that could not be used
	Answered    uint64 `json:"answered"`    // verdicts and refusals queued for the injector
	Lost        uint64 `json:"lost"`        // frames dropped because their connection did not read
	Left        uint64 `json:"left"`        // verdicts whose injector had gone
}

// Server is the engine's side of the packet port.
//
//	            Serve               Stop                 Shutdown
//	new ─────────────────► serving ──────► stopped ─────────────────► closed
//	                                nothing more is injected,   queues are written out
//	                                verdicts still go out
//
// Close goes to closed from everywhere. Every method may be called in any order and more than once, and is safe for
// concurrent use.
type Server struct {
	target Target // these are immutable
	opts   ServerOptions
	log    *slog.Logger
	door   *door.Doorway

	nextID   atomic.Uint64           // the engine's number of the last packet
	watchers atomic.Pointer[[]*conn] // written with mu held

	unanswered                                        atomic.Int64
	rejected, injected, refused, answered, lost, gone atomic.Uint64

	mu      sync.Mutex // guards what follows
	stopped bool       // nothing more comes in
	conns   map[*conn]struct{}
	unwatch func()         // ends the watch of the ledger; nil while nobody watches
	readers sync.WaitGroup // goroutines that call the target; Add only while not stopped
	all     sync.WaitGroup // every goroutine; Add only while not stopped
}

// NewServer makes a server for target.
func NewServer(target Target, o ServerOptions) *Server {
	if o.Queue <= 0 {
		o.Queue = defaultQueue
	}
	o.Name = clip(o.Name, maxName)
	s := &Server{
		target: target,
		opts:   o,
		log:    o.Log,
		conns:  map[*conn]struct{}{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.door = door.NewDoorway(door.Rules{
		Check: o.Check,
		Max:   maxConns,
		Full:  fmt.Errorf("packetport: %d connections are open, and there may be no more", maxConns),
		Waits: func(err error, retry time.Duration) {
			s.log.Warn("packet port: accept", "err", err, "retry", retry)
		},
	})
	return s
}

// conn is one connection.
type conn struct {
	s   *Server
	nc  net.Conn
	out *queue

	close    sync.Once
	left     func() // tells the door
	watching bool   // only its reader uses it
}

// Serve accepts connections of l until the server is stopped or closed, and then returns nil once every goroutine of
// l's connections has ended; l is closed. When ctx ends the whole server is closed as by Close. Serve on a server that
// was stopped closes l and returns nil. Any other error is that of l; connections that it has accepted go on until
// Close.
//
// Each datagram of a connection must be one Read, as for "unixpacket".
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	var own sync.WaitGroup
	err := s.door.Serve(l, func(nc net.Conn, refusal error, left func()) { s.start(nc, refusal, left, &own) })
	if err != nil {
		return err
	}
	own.Wait()
	return nil
}

func (s *Server) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// start runs the two goroutines of a connection, which count in own, too.
func (s *Server) start(nc net.Conn, refusal error, left func(), own *sync.WaitGroup) {
	c := &conn{s: s, nc: nc, out: newQueue(s.opts.Queue), left: left}
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	own.Add(1)
	s.all.Add(1)
	if refusal == nil {
		own.Add(1)
		s.all.Add(1)
		s.readers.Add(1)
	}
	s.mu.Unlock()

	if refusal != nil {
		s.rejected.Add(1)
		s.log.Warn("packet port: connection refused", "err", refusal)
		c.control(refusedFrame{Text: clip(refusal.Error(), maxText)})
		c.out.finish()
	} else {
		c.control(helloFrame{Name: s.opts.Name})
		go func() { // the reader: ends when the client leaves or the server stops
			defer own.Done()
			defer s.all.Done()
			defer s.readers.Done()
			c.read()
		}()
	}
	go func() { // the writer: ends with the queue or when the client leaves
		defer own.Done()
		defer s.all.Done()
		c.write()
	}()
}

func (c *conn) read() {
	// One byte more than a frame may have, to see one that is longer.
	buf := make([]byte, maxFrame+1)
	for {
		n, err := c.nc.Read(buf)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && c.s.isStopped() {
				return // the writer goes on
			}
			if err != io.EOF && !errors.Is(err, net.ErrClosed) {
				c.s.log.Debug("packet port: read", "err", err)
			}
			c.end()
			return
		}
		c.handle(buf[:n])
	}
}

// handle does what one frame asks for. b is the reader's buffer.
func (c *conn) handle(b []byte) {
	s := c.s
	f, err := decode(b)
	if err != nil {
		var id uint64
		if len(b) >= injectLen && b[0] == version && frameType(b[1]) == typeInject {
			id = binary.BigEndian.Uint64(b[4:])
		}
		c.refuse(id, err)
		return
	}
	switch f := f.(type) {
	case injectFrame:
		p := &packet.Packet{ID: s.nextID.Add(1), Data: append([]byte(nil), f.Packet...)}
		id := f.ID
		p.Done = func(p *packet.Packet, v packet.Verdict) { c.verdict(id, p, v) }
		s.injected.Add(1)
		s.unanswered.Add(1)
		if f.Direction == Outbound {
			s.target.Outbound(p, f.Tunnel)
		} else {
			s.target.Inbound(p)
		}
	case watchFrame:
		if c.watching {
			c.refuse(0, errors.New("packetport: this connection watches already"))
			return
		}
		c.watching = true
		s.watch(c)
	default:
		c.refuse(0, &FrameError{f.frame(), 1, "type", errType})
	}
}

// refuse answers a frame that could not be used.
func (c *conn) refuse(id uint64, err error) {
	c.s.refused.Add(1)
	c.send(refusedFrame{ID: id, Text: clip(err.Error(), maxText)})
}

// verdict is Packet.Done of the packets of this connection: it never waits.
func (c *conn) verdict(id uint64, p *packet.Packet, v packet.Verdict) {
	f := makeVerdict(id, p, v)
	if f.Final() {
		c.s.unanswered.Add(-1)
	}
	b, err := f.appendTo(make([]byte, 0, f.size()))
	c.put(b, err)
}

// makeVerdict leaves Packet and Watched to the caller.
func makeVerdict(id uint64, p *packet.Packet, v packet.Verdict) Verdict {
	f := Verdict{ID: id, Kind: v.Kind, Reason: v.Reason.String(), Counter: clip(v.Counter, maxName), Inner: v.Inner}
	if len(f.Inner) > MaxPacket {
		f.Inner, f.Cut = f.Inner[:MaxPacket], true
	}
	if v.Kind == packet.Transmitted || v.Kind == packet.Sent {
		f.SPI, f.HasSPI = spi(v.Inner)
	} else {
		f.SPI, f.HasSPI = spi(p.Data)
	}
	return f
}

// send queues a frame, or counts it as lost.
func (c *conn) send(f frame) {
	b, err := f.appendTo(nil)
	c.put(b, err)
}

func (c *conn) put(b []byte, err error) {
	if err != nil {
		c.s.log.Error("packet port: answer", "err", err)
		c.s.lost.Add(1)
		c.out.lose()
		return
	}
	switch c.out.put(b) {
	case putDone:
		c.s.answered.Add(1)
	case putFull:
		c.s.lost.Add(1)
	case putClosed:
		c.s.gone.Add(1)
	}
}

// control queues one of the few frames that are never lost.
func (c *conn) control(f frame) {
	b, err := f.appendTo(nil)
	if err != nil {
		c.s.log.Error("packet port: answer", "err", err)
		return
	}
	c.out.mustPut(b)
}

func (c *conn) write() {
	for {
		b, ok := c.out.next()
		if !ok {
			break
		}
		if _, err := c.nc.Write(b); err != nil {
			if !errors.Is(err, net.ErrClosed) {
				c.s.log.Debug("packet port: write", "err", err)
			}
			break
		}
	}
	c.end()
}

// end closes the connection at once. Packets of it that are still held end as always; their verdicts are counted.
func (c *conn) end() {
	c.close.Do(func() {
		c.out.close()
		c.nc.Close()
		c.left()
		s := c.s
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
		s.unwatchLocked(c)
	})
}

// watch adds c to those who hear all final verdicts, and tells it so.
func (s *Server) watch(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.conns[c]; !ok {
		return // it has left
	}
	list := append(slices.Clone(s.watchList()), c)
	s.watchers.Store(&list)
	if s.unwatch == nil {
		s.unwatch = s.target.Ledger().Watch(s.watched)
	}
	c.control(watchingFrame{})
}

func (s *Server) watchList() []*conn {
	if l := s.watchers.Load(); l != nil {
		return *l
	}
	return nil
}

// unwatchLocked needs s.mu held.
func (s *Server) unwatchLocked(c *conn) {
	list := slices.DeleteFunc(slices.Clone(s.watchList()), func(w *conn) bool { return w == c })
	s.watchers.Store(&list)
	if len(list) == 0 && s.unwatch != nil {
		s.unwatch()
		s.unwatch = nil
	}
}

// watched hears every final verdict of the ledger while somebody watches. The frame is made once for all.
func (s *Server) watched(p *packet.Packet, v packet.Verdict) {
	list := s.watchList()
	if len(list) == 0 {
		return
	}
	f := makeVerdict(p.ID, p, v)
	f.Watched = true
	if v.Kind != packet.Sent { // that one nobody injected
		f.Packet = p.Data[:min(len(p.Data), MaxPacket)]
	}
	b, err := f.appendTo(make([]byte, 0, f.size()))
	if err != nil {
		s.log.Error("packet port: watch", "err", err)
	}
	for _, c := range list {
		if err != nil {
			s.lost.Add(1)
			c.out.lose()
		} else if c.out.put(b) == putFull {
			s.lost.Add(1)
		}
	}
}

// Stop closes the listeners and stops reading. When it returns nil, no packet is being handed to the engine and none
// will be; verdicts of held packets still go out. An owner calls it before it closes the engine, so that the verdicts
// of that reach the injectors, and Shutdown afterwards. Its error is that of ctx: a call into the engine still runs.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.stopLocked()
	s.mu.Unlock()
	if err := s.door.Wait(ctx); err != nil {
		return err
	}
	return wait(ctx, &s.readers)
}

// stopLocked needs s.mu held.
func (s *Server) stopLocked() {
	if s.stopped {
		return
	}
	s.stopped = true
	s.door.Shut()
	for c := range s.conns {
		// A deadline in the past ends the Read that is under way and every later one.
		c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// Shutdown does what Stop does, writes out the verdicts that are queued, and closes the connections. When ctx ends
// first, the rest is dropped, and the error is that of ctx. Packets that are still held stay held: their verdicts have
// nobody to go to.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.Stop(ctx)
	if err == nil {
		s.mu.Lock()
		for c := range s.conns {
			c.out.finish()
		}
		s.mu.Unlock()
		err = wait(ctx, &s.all)
	}
	s.Close()
	return err
}

// Close drops everything at once: listeners, connections, what is queued. It does not wait for a call into the engine.
func (s *Server) Close() error {
	s.mu.Lock()
	s.stopLocked()
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range conns {
		c.end()
	}
	return nil
}

// wait waits for wg, to which nothing is added any more, or for ctx.
func wait(ctx context.Context, wg *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() { // ends with wg
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	default:
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Counters reads the counters.
func (s *Server) Counters() Counters {
	s.mu.Lock()
	connections := len(s.conns)
	s.mu.Unlock()
	return Counters{
		Connections: int64(connections),
		Rejected:    s.rejected.Load(),
		Injected:    s.injected.Load(),
		Refused:     s.refused.Load(),
		Answered:    s.answered.Load(),
		Lost:        s.lost.Load(),
		Left:        s.gone.Load(),
		Watchers:    int64(len(s.watchList())),
		Unanswered:  s.unanswered.Load(),
	}
}

// clip makes s valid text of at most n bytes.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= n {
		return s
	}
	s = s[:n]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}

// spi finds the SPI of the outermost protection: ESP, AH, or ESP in UDP.
func spi(packet []byte) (uint32, bool) {
	in, err := ipsec.ParseInbound(packet)
	return in.SPI, err == nil
}
