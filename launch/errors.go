package launch

import "errors"

var (
	// ErrUnsupported is in the chain of errors that say what this system lacks.
	ErrUnsupported = errors.New("running programs on an emulated kernel is not possible here")
	// ErrNested is in the chain when another seccomp supervisor serves this process tree already.
	ErrNested = errors.New("another seccomp supervisor already serves this process and all it starts")
)

// Options are what is done for a program beside giving it PF_KEY sockets. The zero value is the usual.
type Options struct {
	// NoGate stops no call that sends, writes or opens a file: an answer comes when the engine has seen the question,
	// what send(2) would have refused is told by a message or not at all, and /proc/net/pfkey is the host's. It is for
	// measuring, and for programs that write a lot and wait for answers.
	NoGate bool
	// Remove are files and directories that are removed, with all that is in them, if this process is killed before the
	// programs have ended. If it is not, they are left to it.
	Remove []string
	// UDPEncap has setsockopt(UDP_ENCAP) succeed without effect: where the kernel has no such thing, and where the
	// engine and not the kernel is to see ESP in UDP.
	UDPEncap bool
	// Identity has setuid(2), setgid, setgroups and their kin succeed without effect, for daemons that give up
	// privileges inside a user namespace which has only one user.
	Identity bool
}
