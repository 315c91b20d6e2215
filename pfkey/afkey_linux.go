package pfkey

import (
	"errors"
	"fmt"

	"github.com/mdlayher/socket"
	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/wire"
)

// hostDialect is the dialect of the host's own kernel.
func hostDialect() (*wire.Dialect, error) { return wire.Linux(), nil }

// openHost opens a PF_KEY socket of the host's own kernel.
func openHost() (transport, error) {
	c, err := socket.Socket(unix.AF_KEY, unix.SOCK_RAW, protocolV2, HostKernel, nil)
	if err != nil {
		return nil, hostSocketError(err)
	}
	return newSocketTransport(c)
}

// hostSocketError says what may be done about it. err is that of the system call.
func hostSocketError(err error) error {
	switch {
	case errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("%w: this kernel has no PF_KEY sockets: %w (its module is af_key, its option CONFIG_NET_KEY)",
			ErrNoEngine, err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("PF_KEY sockets of the host need root or CAP_NET_ADMIN: %w", err)
	}
	return err
}
