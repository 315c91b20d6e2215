package launch

import "golang.org/x/sys/unix"

// maxPolicy is the longest policy that a socket takes: a page.
const maxPolicy = 4096

// socketPolicy does setsockopt(IP_IPSEC_POLICY): it asks the kernel for the same in the words of XFRM, of which this
// process may do it, too, on a duplicate of the caller's descriptor. The errors come in the kernel's order.
func (p *Program) socketPolicy(c *caller) error {
	level, value, size := c.args[1]&0xffffffff, c.args[3], int32(c.args[4])
	if size < 0 {
		return unix.EINVAL
	}
	fd, err := c.duplicate(c.fd())
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !p.waits(c) { // else it may be a descriptor of somebody else
		return errGone
	}
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || domain != unix.AF_INET && domain != unix.AF_INET6 {
		return errNotOurs // no policy can be set there, and the kernel has words for it
	}
	if !c.administersNetOf(fd) {
		return unix.EPERM
	}
	v6 := domain == unix.AF_INET6
	option := ipXfrmPolicy
	if level == unix.IPPROTO_IPV6 {
		option = ipv6XfrmPolicy
	}
	switch {
	case value == 0 && size == 0: // the socket's own policies go
		return unix.SetsockoptString(fd, int(level), option, "")
	case size == 0, size > maxPolicy:
		return unix.EMSGSIZE
	}
	policy, err := c.read(uint64(size), piece{value, uint64(size)})
	switch {
	case err != nil:
		return err
	case !p.waits(c):
		return errGone
	case v6 != (level == unix.IPPROTO_IPV6):
		return unix.EOPNOTSUPP
	}
	if policy, err = p.own.SocketPolicy(policy, v6); err != nil {
		return err
	}
	return unix.SetsockoptString(fd, int(level), option, string(policy))
}

// duplicate is a descriptor of the caller as one of this process. EBADF says that the caller has none of that number.
func (c *caller) duplicate(fd int) (int, error) {
	const ofThread = unix.O_EXCL // PIDFD_THREAD, since Linux 6.9; before, a process's table is that of its first thread
	process, err := unix.PidfdOpen(int(c.tid), ofThread)
	if err == unix.EINVAL {
		process, err = unix.PidfdOpen(int(credOf(c.tid).PID), 0)
	}
	if err != nil {
		return -1, unreadable{err}
	}
	defer unix.Close(process)
	own, err := unix.PidfdGetfd(process, fd, 0)
	if err != nil && err != unix.EBADF {
		err = unreadable{err}
	}
	return own, err
}
