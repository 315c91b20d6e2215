//go:build unix && !linux

package door

import (
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

// umasking is held while the mask of the process is another one.
var umasking sync.Mutex

// bind makes the socket, with mode 0600 from its first moment on: only the mask of the process says so here. Files that
// others make in the same moment are a little more private than they would be.
func bind(network, path string) (*net.UnixListener, error) {
	umasking.Lock()
	defer umasking.Unlock()
	defer unix.Umask(unix.Umask(0o177))
	return net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
}
