package pfkey

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

const (
	recvFlags = unix.MSG_DONTWAIT | unix.MSG_CMSG_CLOEXEC
	sendFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
)

// recordSpace holds the credentials record of one message and nothing more: descriptors that a client sends along find
// no room and are closed by the kernel.
var recordSpace = unix.CmsgSpace(unix.SizeofUcred)

// prepareEnd asks for the credentials of every message. An empty message has them, the end of the file has not.
func prepareEnd(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1) }

// senderPID is the process that sent a message, 0 if the kernel cannot say; false if record is not one of a message.
func senderPID(record []byte) (int32, bool) {
	if len(record) < unix.CmsgLen(unix.SizeofUcred) {
		return 0, false
	}
	return int32(binary.NativeEndian.Uint32(record[unix.CmsgLen(0):])), true
}

// hungUp says, when a read gave nothing, whether nothing can come any more. A client that has only shut down its
// writing side may still be listening.
func hungUp(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd)}}
	_, err := unix.Poll(p, 0)
	return err != nil || p[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
}

// isSeqpacket says whether fd keeps the bounds of messages and knows an end.
func isSeqpacket(fd int) bool {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	typ, err2 := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && err2 == nil && domain == unix.AF_UNIX && typ == unix.SOCK_SEQPACKET
}
