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
	// NoGate lets a program look for an answer before the engine has seen the question; for measuring.
	NoGate bool
	// UDPEncap has setsockopt(UDP_ENCAP) succeed without effect: where the kernel has no such thing, and where the engine and not
	// the kernel is to see ESP in UDP.
	UDPEncap bool
	// Identity has setuid(2), setgid, setgroups and their kin succeed without effect, for daemons that give up privileges inside a
	// user namespace which has only one user.
	Identity bool
}
