package control

import (
	"fmt"
	"net"

	"github.com/pfkeyd/pfkeyd/internal/door"
)

// Listen makes the stream socket of a control port at path, as pfkey.Listen makes one for messages: usable by the own
// user and root only (mode 0600). It is removed when the listener is closed.
func Listen(path string) (net.Listener, error) {
	l, err := door.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	return l, nil
}
