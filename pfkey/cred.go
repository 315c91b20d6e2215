package pfkey

import (
	"fmt"
	"net"

	"github.com/pfkeyd/pfkeyd/internal/door"
)

// allowOwn lets in root and the user of this process.
func allowOwn(c Cred) error {
	if !door.Trusted(c.UID) {
		return fmt.Errorf("user %d is neither root nor the engine's user", c.UID)
	}
	return nil
}

// CheckPeer says whether the other side of a Unix socket may use what an engine offers beside its PF_KEY socket: the
// same users as that, root and the user of this process. The error says who was refused, or that nc is no Unix socket.
func CheckPeer(nc net.Conn) error { return door.Check(nc) }
