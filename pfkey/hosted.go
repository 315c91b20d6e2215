//go:build unix

package pfkey

import (
	"slices"
	"sync"

	"github.com/pfkeyd/pfkeyd/wire"
)

// hostingOf is that of the programs of this machine on an engine. Only Linux runs them.
func hostingOf(e Engine) func() (*wire.Hosting, error) {
	return sync.OnceValues(func() (*wire.Hosting, error) { return wire.NewHosting(e.Dialect(), wire.Linux()) })
}

// A hostedSocket is a socket of an engine as a program of this machine sees it.
type hostedSocket struct {
	Socket
	hosting *wire.Hosting
}

// Send implements [Socket].
func (s hostedSocket) Send(msg []byte, from Cred) Errno {
	own := slices.Clone(msg)
	defer clear(own) // there may be keys in it
	s.hosting.ToKernel(own)
	return s.Socket.Send(own, from)
}

// Recv implements [Socket]. A message for which buf has no room is translated as far as it is there.
func (s hostedSocket) Recv(buf []byte, flags RecvFlags) (n, size int, e Errno) {
	n, size, e = s.Socket.Recv(buf, flags)
	s.hosting.ToProgram(buf[:n])
	return n, size, e
}

// Call implements [Caller].
func (s hostedSocket) Call(c Call) Errno { return CallOn(s.Socket, c) }
