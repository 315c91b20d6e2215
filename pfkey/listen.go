//go:build unix

package pfkey

import (
	"fmt"
	"net"

	"github.com/pfkeyd/pfkeyd/internal/door"
)

// Listen makes a SOCK_SEQPACKET Unix socket at path for a [Server], usable by the own user and root only (mode 0600).
// If the directory is the default one it is made too (mode 0700). Closing the listener removes the socket, if it is
// still there.
//
// A socket that is already there is replaced if it is a leftover: it is ours and nobody holds it. Everything else at
// the path is left alone and is an error: a file that is no socket, a socket of somebody else, a living engine. Of two
// engines that start at the same time one wins and the other is told that the path is taken.
func Listen(path string) (net.Listener, error) {
	l, err := door.Listen("unixpacket", path)
	if err != nil {
		return nil, fmt.Errorf("pfkey: %w", err)
	}
	return l, nil
}

// CheckPeer says whether the other side of a Unix socket may use what an engine offers beside its PF_KEY socket: the
// same users as that, root and the user of this process. The error says who was refused, or that nc is no Unix socket.
func CheckPeer(nc net.Conn) error { return door.Check(nc) }
