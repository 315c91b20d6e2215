//go:build unix

package door

import (
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// The first wait of an [Acceptor], and the longest.
const (
	firstWait = 5 * time.Millisecond
	lastWait  = time.Second
)

// An Acceptor accepts connections from a listener, and waits where there is no descriptor or memory for one: that
// passes when others end. One goroutine uses it.
type Acceptor struct {
	Listener net.Listener
	Stop     <-chan struct{}                      // closed: no wait goes on
	Waits    func(err error, retry time.Duration) // hears of each wait before it begins; nil: nobody does

	wait time.Duration
}

// Accept returns the next connection. Its error is that of the listener, or net.ErrClosed if Stop ended a wait.
func (a *Acceptor) Accept() (net.Conn, error) {
	for {
		c, err := a.Listener.Accept()
		if err == nil {
			a.wait = 0
			return c, nil
		}
		if !passing(err) {
			return nil, err
		}
		a.wait = min(max(2*a.wait, firstWait), lastWait)
		if a.Waits != nil {
			a.Waits(err, a.wait)
		}
		t := time.NewTimer(a.wait)
		select {
		case <-t.C:
		case <-a.Stop:
			t.Stop()
			return nil, net.ErrClosed
		}
	}
}

// passing tells errors of accept(2) that say nothing against the listener.
func passing(err error) bool {
	for _, e := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED, unix.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
