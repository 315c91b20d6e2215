//go:build unix

package pfkey

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/wire"
)

// A Conn is one client of a [Server]: an end of a Unix socket, and the engine's socket that it stands for. It is safe
// for concurrent use.
//
// Two goroutines serve it. The reader waits until the client has sent something, handles it and writes what can be
// written; the writer only waits for room, for a client that was full. Whoever makes the engine say something to this
// client, another connection or a timer, writes it here and now if nobody else is at it.
//
// None of them waits for the descriptor while a lock is held, and none waits for it in a way that [Conn.Drain] would
// have to queue behind: reads and writes never block, waiting is apart from them.
type Conn struct {
	server  *Server
	number  uint64
	cred    Cred
	sock    Socket
	dialect *wire.Dialect // that of the client
	end     *net.UnixConn
	raw     syscall.RawConn

	flushEnd func(fd uintptr) // method values, made once
	readEnd  func(fd uintptr) bool
	writeEnd func(fd uintptr) bool

	adopted bool // its client is another process, and has been the client of another engine before
	begin   sync.Once
	begun   chan struct{} // closed when the client is to be served
	halt    sync.Once
	halted  chan struct{} // closed when the connection shall stop
	done    chan struct{} // closed when it has
	wake    chan struct{} // tells the writer to wait for room; holds one
	ended   bool          // the client has left; the reader's own, others read it after done
	serving atomic.Bool   // Send is running: its caller writes the answers itself
	more    atomic.Bool   // somebody saw a message for the client while out was taken
	full    atomic.Bool   // the client had no room; the writer will go on

	received, sent atomic.Uint64

	// Lock order: in, out, locks of the engine. The out of any connection may be tried, never waited for, while the in
	// of another is held.
	in     sync.Mutex
	over   bool   // written with in and out held, read with either: nothing is read or written any more
	record []byte // the credentials record of the message being read; guarded by in

	out     sync.Mutex
	waiting []byte   // the message that found no room; empty if none
	headers [][]byte // errnos that come next
	deaf    bool     // the client takes nothing any more
}

// batch is how many messages are written before others get a chance: the requests of the client, and whoever holds out.
const batch = 64

// maxHeaders is how many errnos wait for a client that sends nonsense and does not read.
const maxHeaders = 1024

func newConn(s *Server, end *net.UnixConn, raw syscall.RawConn, sock Socket, d *wire.Dialect, cred Cred) *Conn {
	c := &Conn{
		server:  s,
		cred:    cred,
		sock:    sock,
		dialect: d,
		end:     end,
		raw:     raw,
		begun:   make(chan struct{}),
		halted:  make(chan struct{}),
		done:    make(chan struct{}),
		wake:    make(chan struct{}, 1),
		record:  make([]byte, recordSpace),
	}
	c.flushEnd, c.readEnd, c.writeEnd = c.flush, c.readable, c.writable
	return c
}

// Begin starts to serve the client of an adopted connection. What the kernel has said until then is not for the client
// and is dropped. A second call does nothing.
func (c *Conn) Begin() {
	c.begin.Do(func() {
		c.discard()
		c.sock.Notify(c.notify)
		close(c.begun)
		_ = c.raw.Control(c.flushEnd) // what came before Notify
	})
}

// Replay hands the kernel a message that the client has sent to the engine before this one, and drops what the kernel
// answers. It does nothing once the client is served.
func (c *Conn) Replay(msg []byte) {
	if isClosed(c.begun) {
		return
	}
	c.sock.Send(msg, c.cred)
	c.discard()
}

// discard reads what there is for the client, and drops it.
func (c *Conn) discard() {
	for {
		if _, _, errno := c.sock.Recv(nil, 0); errno != wire.OK {
			return
		}
	}
}

// Cred says who the client is.
func (c *Conn) Cred() Cred { return c.cred }

// Socket is the engine's socket that the connection stands for, to set and read its options. Messages are not for it:
// they would pass those that the client has sent.
func (c *Conn) Socket() Socket { return c.sock }

// Done is closed when the connection is not served any more: the client has left, or the server or Release stopped it.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Drain handles everything the client has sent until now, and writes the answers as far as they fit; what does not fit
// follows when the client has read. When it returns, those answers can be read without waiting. It never waits for the
// client. After Done it does nothing.
func (c *Conn) Drain() {
	if !isClosed(c.begun) {
		return
	}
	_ = c.raw.Control(func(fd uintptr) {
		c.in.Lock()
		if !c.over {
			c.read(int(fd))
		}
		c.in.Unlock()
		c.settle(int(fd))
	})
}

// Send handles msg as if the client sent it now, after all that the client has sent until now, and returns what send(2)
// returns to a program on a real kernel: no header with an errno goes to the client. When it returns, the answers can
// be read without waiting, as far as they fit. pid is the sending process, 0 if it is the one that opened the socket.
// The error is ENOTCONN when the connection is not served. Send never waits for the client, and keeps nothing of msg.
func (c *Conn) Send(msg []byte, pid int32) Errno {
	errno := wire.ENOTCONN
	if !isClosed(c.begun) {
		return errno
	}
	_ = c.raw.Control(func(fd uintptr) {
		c.in.Lock()
		if !c.over && !c.halting() {
			c.read(int(fd))
			if errno = c.take(int(fd), msg, len(msg) > wire.MaxLen, pid); errno != wire.OK {
				c.server.denied.Add(1)
			}
		}
		c.in.Unlock()
		c.settle(int(fd))
	})
	return errno
}

// settle writes all that there is for the client, as far as it fits, also when somebody else is at it.
func (c *Conn) settle(fd int) {
	for again := true; again; {
		c.more.Store(false)
		c.out.Lock()
		var o outcome
		if !c.over {
			o = c.write(fd, batch)
		}
		c.out.Unlock()
		again = o == some || o == all && c.more.Load()
	}
}

// Release stops serving and gives the end back, for a successor that goes on: the client sees nothing, and what it has
// sent but was not handled waits in the socket. The engine's socket is closed; messages that the client had no room for
// are lost. The error is net.ErrClosed if the client has left or the server was closed.
func (c *Conn) Release() (*os.File, error) {
	c.stop()
	<-c.done
	if c.ended {
		return nil, fmt.Errorf("pfkey: release: %w", net.ErrClosed)
	}
	f, err := c.end.File()
	if err != nil {
		return nil, fmt.Errorf("pfkey: release: %w", err)
	}
	c.end.Close()
	c.server.forget(c)
	return f, nil
}

// stop tells both goroutines to finish; it does not wait.
func (c *Conn) stop() {
	c.halt.Do(func() {
		close(c.halted)
		_ = c.end.SetDeadline(time.Unix(1, 0)) // wakes whoever waits for the descriptor
	})
}

func (c *Conn) halting() bool { return isClosed(c.halted) }

func (c *Conn) info() ConnInfo {
	return ConnInfo{
		Number:   c.number,
		PID:      c.cred.PID,
		UID:      c.cred.UID,
		GID:      c.cred.GID,
		Received: c.received.Load(),
		Sent:     c.sent.Load(),
		Full:     c.full.Load(),
	}
}

// serve is the reader, and the owner of the writer.
func (c *Conn) serve() {
	select {
	case <-c.begun:
	case <-c.halted:
	}
	var writer sync.WaitGroup
	writer.Go(func() {
		for {
			select {
			case <-c.wake:
				_ = c.raw.Write(c.writeEnd)
			case <-c.halted:
				return
			}
		}
	})
	// RawConn.Read calls readable, and again whenever the descriptor has become readable after it returned false.
	err := c.raw.Read(c.readEnd)
	if err != nil && !c.halting() {
		c.server.log.Error("lost a client", "conn", c.number, "err", err)
		c.ended = true
	}
	c.stop()
	writer.Wait()

	c.in.Lock()
	c.out.Lock()
	if !c.ended && isClosed(c.begun) {
		_ = c.raw.Control(func(fd uintptr) {
			for c.write(int(fd), batch) == some {
			}
		})
		c.server.lost.Add(uint64(len(c.headers)))
		if len(c.waiting) > 0 {
			c.server.lost.Add(1)
		}
	}
	clear(c.waiting) // there may be keys in it
	c.over = true
	c.out.Unlock()
	c.in.Unlock()

	c.sock.Close()
	if c.ended {
		c.end.Close()
		c.server.forget(c)
	}
	c.server.open.Add(-1)
	c.server.log.Debug("client served", "conn", c.number, "left", c.ended, "received", c.received.Load(), "sent",
		c.sent.Load())
	close(c.done)
}

// readable handles what the client has sent; true ends the reader.
func (c *Conn) readable(fd uintptr) bool {
	c.in.Lock()
	defer c.in.Unlock()
	c.ended = c.read(int(fd))
	return c.ended || c.halting()
}

// read handles messages until there are no more, and says whether the client has left. It needs c.in.
func (c *Conn) read(fd int) (ended bool) {
	buf := messageBuffers.Get().(*[]byte)
	defer messageBuffers.Put(buf)
	for resets := 0; !c.halting(); {
		n, recordLen, flags, _, err := unix.Recvmsg(fd, *buf, c.record, recvFlags)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return false
		case err == unix.ECONNRESET && resets == 0:
			resets++ // the client left without having read everything; what it sent before is still there
			continue
		case err != nil:
			c.server.log.Debug("cannot read from a client", "conn", c.number, "err", err)
			return true
		}
		pid, isMessage := senderPID(c.record[:recordLen])
		if n == 0 && !isMessage {
			if hungUp(fd) {
				return true
			}
			if recordSpace > 0 {
				return false // it only stopped writing; being hung up will be noticed
			}
		}
		if c.adopted && pid == ownPID {
			// The client is no process of its own but another end of ours, whose answers would be requests here.
			c.server.refused.Add(1)
			c.server.log.Error("let go of a socket both of whose ends are the engine's", "conn", c.number)
			return true
		}
		c.handle(fd, (*buf)[:n], flags&unix.MSG_TRUNC != 0 || n > wire.MaxLen, pid)
		clear((*buf)[:n]) // there may be keys in it
	}
	return false
}

// ownPID is the process that this is.
var ownPID = int32(os.Getpid())

// handle gives one message to the engine, and tells the client of an errno by a header. It needs c.in.
func (c *Conn) handle(fd int, msg []byte, truncated bool, pid int32) {
	s := c.server
	errno := c.take(fd, msg, truncated, pid)
	if errno == wire.OK {
		return
	}
	if len(msg) < wire.HeaderLen {
		s.unanswerable.Add(1)
		return
	}
	header := refusal(c.dialect, msg, errno)
	c.out.Lock()
	if kept := len(c.headers) < maxHeaders; kept {
		c.headers = append(c.headers, header)
		s.errnos.Add(1)
	} else {
		s.lost.Add(1)
	}
	c.out.Unlock()
	c.flush(uintptr(fd))
}

// take gives one message to the engine, writes what comes of it, and returns what send(2) returns. It needs c.in.
func (c *Conn) take(fd int, msg []byte, truncated bool, pid int32) Errno {
	s := c.server
	s.received.Add(1)
	c.received.Add(1)
	switch {
	case len(msg) == 0:
		s.empty.Add(1)
	case len(msg) < wire.HeaderLen:
		s.short.Add(1)
	}
	var errno Errno
	if truncated {
		s.truncated.Add(1)
		s.log.Debug("a message is longer than any can be", "conn", c.number)
		errno = wire.EMSGSIZE
	} else {
		from := c.cred
		if pid > 0 {
			from.PID = pid
		}
		c.serving.Store(true)
		errno = c.sock.Send(msg, from)
		c.serving.Store(false)
	}
	c.flush(uintptr(fd))
	return errno
}

// refusal is the header of a request with the errno that send(2) would have returned.
func refusal(d *wire.Dialect, msg []byte, errno Errno) []byte {
	b := make([]byte, wire.HeaderLen)
	copy(b, msg)
	h, _ := d.Header(b)
	h.Errno, h.Len = d.ErrnoNumber(errno), wire.HeaderLen/8
	d.PutHeader(b, h)
	return b
}

// notify is called by the engine when it has something for the client. The caller may hold the in and out of another
// connection, and even those of this one.
func (c *Conn) notify() {
	if c.serving.Load() {
		return // handle flushes after it has stored false, which comes after this
	}
	_ = c.raw.Control(c.flushEnd)
}

// flush writes what there is, unless somebody else is at it or the client is full; they go on then.
func (c *Conn) flush(fd uintptr) {
	for {
		c.more.Store(true)
		if c.full.Load() || !c.out.TryLock() {
			return // who holds out looks at more again after having unlocked; the writer after there was room
		}
		c.more.Store(false)
		var o outcome
		if !c.over {
			o = c.write(int(fd), batch)
		}
		c.out.Unlock()
		if o == some {
			signal(c.wake)
			return
		}
		if o == none || !c.more.Load() {
			return
		}
	}
}

// writable is the writer's half of flush: false asks to be called again when the client has room.
func (c *Conn) writable(fd uintptr) bool {
	for !c.halting() {
		c.more.Store(false)
		c.out.Lock()
		o := c.write(int(fd), batch)
		c.out.Unlock()
		switch {
		case o == none:
			return false
		case o == all && !c.more.Load():
			return true
		}
	}
	return true
}

// outcome is how a write ended.
type outcome int

const (
	all  outcome = iota // nothing is left to write
	some                // the limit was reached
	none                // the client has no room
)

// write writes up to limit messages. It takes one from the engine only when the one before has found room, so that the
// engine's bounded queue is where messages wait. It needs c.out.
func (c *Conn) write(fd, limit int) outcome {
	buf := messageBuffers.Get().(*[]byte)
	defer messageBuffers.Put(buf)
	for ; limit > 0; limit-- {
		if c.deaf {
			return all
		}
		msg := c.next(*buf)
		if msg == nil {
			c.full.Store(false)
			return all
		}
		switch err := unix.Send(fd, msg, sendFlags); err {
		case nil:
			clear(msg) // there may be keys in it
			c.waiting = c.waiting[:0]
			c.sent.Add(1)
			c.server.sent.Add(1)
		case unix.EAGAIN:
			c.keep(msg)
			c.full.Store(true)
			signal(c.wake)
			return none
		case unix.EINTR, unix.ECONNRESET: // the latter is said once, about the past
			c.keep(msg)
		case unix.EMSGSIZE, unix.ENOBUFS, unix.ENOMEM:
			clear(msg)
			c.waiting = c.waiting[:0]
			c.server.lost.Add(1)
			c.server.log.Error("cannot write a message to a client", "conn", c.number, "bytes", len(msg), "err", err)
		default:
			// It has left, or shut down its reading side. The reader will see what it sent until then.
			clear(msg)
			c.deaf = true
			c.full.Store(false)
			if !errors.Is(err, unix.EPIPE) {
				c.server.log.Error("cannot write to a client", "conn", c.number, "err", err)
			}
		}
	}
	return some
}

// next is the message to write next, nil if there is none; it is valid until the next call. It needs c.out.
func (c *Conn) next(buf []byte) []byte {
	if len(c.waiting) > 0 {
		return c.waiting
	}
	if len(c.headers) > 0 {
		c.keep(c.headers[0])
		c.headers = c.headers[1:]
		return c.waiting
	}
	for {
		n, size, errno := c.sock.Recv(buf, RecvTrunc)
		if errno != wire.OK {
			return nil
		}
		if size > n {
			clear(buf[:n])
			c.server.lost.Add(1)
			c.server.log.Error("the engine made a message longer than any can be", "conn", c.number, "bytes", size)
			continue
		}
		if n > 0 { // an empty one would look like the end of the file
			return buf[:n]
		}
	}
}

// keep moves msg to where it waits for room. It needs c.out.
func (c *Conn) keep(msg []byte) {
	if len(c.waiting) == 0 {
		c.waiting = append(c.waiting, msg...)
		clear(msg) // there may be keys in it
	}
}
