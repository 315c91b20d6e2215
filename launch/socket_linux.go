package launch

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/pfkey"
)

// Socket options whose numbers package unix has not for all machines.
const (
	soPeerName   = 28
	soPeekOff    = 42
	soPeerGroups = 59
	soPeerPidFD  = 77
)

// refused are the calls of which the kernel says whether PF_KEY sockets have them.
var refused = map[int32]pfkey.Call{
	unix.SYS_BIND: pfkey.CallBind, unix.SYS_CONNECT: pfkey.CallConnect, unix.SYS_LISTEN: pfkey.CallListen,
	callAccept: pfkey.CallAccept, unix.SYS_ACCEPT4: pfkey.CallAccept, unix.SYS_SHUTDOWN: pfkey.CallShutdown,
	unix.SYS_GETSOCKNAME: pfkey.CallGetSockName, unix.SYS_GETPEERNAME: pfkey.CallGetPeerName,
	unix.SYS_IOCTL: pfkey.CallFIONREAD, // of those that the filter stops, which are others
}

// options are the socket options that the kernel keeps.
var options = map[uint64]pfkey.Option{unix.SO_RCVBUF: pfkey.OptionRecvBuffer, unix.SO_SNDBUF: pfkey.OptionSendBuffer}

// errNotOurs says that a call does what it would have done without having been stopped.
var errNotOurs = errors.New("the kernel has nothing to say to it")

// other does a call on one of our sockets that does not send.
func (p *Program) other(c *caller, client Socket) error {
	a := c.args
	switch c.call {
	case unix.SYS_GETSOCKOPT:
		return p.getOption(c, client)
	case unix.SYS_SETSOCKOPT:
		return p.setOption(c, client)
	case unix.SYS_BIND, unix.SYS_CONNECT:
		if err := c.address(a[1], int32(a[2])); err != nil {
			return err
		}
	case unix.SYS_ACCEPT4:
		if a[3]&^(unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)&0xffffffff != 0 {
			return unix.EINVAL
		}
	}
	call, ok := refused[c.call]
	if !ok {
		return errNotOurs
	}
	if err := client.Call(call); err != nil {
		return err
	}
	return errNotOurs
}

// getOption is getsockopt(2), for options in which the program's end of the pair and a PF_KEY socket differ.
func (p *Program) getOption(c *caller, client Socket) error {
	a := c.args
	n, err := c.word(a[4])
	if err != nil {
		return err
	}
	if n < 0 {
		return unix.EINVAL
	}
	var value []byte
	switch a[2] {
	case unix.SO_TYPE:
		value = binary.NativeEndian.AppendUint32(nil, unix.SOCK_RAW)
	case unix.SO_DOMAIN:
		value = binary.NativeEndian.AppendUint32(nil, unix.AF_KEY)
	case unix.SO_PEERCRED: // nobody: process 0, user and group -1
		value = append(make([]byte, 4), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	case soPeerName:
		return unix.ENOTCONN
	case soPeerGroups:
		return unix.ENODATA
	case soPeerPidFD:
		return unix.ENOPROTOOPT
	case soPeekOff:
		return unix.EOPNOTSUPP
	default:
		v, err := client.GetOption(options[a[2]])
		if err != nil {
			return err
		}
		value = binary.NativeEndian.AppendUint32(nil, uint32(v))
	}
	value = value[:min(int(n), len(value))]
	if !p.waits(c) {
		return errGone
	}
	if err := c.write(value, a[3]); err != nil {
		return err
	}
	return c.write(binary.NativeEndian.AppendUint32(nil, uint32(len(value))), a[4])
}

// setOption is setsockopt(2).
func (p *Program) setOption(c *caller, client Socket) error {
	a := c.args
	if int32(a[4]) < 4 {
		return unix.EINVAL
	}
	value, err := c.word(a[3])
	if err != nil {
		return err
	}
	if !p.waits(c) {
		return errGone
	}
	if a[2] == soPeekOff {
		return unix.EOPNOTSUPP
	}
	return client.SetOption(options[a[2]], int(value))
}
