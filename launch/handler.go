package launch

import (
	"os"

	"github.com/pfkeyd/pfkeyd/pfkey"
)

// A Handler decides what comes of the calls that the filter stops. [Switchboard] is one. It is safe for concurrent use.
type Handler interface {
	// Socket returns the client's end of a new PF_KEY socket for cred, which is closed once the program has it. An
	// error with a unix.Errno in its chain fails the program's socket(2) with that.
	Socket(cred pfkey.Cred) (*os.File, error)
	// Sockets is how many sockets programs have. While it is 0 no call is looked at.
	Sockets() int
	// Find is the socket whose client's end is a file, nil if the file is something else. It never waits.
	Find(id FileID) Socket
	// List writes the kernel's list of PF_KEY sockets into file; an error says that the kernel has none.
	List(file *os.File) error
}

// A FileID says which file of this system a descriptor refers to. A file keeps it as long as it is open somewhere.
type FileID struct{ Device, Inode uint64 }

// A Socket is a program's PF_KEY socket. What it does, it does on an engine: an error with a unix.Errno in its chain is
// what the program's call returns, any other error says that there is no engine to do it, and the call does to the
// program's own end what it would have done without having been stopped.
type Socket interface {
	// Cred says who opened the socket.
	Cred() pfkey.Cred
	// Send does what a process sends. It returns when that is done, and its answers lie in the program's socket as far
	// as they fit. pid is 0 for the process that has opened the socket.
	Send(msg []byte, pid int32) error
	// Call asks what the kernel makes of a call that PF_KEY sockets mostly refuse.
	Call(c pfkey.Call) error
	SetOption(o pfkey.Option, value int) error
	GetOption(o pfkey.Option) (int, error)
}
