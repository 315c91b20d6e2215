//go:build unix

package door

import (
	"net"
	"sync"
	"time"
)

// A Lobby is a listener that bounds how many connections there are at a time. One more takes the place of one that does
// nothing (between two requests, then one whose client is slow to ask or to read), the one that has done nothing for
// longest. Only where the engine is at work for all of them it waits.
type Lobby struct {
	door   Acceptor
	max    int
	closed chan struct{}
	close  sync.Once

	mu     sync.Mutex // guards what follows
	guests map[*Guest]struct{}
	turns  uint64        // counts what connections do, in place of a clock
	left   chan struct{} // holds one: a place may have become free
}

// Guest is a connection in a lobby. The fields behind the first are guarded by its lobby.
type Guest struct {
	net.Conn
	lobby *Lobby
	state GuestState
	since uint64 // the turn in which it got into the state
}

// A GuestState says what a connection waits for, in the order in which they give way to others.
type GuestState int

// What a connection may wait for.
const (
	Idle   GuestState = iota // for the next request
	Slow                     // for its client, to send the rest of a request or to read the answer
	AtWork                   // for the engine; it is never closed
)

// NewLobby makes a lobby of a listener for at most max connections. waits hears when none can be accepted, see
// [Acceptor].
func NewLobby(l net.Listener, max int, waits func(err error, retry time.Duration)) *Lobby {
	b := &Lobby{max: max, closed: make(chan struct{}), guests: map[*Guest]struct{}{}, left: make(chan struct{}, 1)}
	b.door = Acceptor{Listener: l, Stop: b.closed, Waits: waits}
	return b
}

// Accept implements [net.Listener].
func (b *Lobby) Accept() (net.Conn, error) {
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
func (b *Lobby) enter(c net.Conn) *Guest {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.guests) >= b.max {
		var out *Guest
		for g := range b.guests {
			if g.state != AtWork && (out == nil || g.state < out.state || g.state == out.state && g.since < out.since) {
				out = g
			}
		}
		if out == nil {
			return nil
		}
		delete(b.guests, out)
		out.Conn.Close()
	}
	g := &Guest{Conn: c, lobby: b, state: Slow}
	b.turns++
	g.since = b.turns
	b.guests[g] = struct{}{}
	return g
}

// Close implements [net.Listener].
func (b *Lobby) Close() error {
	b.close.Do(func() { close(b.closed) })
	return b.door.Listener.Close()
}

// Addr implements [net.Listener].
func (b *Lobby) Addr() net.Addr { return b.door.Listener.Addr() }

// Is says what the connection waits for from now on.
func (g *Guest) Is(s GuestState) {
	b := g.lobby
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.guests[g]; !ok {
		return // it has given way
	}
	b.turns++
	g.state, g.since = s, b.turns
	if s != AtWork {
		b.wakeLocked()
	}
}

// Leave gives the place back.
func (g *Guest) Leave() {
	b := g.lobby
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.guests, g)
	b.wakeLocked()
}

// wakeLocked needs b.mu held.
func (b *Lobby) wakeLocked() {
	select {
	case b.left <- struct{}{}:
	default:
	}
}
