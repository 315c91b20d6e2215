package netns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// A Namespace is a network namespace. It stays as long as it is open, and as sockets or processes are in it. It is safe
// for concurrent use.
type Namespace struct{ file *os.File }

// New makes a namespace whose interface lo is up. An error that wraps [os.ErrPermission] says that CAP_SYS_ADMIN is
// missing.
func New() (*Namespace, error) {
	n := &Namespace{}
	err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("no network namespace can be made: %w", err)
		}
		if n.file, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		if err := up("lo"); err != nil {
			n.file.Close()
			return fmt.Errorf("interface lo: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return n, nil
}

// Close lets the namespace go.
func (n *Namespace) Close() error { return n.file.Close() }

// Do runs f in the namespace, on a thread that ends with f, and returns its error. Sockets that f makes stay in the
// namespace; goroutines that it starts are not there.
func (n *Namespace) Do(f func() error) error {
	return onThread(func() error {
		if err := n.Enter(); err != nil {
			return err
		}
		return f()
	})
}

// Enter puts the calling thread into the namespace. Its goroutine must have locked it, and never let it go.
func (n *Namespace) Enter() error {
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("the network namespace cannot be entered: %w", err)
	}
	return nil
}

// AddAddr gives the interface lo one more address.
func (n *Namespace) AddAddr(a netip.Addr) error {
	return n.Do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if _, err := unix.Write(fd, newAddr(a)); err != nil {
			return err
		}
		var answer [128]byte // the kernel has given it before write returned
		got, err := unix.Read(fd, answer[:])
		if err != nil {
			return err
		}
		if got < unix.NLMSG_HDRLEN+4 {
			return errors.New("netlink: an answer that is too short")
		}
		if errno := -int32(binary.NativeEndian.Uint32(answer[unix.NLMSG_HDRLEN:])); errno != 0 {
			return fmt.Errorf("address %v: %w", a, unix.Errno(errno))
		}
		return nil
	})
}

// newAddr is the message RTM_NEWADDR for the interface lo, which is the first one of every namespace.
func newAddr(a netip.Addr) []byte {
	const scopeUniverse, lo, addrNoDAD = 0, 1, 0x02
	family, raw := uint8(unix.AF_INET), a.AsSlice()
	if a.Is6() {
		family = unix.AF_INET6
	}
	size := unix.NLMSG_HDRLEN + unix.SizeofIfAddrmsg + 2*(unix.SizeofRtAttr+len(raw))
	b := binary.NativeEndian.AppendUint32(nil, uint32(size))
	b = binary.NativeEndian.AppendUint16(b, unix.RTM_NEWADDR)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	b = append(b, make([]byte, 8)...) // numbers that nobody asks for
	b = append(b, family, uint8(a.BitLen()), addrNoDAD, scopeUniverse)
	b = binary.NativeEndian.AppendUint32(b, lo)
	for _, attribute := range []uint16{unix.IFA_LOCAL, unix.IFA_ADDRESS} {
		b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(raw)))
		b = binary.NativeEndian.AppendUint16(b, attribute)
		b = append(b, raw...)
	}
	return b
}

// up sets an interface of the calling thread's namespace up.
func up(name string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r)
}

// onThread runs f on a thread of its own. The main thread cannot end: if the goroutine lands there, another one is
// started while the main thread is taken.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never let go: the thread ends with the goroutine
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(f)
			runtime.UnlockOSThread()
			return
		}
		done <- f()
	}()
	return <-done
}
