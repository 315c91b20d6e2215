package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// openTUN attaches to a TUN device, and makes it if there is none of that name; then it goes when it is closed.
// Addresses, routes and whether it is up are its owner's business.
func openTUN(name string) (tunDevice, error) {
	const path = "/dev/net/tun"
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, tunError(&os.PathError{Op: "open", Path: path, Err: err}, name)
	}
	r, err := unix.NewIfreq(name)
	if err == nil {
		r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
	}
	switch err {
	case nil:
		// Only now may the runtime's poller see it: before, the device is in an error.
		return os.NewFile(uintptr(fd), path), nil
	case unix.EBUSY:
		err = fmt.Errorf("%w: another program has it", err)
	case unix.EINVAL:
		err = fmt.Errorf("%w: there is a network interface of that name that is no TUN device, or one of another kind",
			err)
	}
	unix.Close(fd)
	return nil, tunError(os.NewSyscallError("TUNSETIFF", err), name)
}

// tunError says what is missing when a device cannot be opened.
func tunError(err error, name string) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf(
			"%w: this kernel has no TUN devices (its module is tun), or this container was not given them", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf(
			"%w: it takes root (CAP_NET_ADMIN), or a device that root has made for this user: ip tuntap add dev %s mode tun user USER", err, name)
	}
	return err
}
