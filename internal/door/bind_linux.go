package door

import (
	"context"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// bind makes the socket, with mode 0600 from its first moment on: on Linux bind gives the file the mode of the
// descriptor.
func bind(network, path string) (*net.UnixListener, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); e != nil {
			return e
		}
		return err
	}}
	l, err := config.Listen(context.Background(), network, path)
	if err != nil {
		return nil, err
	}
	return l.(*net.UnixListener), nil
}
