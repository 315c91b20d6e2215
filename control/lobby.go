package control

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/door"
)

// A lobby is a listener that bounds how many connections there are at a time. One more takes the place of one that does
// nothing (between two requests, then one whose client is slow to ask or to read), the one that has done nothing for
// longest. Only where the engine is at work for all of them it waits.
type lobby struct {
	door   door.Acceptor
	max    int
	closed chan struct{}
	close  sync.Once

	mu     sync.Mutex // guards what follows
	guests map[*guest]struct{}
	turns  uint64        // counts what connections do, in place of a clock
	left   chan struct{} // holds one: a place may have become free
}

// guest is a connection in a lobby. The fields behind the first are guarded by its lobby.
type guest struct {
	net.Conn
	lobby *lobby
	state guestState
	since uint64 // the turn in which it got into the state
}

// A guestState says what a connection waits for, in the order in which they give way to others.
type guestState int

const (
	idle   guestState = iota // for the next request
	slow                     // for its client, to send the rest of a request or to read the answer
	atWork                   // for the engine; it is never closed
)

func newLobby(l net.Listener, max int, log *slog.Logger) *lobby {
	b := &lobby{max: max, closed: make(chan struct{}), guests: map[*guest]struct{}{}, left: make(chan struct{}, 1)}
	b.door = door.Acceptor{Listener: l, Stop: b.closed, Waits: func(err error, retry time.Duration) {
		log.Warn("control port: accept", "err", err, "retry", retry)
	}}
	return b
}

// Accept implements [net.Listener].
func (b *lobby) Accept() (net.Conn, error) {
	c, err := b.door.Accept()
	if err != nil {
		return nil, err
	}
	for {
		if g := b.enter(c); g != nil {
			return g, nil
		}
		select {
		case <-b.left:
		case <-b.closed:
			c.Close()
			return nil, net.ErrClosed
		}
	}
}

// enter gives c a place, somebody else's if there is no free one; nil if there is none at all.
func (b *lobby) enter(c net.Conn) *guest {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.guests) >= b.max {
		var out *guest
		for g := range b.guests {
			if g.state != atWork && (out == nil || g.state < out.state || g.state == out.state && g.since < out.since) {
				out = g
			}
		}
		if out == nil {
			return nil
		}
		delete(b.guests, out)
		out.Conn.Close()
	}
	g := &guest{Conn: c, lobby: b, state: slow}
	b.turns++
	g.since = b.turns
	b.guests[g] = struct{}{}
	return g
}

// Close implements [net.Listener].
func (b *lobby) Close() error {
	b.close.Do(func() { close(b.closed) })
	return b.door.Listener.Close()
}

// Addr implements [net.Listener].
func (b *lobby) Addr() net.Addr { return b.door.Listener.Addr() }

// is says what the connection waits for from now on.
func (g *guest) is(s guestState) {
	b := g.lobby
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.guests[g]; !ok {
		return // it has given way
	}
	b.turns++
	g.state, g.since = s, b.turns
	if s != atWork {
		b.wakeLocked()
	}
}

// leave gives the place back.
func (g *guest) leave() {
	b := g.lobby
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.guests, g)
	b.wakeLocked()
}

// wakeLocked needs b.mu held.
func (b *lobby) wakeLocked() {
	select {
	case b.left <- struct{}{}:
	default:
	}
}

// guestKey is the context key of the guest whose request it is.
type guestKey struct{}

// working marks the connection of a request while the engine is at work for it, until the function that it returns is
// called.
func working(ctx context.Context) (done func()) {
	g, ok := ctx.Value(guestKey{}).(*guest)
	if !ok {
		return func() {}
	}
	g.is(atWork)
	return func() { g.is(slow) }
}
