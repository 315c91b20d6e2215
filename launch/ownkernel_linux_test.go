package launch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/launch"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// Options of sockets, and the two kinds of policies that the tests' translator knows.
const (
	ipIPsecPolicy, ipXfrmPolicy     = 16, 17
	ipv6IPsecPolicy, ipv6XfrmPolicy = 34, 35
	discard, bypass                 = "\x02\x00\x12\x00\x00\x00\x02\x00", "\x02\x00\x12\x00\x04\x00\x02\x00"
)

// xfrmPolicy is what the kernel takes in the place of discard or bypass (struct xfrm_userpolicy_info).
func xfrmPolicy(value []byte, v6 bool) ([]byte, error) {
	const family, limits, direction, action = 40, 56, 160, 161
	b := make([]byte, 168)
	b[family] = unix.AF_INET
	if v6 {
		b[family] = unix.AF_INET6
	}
	for i := range 4 * 8 { // no limit in bytes and packets
		b[limits+i] = 0xff
	}
	b[direction] = 1
	switch string(value[:8]) {
	case discard:
		b[action] = 1
	case bypass:
	default:
		return nil, fmt.Errorf("no such policy: %w", unix.ELOOP)
	}
	return b, nil
}

// What programs ask for their own sockets reaches the kernel that sends their packets.
func TestOwnKernel(t *testing.T) {
	needLaunch(t)
	cmd := helper("own kernel")
	inNamespace(cmd)
	out, err := cmd.CombinedOutput()
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EACCES) {
		t.Skip("no user namespace can be made here: ", err)
	}
	if line, skip := strings.CutPrefix(string(out), "skip: "); skip {
		t.Skip(line)
	}
	if err != nil || string(out) != "ok\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// inNamespace gives a command a network of its own, which it may administer.
func inNamespace(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
	}
}

// ownKernel runs programs on the kernel of this machine, in a network of its own.
func ownKernel() int {
	// Packets to this host go past policies otherwise.
	for _, name := range []string{"ipv4/conf/lo/disable_xfrm", "ipv4/conf/lo/disable_policy"} {
		if err := os.WriteFile("/proc/sys/net/"+name, []byte("0"), 0); err != nil {
			fmt.Println("skip:", err)
			return 0
		}
	}
	if err := upLoopback(); err != nil {
		fmt.Println("FAIL", err)
		return 1
	}
	if err := takesPolicies(); err != nil {
		fmt.Println("skip:", err)
		return 0
	}
	for _, name := range []string{"policies", "unprivileged", "deeper"} {
		cmd := helper(name)
		if name == "deeper" {
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{Size: 1}}, GidMappings: []syscall.SysProcIDMap{{Size: 1}}}
		}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		p, err := launch.Start(cmd, launch.Options{Own: &launch.OwnKernel{SocketPolicy: xfrmPolicy}})
		if err != nil {
			fmt.Println("FAIL", err)
			return 1
		}
		supervised := make(chan error, 1)
		go func() { supervised <- p.Supervise(context.Background(), privileged{}) }()
		err = errors.Join(cmd.Wait(), <-supervised)
		if out.String() != "ok\n" || err != nil {
			fmt.Println("FAIL", name, err, out.String())
			return 1
		}
	}
	fmt.Println("ok")
	return 0
}

// takesPolicies says why this machine's kernel has no policies for sockets.
func takesPolicies() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	policy, _ := xfrmPolicy([]byte(bypass), false)
	return os.NewSyscallError("IP_XFRM_POLICY", unix.SetsockoptString(s, unix.IPPROTO_IP, ipXfrmPolicy, string(policy)))
}

// privileged has no sockets: it says who asks for one.
type privileged struct{ nobody }

func (privileged) Socket(c pfkey.Cred) (*os.File, error) {
	if c.Privileged {
		return nil, unix.EACCES
	}
	return nil, unix.EPERM
}

// upLoopback brings the loopback interface up.
func upLoopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r)
}

// setOption is setsockopt(2), with whatever pointer and length.
func setOption(s, level, option int, value unsafe.Pointer, size int) error {
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(s), uintptr(level), uintptr(option), uintptr(value),
		uintptr(size), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// expect says what has come otherwise than wanted.
type expect struct{ failed bool }

func (e *expect) errno(what string, got error, want unix.Errno) {
	if want == 0 && got == nil || got == want {
		return
	}
	fmt.Printf("FAIL %s: %v, want %v\n", what, got, want)
	e.failed = true
}

func (e *expect) code() int {
	if e.failed {
		return 1
	}
	fmt.Println("ok")
	return 0
}

// policies sets policies on sockets, and sees by what it can send whether the kernel has them.
func policies() int {
	var e expect
	for _, f := range []struct {
		name                  string
		family, level, option int
		to                    unix.Sockaddr
	}{
		{"IPv4", unix.AF_INET, unix.IPPROTO_IP, ipIPsecPolicy,
			&unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}},
		{"IPv6", unix.AF_INET6, unix.IPPROTO_IPV6, ipv6IPsecPolicy,
			&unix.SockaddrInet6{Port: 9, Addr: [16]byte{15: 1}}},
	} {
		s, err := unix.Socket(f.family, unix.SOCK_DGRAM, 0)
		e.errno(f.name, err, 0)
		set := func(value string, size int) error {
			b := make([]byte, 8192)
			copy(b, value)
			return setOption(s, f.level, f.option, unsafe.Pointer(&b[0]), size)
		}
		sends := func(what string, want unix.Errno) {
			err := unix.Sendto(s, []byte("x"), 0, f.to)
			if err == unix.ECONNREFUSED { // of the packet before
				err = unix.Sendto(s, []byte("x"), 0, f.to)
			}
			e.errno(f.name+" "+what, err, want)
		}
		sends("without a policy", 0)
		e.errno(f.name+" discard", set(discard, 16), 0)
		sends("discard", unix.EPERM)
		e.errno(f.name+" bypass", set(bypass, 16), 0)
		sends("bypass", 0)
		e.errno(f.name+" discard", set(discard, 16), 0)
		e.errno(f.name+" none", setOption(s, f.level, f.option, nil, 0), 0)
		sends("none any more", 0)

		e.errno(f.name+" what the translator refuses", set("0123456789abcdef", 16), unix.ELOOP)
		e.errno(f.name+" too long", set(discard, 5000), unix.EMSGSIZE)
		e.errno(f.name+" empty", set(discard, 0), unix.EMSGSIZE)
		e.errno(f.name+" negative", set(discard, -1), unix.EINVAL)
		e.errno(f.name+" out of nowhere", setOption(s, f.level, f.option, nil, 16), unix.EFAULT)
		e.errno(f.name+" XFRM's own words", unix.SetsockoptString(s, f.level, f.option+1, "0123456789abcdef"),
			unix.EINVAL)
		unix.Close(s)
		e.errno(f.name+" no descriptor", set(discard, 16), unix.EBADF)
		file, err := unix.Open(os.DevNull, unix.O_RDWR, 0)
		e.errno(os.DevNull, err, 0)
		e.errno(f.name+" no socket", unix.SetsockoptString(file, f.level, f.option, discard), unix.ENOTSOCK)
	}
	six, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
	e.errno("IPv6", err, 0)
	e.errno("IPv4 policy of an IPv6 socket", unix.SetsockoptString(six, unix.IPPROTO_IP, ipIPsecPolicy, discard),
		unix.EOPNOTSUPP)
	kind := 77
	e.errno("UDP_ENCAP", setOption(six, unix.IPPROTO_UDP, unix.UDP_ENCAP, unsafe.Pointer(&kind), 4), unix.ENOPROTOOPT)
	_, err = unix.Socket(unix.AF_KEY, unix.SOCK_RAW, 2)
	e.errno("a PF_KEY socket", err, unix.EACCES)
	return e.code()
}

// unprivileged may not do what root may.
func unprivileged() int {
	runtime.LockOSThread() // capabilities are those of a thread
	var none [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capset(&header, &none[0]); err != nil {
		fmt.Println("FAIL", err)
		return 1
	}
	return deeper()
}

// deeper may do everything, but not in the network it is in.
func deeper() int {
	var e expect
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	e.errno("socket", err, 0)
	e.errno("a policy", unix.SetsockoptString(s, unix.IPPROTO_IP, ipIPsecPolicy, bypass), unix.EPERM)
	_, err = unix.Socket(unix.AF_KEY, unix.SOCK_RAW, 2)
	e.errno("a PF_KEY socket", err, unix.EPERM)
	return e.code()
}
