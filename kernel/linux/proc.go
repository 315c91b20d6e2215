package linux

import (
	"fmt"
	"io"

	"github.com/pfkeyd/pfkeyd/kernel/status"
)

// List implements [engine.Lister].
func (*Kernel) List(w io.Writer, sockets []status.Socket) error { return list(w, sockets) }

// list is /proc/net/pfkey. The numbers of the sockets stand for their addresses and inodes, and Rmem is the length of
// the messages that wait.
func list(w io.Writer, sockets []status.Socket) error {
	if _, err := fmt.Fprintln(w, "sk       RefCnt Rmem   Wmem   User   Inode"); err != nil {
		return err
	}
	for _, s := range sockets {
		const references = 2 // one for the descriptor, one for the table
		_, err := fmt.Fprintf(w, "%016x %-6d %-6d %-6d %-6d %-6d\n", s.Number, references, s.Bytes, 0, s.UID, s.Number)
		if err != nil {
			return err
		}
	}
	return nil
}
