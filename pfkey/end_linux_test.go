package pfkey_test

import "golang.org/x/sys/unix"

// recordsSender says whether the system tells which process sent a message.
func recordsSender() bool { return true }

func passCredentials(fd int) { _ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1) }
