package control

import (
	"net"
	"sync"
)

// turnstile is a listener that accepts a connection only when there is a place for it. Whoever closes the connection gives the place back.
type turnstile struct {
	net.Listener
	places chan struct{} // an entry for each connection, and for an Accept that waits for one
	closed chan struct{}
	close  sync.Once
}

func newTurnstile(l net.Listener, places chan struct{}) *turnstile {
	return &turnstile{Listener: l, places: places, closed: make(chan struct{})}
}

func (t *turnstile) Accept() (net.Conn, error) {
	select {
	case t.places <- struct{}{}:
	case <-t.closed:
		return nil, net.ErrClosed
	}
	c, err := t.Listener.Accept()
	if err != nil {
		<-t.places
	}
	return c, err
}

func (t *turnstile) Close() error {
	t.close.Do(func() { close(t.closed) })
	return t.Listener.Close()
}
