package pfkey

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/wire"
)

// hostDialect is the dialect of the host's own kernel.
func hostDialect() (*wire.Dialect, error) { return wire.Linux(), nil }

// openHost opens a PF_KEY socket of the host's own kernel.
func openHost() (transport, error) {
	fd, err := unix.Socket(unix.AF_KEY, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocolV2)
	if err != nil {
		return nil, hostSocketError(err)
	}
	// The network poller takes any descriptor that does not block.
	return newSocketTransport(os.NewFile(uintptr(fd), HostKernel))
}

// hostSocketError says what may be done about it.
func hostSocketError(err error) error {
	sys := os.NewSyscallError("socket", err)
	switch {
	case errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("%w: this kernel has no PF_KEY sockets: %w (its module is af_key, its option CONFIG_NET_KEY)", ErrNoEngine, sys)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("PF_KEY sockets of the host need root or CAP_NET_ADMIN: %w", sys)
	}
	return sys
}
