//go:build unix

package pfkey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/door"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Type and protocol of a PF_KEY socket, the same on every system.
const (
	socketRaw  = 3 // SOCK_RAW
	protocolV2 = 2 // PF_KEY_V2
)

// ServerOptions change what a server does. The zero value is ready.
type ServerOptions struct {
	// Log hears who comes, goes and is refused. Nil: nothing is logged. Contents of messages are never logged.
	Log *slog.Logger
	// Allow decides at the door who may use the engine; an error refuses, and is logged. Nil: root and the user that
	// this process runs as. It is not asked about ends given to Attach.
	Allow func(Cred) error
	// SendBuffer is how many bytes the kernel may hold for a client that has not read them yet (SO_SNDBUF, which Linux
	// doubles); everything else stays in the engine's receive queue. 0 leaves the system's default.
	SendBuffer int
}

// A Server lets other programs use the PF_KEY sockets of an engine through Unix sockets. It is safe for concurrent use.
//
// Life: any number of Serve and Attach, then Shutdown or Close. Both may be called at any time, in any order and
// repeatedly. The server does not close the engine.
type Server struct {
	engine  Engine
	options ServerOptions
	log     *slog.Logger
	door    *door.Doorway // shut by the first Shutdown or Close
	hosting func() (*wire.Hosting, error)
	counters

	mu       sync.Mutex // never held together with any other lock
	stopping bool       // nothing new begins
	number   uint64
	conns    map[*Conn]struct{} // those served, and after Shutdown those whose ends are still open
}

// NewServer makes a server for engine. It does nothing until Serve or Attach.
func NewServer(engine Engine, options ServerOptions) *Server {
	s := &Server{
		engine:  engine,
		options: options,
		log:     options.Log,
		hosting: hostingOf(engine),
		conns:   make(map[*Conn]struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.door = door.NewDoorway(door.Rules{Waits: func(err error, retry time.Duration) {
		s.failed.Add(1)
		s.log.Error("cannot accept a connection", "err", err, "retry", retry)
	}})
	if s.options.Allow == nil {
		s.options.Allow = func(c Cred) error { return door.CheckUser(c.UID) }
	}
	return s
}

// Serve accepts connections from l, which must be of SOCK_SEQPACKET Unix sockets, until ctx ends or the server is
// stopped, and closes l. It returns nil after such a stop, and at once if the server had been stopped before. The end
// of ctx is the same as [Server.Shutdown].
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	finished := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(finished)
		_ = s.Shutdown(context.WithoutCancel(ctx))
	})
	err := s.door.Serve(l, s.admit)
	if !unhook() {
		<-finished
	}
	if err != nil {
		return fmt.Errorf("pfkey: %w", err)
	}
	return nil
}

// admit serves a connection if it is of a kind and of somebody to serve, and closes it otherwise.
func (s *Server) admit(nc net.Conn, _ error, left func()) {
	left() // the engine counts its sockets itself
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		s.refused.Add(1)
		s.log.Warn("refused a connection that is no Unix socket", "type", fmt.Sprintf("%T", nc))
		nc.Close()
		return
	}
	var cred Cred
	err := control(uc, func(fd int) error {
		if !isSeqpacket(fd) {
			return errNotSeqpacket
		}
		peer, err := door.PeerCred(fd)
		cred = Cred{PID: peer.PID, UID: peer.UID, GID: peer.GID}
		return err
	})
	if err == nil {
		err = s.options.Allow(cred)
	}
	if err != nil {
		s.refused.Add(1)
		s.log.Warn("refused a client", "uid", cred.UID, "gid", cred.GID, "pid", cred.PID, "err", err)
		uc.Close()
		return
	}
	cred.Privileged = true
	c, err := s.begin(uc, cred, nil)
	if err != nil {
		uc.Close()
		return
	}
	c.Begin()
	s.accepted.Add(1)
}

var errNotSeqpacket = errors.New("not a SOCK_SEQPACKET Unix socket")

// Attach serves file, one end of a connected pair of SOCK_SEQPACKET Unix sockets whose other end a client has or will
// get, as a PF_KEY socket of cred. Who may be attached is for the caller to decide; a PF_KEY socket of an unprivileged
// cred is refused by the engine, with the errno that socket(2) would have given in the chain of the error.
//
// If there is no error the server owns file and has closed this descriptor of it; [Conn.Release] gives the end back.
// Otherwise file stays as it was.
func (s *Server) Attach(file *os.File, cred Cred) (*Conn, error) {
	c, err := s.attach(file, cred, nil)
	if err != nil {
		return nil, err
	}
	c.Begin()
	return c, nil
}

// AdoptOptions say what is special about a client. The zero value is usual.
type AdoptOptions struct {
	// Hosted says that the client was compiled on this machine, and has this machine's sockaddrs, address families and
	// errno numbers in the messages of the engine's dialect. They are translated on their way, in a copy; see
	// [wire.Hosting]. Adopt fails where that cannot be.
	Hosted bool
}

// Adopt is [Server.Attach] for a client that is another process and may have been the client of another engine. It is
// served from [Conn.Begin] on; before that, [Conn.Replay] and the options of [Conn.Socket] make its socket what it was.
// If the client turns out to be this process, which is to say that both ends of one pair have come here, the connection
// ends with its first message.
func (s *Server) Adopt(file *os.File, cred Cred, o AdoptOptions) (*Conn, error) {
	var h *wire.Hosting
	if o.Hosted {
		var err error
		if h, err = s.hosting(); err != nil {
			return nil, fmt.Errorf("pfkey: attach: %w", err)
		}
	}
	c, err := s.attach(file, cred, h)
	if err != nil {
		return nil, err
	}
	c.adopted = true
	return c, nil
}

// attach makes a connection of file that is not served yet.
func (s *Server) attach(file *os.File, cred Cred, h *wire.Hosting) (*Conn, error) {
	rc, err := file.SyscallConn()
	if err == nil {
		err = controlRaw(rc, func(fd int) error {
			if !isSeqpacket(fd) {
				return errNotSeqpacket
			}
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("pfkey: attach: %w", err)
	}
	nc, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("pfkey: attach: %w", err)
	}
	c, err := s.begin(nc.(*net.UnixConn), cred, h)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("pfkey: attach: %w", err)
	}
	file.Close()
	s.attached.Add(1)
	return c, nil
}

// begin opens a socket of the engine for the client at the other side of end, which is served from [Conn.Begin] on. h
// translates for the client, unless it is nil.
func (s *Server) begin(end *net.UnixConn, cred Cred, h *wire.Hosting) (*Conn, error) {
	raw, err := end.SyscallConn()
	if err == nil {
		err = controlRaw(raw, prepareEnd)
	}
	if err == nil && s.options.SendBuffer > 0 {
		err = end.SetWriteBuffer(s.options.SendBuffer)
	}
	if err != nil {
		s.failed.Add(1)
		s.log.Error("cannot serve a client", "uid", cred.UID, "pid", cred.PID, "err", err)
		return nil, err
	}
	sock, errno := s.engine.Open(cred, socketRaw, protocolV2)
	if errno != wire.OK {
		s.failed.Add(1)
		err := hostError(errno)
		s.log.Warn("the engine refused a socket", "uid", cred.UID, "pid", cred.PID, "err", err)
		return nil, os.NewSyscallError("socket", err)
	}
	dialect := s.engine.Dialect()
	if h != nil {
		sock, dialect = hostedSocket{sock, h}, h.Program()
	}
	c := newConn(s, end, raw, sock, dialect, cred)
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		sock.Close()
		return nil, net.ErrClosed
	}
	s.number++
	c.number = s.number
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	s.open.Add(1)
	s.log.Debug("client", "conn", c.number, "uid", cred.UID, "pid", cred.PID)
	go c.serve()
	return c, nil
}

// stop ends everything that could begin something new, and returns the connections there are.
func (s *Server) stop() []*Conn {
	s.mu.Lock()
	s.stopping = true
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	s.door.Shut()
	for _, c := range conns {
		c.stop()
	}
	return conns
}

// Shutdown stops in this order: accepting, then reading from clients; requests that are being handled are finished, and
// what was answered is written as far as the clients have room. It waits for that until ctx ends and returns ctx's
// error then, else nil.
//
// The clients' ends stay open, so that they see nothing: [Conn.Release] hands one on, [Server.Close] or the end of the
// process closes the rest.
func (s *Server) Shutdown(ctx context.Context) error {
	conns := s.stop()
	err := s.door.Wait(ctx)
	for i := 0; i < len(conns) && err == nil; i++ {
		select {
		case <-conns[i].done:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		return fmt.Errorf("pfkey: shutdown: %w", err)
	}
	return nil
}

// Close stops like Shutdown, without a bound on the wait, and closes the clients' ends. It returns nil.
func (s *Server) Close() error {
	conns := s.stop()
	_ = s.door.Wait(context.Background())
	for _, c := range conns {
		<-c.done
		c.end.Close()
		s.forget(c)
	}
	return nil
}

func (s *Server) forget(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Counters reads the counters.
func (s *Server) Counters() Counters { return s.snapshot() }

// ConnInfo describes a connection for a status page.
type ConnInfo struct {
	Number   uint64 `json:"number"` // 1 for the first connection of the server
	PID      int32  `json:"pid"`
	UID      uint32 `json:"uid"`
	GID      uint32 `json:"gid"`
	Received uint64 `json:"received"` // messages from the client
	Sent     uint64 `json:"sent"`     // messages written to it
	Full     bool   `json:"full"`     // it does not read: messages wait for room
}

// Conns lists the connections that are being served, in the order of their numbers.
func (s *Server) Conns() []ConnInfo {
	s.mu.Lock()
	all := make([]ConnInfo, 0, len(s.conns))
	for c := range s.conns {
		if !isClosed(c.done) {
			all = append(all, c.info())
		}
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b ConnInfo) int { return cmp.Compare(a.Number, b.Number) })
	return all
}

// control calls f with the descriptor of c, without taking it from the network poller.
func control(c syscall.Conn, f func(fd int) error) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return controlRaw(rc, f)
}

func controlRaw(rc syscall.RawConn, f func(fd int) error) error {
	var err error
	if e := rc.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}
