//go:build darwin || freebsd

package door

import "golang.org/x/sys/unix"

// PeerCred says who connected to the socket fd, or listens where it has connected to; the process is not known.
func PeerCred(fd int) (Cred, error) {
	x, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return Cred{}, err
	}
	c := Cred{UID: x.Uid}
	if x.Ngroups > 0 {
		c.GID = x.Groups[0]
	}
	return c, nil
}
