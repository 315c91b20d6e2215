package pfkey

import (
	"fmt"
	"net"
	"os"
)

// allowOwn lets in root and the user of this process.
func allowOwn(c Cred) error {
	if c.UID != 0 && int64(c.UID) != int64(os.Geteuid()) {
		return fmt.Errorf("user %d is neither root nor the engine's user", c.UID)
	}
	return nil
}

// CheckPeer says whether the other side of a Unix socket may use what an engine offers beside its PF_KEY socket: the same users as
// that, root and the user of this process. The error says who was refused, or that nc is no Unix socket.
func CheckPeer(nc net.Conn) error {
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("%T is no Unix socket", nc)
	}
	var cred Cred
	err := control(uc, func(fd int) (err error) {
		cred, err = peerCred(fd)
		return err
	})
	if err != nil {
		return err
	}
	return allowOwn(cred)
}
