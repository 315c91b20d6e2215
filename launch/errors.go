package launch

import "errors"

var (
	// ErrUnsupported is in the chain of errors that say what this system lacks.
	ErrUnsupported = errors.New("running programs on an emulated kernel is not possible here")
	// ErrNested is in the chain when another seccomp supervisor serves this process tree already.
	ErrNested = errors.New("another seccomp supervisor already serves this process and all it starts")
)

// OwnKernel is this machine's own kernel as the one that the engine administers, and no emulated one. Its packets are
// those of the programs, so it must hear what they ask for their sockets. UDP_ENCAP and IP_XFRM_POLICY reach it, and so
// does IP_IPSEC_POLICY, in other words. A program's PF_KEY sockets are privileged only if the program may administer
// the network itself (CAP_NET_ADMIN).
type OwnKernel struct {
	// SocketPolicy makes the value of IP_XFRM_POLICY (struct xfrm_userpolicy_info, templates behind it) of that of
	// IP_IPSEC_POLICY (struct sadb_x_policy), which belongs to it, for a socket of IPv4 or IPv6. A unix.Errno in the
	// chain of its error is what setsockopt(2) fails with. It is called concurrently.
	SocketPolicy func(value []byte, v6 bool) ([]byte, error)
}

// Options are what is done for a program beside giving it PF_KEY sockets. The zero value is the usual.
type Options struct {
	// NoGate stops no call that sends, writes or opens a file: an answer comes when the engine has seen the question,
	// what send(2) would have refused is told by a message or not at all, and /proc/net/pfkey is the host's. It is for
	// measuring, and for programs that write a lot and wait for answers.
	NoGate bool
	// Own says that the engine administers this machine's own kernel; nil: that it emulates one.
	Own *OwnKernel
	// Enter, if set, is called on the thread that starts the program, which ends afterwards: what it changes of that
	// thread, such as the network namespace, the program inherits. An error of it is that of [Start].
	Enter func() error
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
