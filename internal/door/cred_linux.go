package door

import "golang.org/x/sys/unix"

// PeerCred says who connected to the socket fd, listens where it has connected to, or made the pair.
func PeerCred(fd int) (Cred, error) {
	u, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Cred{}, err
	}
	return Cred{PID: u.Pid, UID: u.Uid, GID: u.Gid}, nil
}
