package pfkey

import "github.com/pfkeyd/pfkeyd/wire"

// Errno is a symbolic error number; see [wire.Errno].
type Errno = wire.Errno

// Cred says who stands at the other end of a socket.
type Cred struct {
	PID        int32
	UID, GID   uint32
	Privileged bool // may use PF_KEY at all: root or the engine's own user
}

// Option names a socket option. Their numbers differ between systems, so they are symbolic here.
type Option int

// The options that PF_KEY programs set or read.
const (
	OptionType        Option = iota + 1 // SO_TYPE, read only
	OptionSendBuffer                    // SO_SNDBUF, bytes
	OptionRecvBuffer                    // SO_RCVBUF, bytes
	OptionUseLoopback                   // SO_USELOOPBACK, 0 or 1
	OptionUnknown                       // any other option of SOL_SOCKET
	OptionReadable                      // bytes that FIONREAD tells, read only, where CallFIONREAD is OK
)

// RecvFlags modify one Recv.
type RecvFlags int

const (
	RecvPeek    RecvFlags = 1 << iota // leave the message in the queue
	RecvTrunc                         // report the real size even if the buffer was shorter
	RecvOOB                           // out-of-band data, which PF_KEY has none of
	RecvWaitAll                       // fill the buffer, which means nothing to datagrams
)

// Engine is one running emulated kernel as its sockets see it. It is safe for concurrent use.
type Engine interface {
	// Dialect is the table of wire numbers the engine speaks.
	Dialect() *wire.Dialect
	// Open makes a PF_KEY socket of the given type and protocol (SOCK_RAW is 3 and PF_KEY_V2 is 2 on every system).
	Open(c Cred, typ, proto int) (Socket, Errno)
}

// Socket is one PF_KEY socket of an engine. It is safe for concurrent use.
type Socket interface {
	// Send hands one message to the kernel; every consequence is queued on the receiving sockets when it returns.
	// The kernel works on a copy of msg. The errno is what send(2) returns; an errno inside a reply is apart from it.
	Send(msg []byte, from Cred) Errno
	// Recv takes one message out of the receive queue and never waits: EAGAIN if there is none. n is the number of
	// bytes copied to buf, size that of the whole message; the part that does not fit is lost, as for any datagram. A
	// DUMP that was too long for the queue goes on from here. A size of 0 without an errno is the end of file, which
	// calls can bring about on some kernels.
	Recv(buf []byte, flags RecvFlags) (n, size int, e Errno)
	SetOption(o Option, value int) Errno
	GetOption(o Option) (int, Errno)
	// Notify sets the function that is called, with no lock held, when the queue has become non-empty. It must not
	// block.
	Notify(func())
	// Close discards the queue; a second call does nothing.
	Close()
}

// Call names something programs can do with a socket that PF_KEY has no use for. All that comes of it is an errno.
type Call int

// The calls.
const (
	CallBind        Call = iota + 1
	CallConnect          // connect(2)
	CallListen           // listen(2)
	CallAccept           // accept(2)
	CallGetSockName      // getsockname(2)
	CallGetPeerName      // getpeername(2)
	CallShutdown         // shutdown(2), of writing
	CallFIONREAD         // ioctl(2): how much there is to read
	// a send(2) with an address: OK if the address is ignored, so that [Socket.Send] is the rest of it
	CallSendTo
	CallSendOOB      // a send(2) with MSG_OOB; OK as for CallSendTo
	CallShutdownRead // shutdown(2), of reading
	CallShutdownBoth // shutdown(2), of both
)

// Caller is a [Socket] on which such calls have an outcome of their own.
type Caller interface {
	// Call returns what c does on this socket.
	Call(c Call) Errno
}

// CallOn returns what c does on s: EOPNOTSUPP if s is no [Caller].
func CallOn(s Socket, c Call) Errno {
	if s, ok := s.(Caller); ok {
		return s.Call(c)
	}
	return wire.EOPNOTSUPP
}
