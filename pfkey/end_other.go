//go:build unix && !linux

package pfkey

import "golang.org/x/sys/unix"

const (
	recvFlags = unix.MSG_DONTWAIT
	sendFlags = unix.MSG_DONTWAIT // Go ignores SIGPIPE for everything but standard output and error
)

// recordSpace is 0: messages carry no credentials here.
var recordSpace = 0

func prepareEnd(int) error { return nil }

// senderPID cannot tell an empty message from the end of the file; hungUp does then.
func senderPID([]byte) (int32, bool) { return 0, false }

// hungUp says, when a read gave nothing, whether that is the end.
func hungUp(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	_, err := unix.Poll(p, 0)
	return err != nil || p[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
}

// isSeqpacket says whether fd keeps the bounds of messages and knows an end.
func isSeqpacket(fd int) bool {
	typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && typ == unix.SOCK_SEQPACKET
}
