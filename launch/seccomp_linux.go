package launch

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel's own structures, in its own layout: golang.org/x/sys/unix has the numbers of the calls but not these.
type (
	notification struct { // struct seccomp_notif
		id    uint64
		tid   uint32
		flags uint32
		call  int32
		arch  uint32
		ip    uint64
		args  [6]uint64
	}
	response struct { // struct seccomp_notif_resp
		id    uint64
		value int64
		errno int32 // negative
		flags uint32
	}
	addition struct { // struct seccomp_notif_addfd
		id       uint64
		flags    uint32
		source   uint32
		target   uint32
		newFlags uint32
	}
	sizes struct{ notification, response, data uint16 } // struct seccomp_notif_sizes
)

func ioctl(fd int, request uint, arg unsafe.Pointer) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}

// receive takes the next call that the filter has stopped. ENOENT: the caller has been killed or interrupted meanwhile.
func receive(listener int) (notification, error) {
	var n notification
	_, err := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n))
	return n, err
}

// answer ends the wait of a call with an errno.
func answer(listener int, id uint64, errno unix.Errno) error {
	r := response{id: id, errno: -int32(errno)}
	_, err := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r))
	return err
}

// proceed lets a call be done as if there were no filter.
func proceed(listener int, id uint64) error {
	r := response{id: id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	_, err := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r))
	return err
}

// give puts fd into the caller and ends its wait with the number it has there, in one step: there is no moment at which
// the caller has the one without the other.
func give(listener int, id uint64, fd int, cloexec bool) error {
	a := addition{id: id, flags: unix.SECCOMP_ADDFD_FLAG_SEND, source: uint32(fd)}
	if cloexec {
		a.newFlags = unix.O_CLOEXEC
	}
	return undisturbed(func() error {
		_, err := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_ADDFD, unsafe.Pointer(&a))
		return err
	})
}

// undisturbed runs f on a thread that no signal interrupts. A signal that comes while the kernel adds a descriptor has
// it take the request back but not the reply, and the caller's socket(2) returns 0; Go's runtime sends such signals to
// its own threads all the time.
func undisturbed(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &all, &before); err != nil {
		return err
	}
	defer func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) }() // what was valid before is valid still
	return f()
}

// finish ends the wait of a call with its result.
func finish(listener int, id, value uint64) error {
	r := response{id: id, value: int64(value)}
	_, err := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r))
	return err
}

// hasten asks the kernel to run whoever waits for calls on the processor of the caller, who waits for the answer
// anyway. Linux can do that since 6.6.
func hasten(listener int) {
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(listener), uintptr(unix.SECCOMP_IOCTL_NOTIF_SET_FLAGS),
		unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
}

// valid says whether the caller still waits, so that what was read of its process meanwhile was its own.
func valid(listener int, id uint64) bool {
	_, err := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&id))
	return err == nil
}

func seccomp(operation, flags uint, arg unsafe.Pointer) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_SECCOMP, uintptr(operation), uintptr(flags), uintptr(arg))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// install puts the calling thread, and what it starts, under the filter and returns the listener. Without CAP_SYS_ADMIN
// the thread gives up set-uid programs first.
func install(program []unix.SockFilter) (listener int, err error) {
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	// A call that has been received is not interrupted any more, so that nothing is carried out twice.
	const flags = uint(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
	for {
		listener, err = seccomp(unix.SECCOMP_SET_MODE_FILTER, flags, unsafe.Pointer(&prog))
		runtime.KeepAlive(program)
		switch {
		case err == nil:
			return listener, nil
		case err == unix.EINVAL:
			return -1, fmt.Errorf("%w: before Linux 5.19 a signal can take back a call that is carried out already",
				ErrUnsupported)
		case err == unix.EACCES:
			on, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
			if on != 0 {
				return -1, os.NewSyscallError("seccomp", err)
			}
			if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
				return -1, os.NewSyscallError("prctl", err)
			}
		case err == unix.EBUSY:
			return -1, ErrNested
		default:
			return -1, os.NewSyscallError("seccomp", err)
		}
	}
}

// Supported says what keeps programs from being run here, nil if nothing is known that does. An outer supervisor is
// only seen when a program is started.
func Supported() error {
	missing := func(format string, a ...any) error {
		var u unix.Utsname
		_ = unix.Uname(&u) // the version is only for reading
		return fmt.Errorf("launch: %w: %s (this is Linux %s)", ErrUnsupported, fmt.Sprintf(format, a...),
			unix.ByteSliceToString(u.Release[:]))
	}
	if auditArch == 0 {
		return missing("the filter is written for amd64 and arm64, not for %s", runtime.GOARCH)
	}
	action := uint32(unix.SECCOMP_RET_USER_NOTIF)
	_, err := seccomp(unix.SECCOMP_GET_ACTION_AVAIL, 0, unsafe.Pointer(&action))
	switch {
	case errors.Is(err, unix.ENOSYS):
		return missing("the kernel was built without seccomp filters (CONFIG_SECCOMP_FILTER)")
	case errors.Is(err, unix.EPERM):
		return missing("seccomp(2) is forbidden, by the profile of a container for instance")
	case err != nil:
		return missing("seccomp user notification is missing, which came with Linux 5.0 (%v)", err)
	}
	var s sizes
	if _, err := seccomp(unix.SECCOMP_GET_NOTIF_SIZES, 0, unsafe.Pointer(&s)); err != nil {
		return missing("the sizes of seccomp notifications cannot be read: %v", err)
	}
	if int(s.notification) != int(unsafe.Sizeof(notification{})) || int(s.response) != int(unsafe.Sizeof(response{})) {
		return missing("seccomp notifications have %d and %d bytes, %d and %d are known",
			s.notification, s.response, unsafe.Sizeof(notification{}), unsafe.Sizeof(response{}))
	}
	return nil
}
