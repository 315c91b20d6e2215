package engine

import (
	"fmt"
	"io"
	"io/fs"

	"github.com/pfkeyd/pfkeyd/kernel/status"
)

// A Lister is a kernel with a file that lists its PF_KEY sockets, as Linux has /proc/net/pfkey.
type Lister interface {
	// List writes the file. It is called without the control lock.
	List(w io.Writer, sockets []status.Socket) error
}

// List writes the kernel's own list of its PF_KEY sockets. The error has [fs.ErrNotExist] in its chain if it has none.
func (e *Engine) List(w io.Writer) error {
	l, ok := e.kernel.(Lister)
	if !ok {
		return fmt.Errorf("engine: %s has no list of its sockets: %w", e.Name(), fs.ErrNotExist)
	}
	return l.List(w, e.Status(0).Sockets)
}
