//go:build unix

package door

import (
	"context"
	"net"
	"sync"
	"time"
)

// Rules are those of a [Doorway].
type Rules struct {
	Check func(net.Conn) error                 // says who may not come in; nil: whoever can connect may
	Max   int                                  // how many may be inside at a time; 0: any number
	Full  error                                // what one more is told
	Waits func(err error, retry time.Duration) // hears when none can be accepted, see [Acceptor]
}

// An Enter takes over c, which may come in unless there is a refusal to tell it. It calls left once c is gone.
type Enter func(c net.Conn, refusal error, left func())

// A Doorway is where a server lets connections in: through any number of listeners, until it is shut. It is safe for
// concurrent use.
type Doorway struct {
	rules Rules
	shut  chan struct{} // closed by Shut

	mu        sync.Mutex
	listeners map[net.Listener]chan struct{} // closed when nothing more comes from it
	inside    int
}

// NewDoorway makes a doorway.
func NewDoorway(r Rules) *Doorway {
	return &Doorway{rules: r, shut: make(chan struct{}), listeners: map[net.Listener]chan struct{}{}}
}

// Serve calls enter with every connection that comes through l, one after the other, until the doorway is shut,
// and closes l. It returns nil then, and at once if that was before. Any other error is that of l.
func (d *Doorway) Serve(l net.Listener, enter Enter) error {
	defer l.Close()
	done := make(chan struct{})
	defer close(done)
	d.mu.Lock()
	if d.Shutting() {
		d.mu.Unlock()
		return nil
	}
	d.listeners[l] = done
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.listeners, l)
		d.mu.Unlock()
	}()
	a := Acceptor{Listener: l, Stop: d.shut, Waits: d.rules.Waits}
	for {
		c, err := a.Accept()
		switch {
		case d.Shutting():
			if err == nil {
				c.Close()
			}
			return nil
		case err != nil:
			return err
		}
		d.let(c, enter)
	}
}

// let has enter take over c.
func (d *Doorway) let(c net.Conn, enter Enter) {
	var refusal error
	if d.rules.Check != nil {
		refusal = d.rules.Check(c)
	}
	d.mu.Lock()
	if refusal == nil && d.rules.Max > 0 && d.inside >= d.rules.Max {
		refusal = d.rules.Full
	}
	d.inside++
	d.mu.Unlock()
	enter(c, refusal, func() {
		d.mu.Lock()
		d.inside--
		d.mu.Unlock()
	})
}

// Shutting says whether the doorway is shut or about to be.
func (d *Doorway) Shutting() bool {
	select {
	case <-d.shut:
		return true
	default:
		return false
	}
}

// Done is closed when the doorway is shut.
func (d *Doorway) Done() <-chan struct{} { return d.shut }

// Shut closes all listeners. It does not wait for connections that are coming in: [Doorway.Wait] does.
func (d *Doorway) Shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.Shutting() {
		close(d.shut)
	}
	for l := range d.listeners {
		l.Close()
	}
}

// Wait waits until nothing more can come in through a doorway that is shut, or for ctx, whose error it returns then.
func (d *Doorway) Wait(ctx context.Context) error {
	d.mu.Lock()
	var coming []chan struct{}
	for _, done := range d.listeners {
		coming = append(coming, done)
	}
	d.mu.Unlock()
	for _, done := range coming {
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
