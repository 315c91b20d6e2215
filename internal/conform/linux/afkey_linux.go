package linux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// hostMachine is the host's own kernel in a network namespace of its own: no SA, no policy, and the interface lo; a
// scenario with a network gets the dummy interface d0 with addresses and default routes, as the recordings' README
// says.
//
// A namespace belongs to a thread. What depends on it runs on the one goroutine that holds that thread; with it the
// namespace goes.
type hostMachine struct {
	clock func() time.Time
	calls chan func()
	ended chan struct{}
	socks []*hostSocket
	files []int // descriptors that stay open as long as the machine
}

// Boot implements [conform.Target].
func (h Host) Boot(sc *conform.Scenario, _ func(string, *packet.Packet)) (conform.Machine, error) {
	m, err := newHostMachine(h.Clock, sc.Net)
	if err != nil {
		return nil, err
	}
	if s, err := m.socket(conform.Privileged, unix.SOCK_RAW, wire.Version); err != nil {
		m.Close()
		if errors.Is(err, unix.EAFNOSUPPORT) {
			err = fmt.Errorf("this kernel has no PF_KEY sockets (its module is af_key): %w", err)
		}
		return nil, &conform.GoneError{Err: err}
	} else {
		unix.Close(s)
	}
	return m, nil
}

// newHostMachine makes a namespace, with a network if it is to have one.
func newHostMachine(clock func() time.Time, net bool) (*hostMachine, error) {
	m := &hostMachine{clock: clock, calls: make(chan func()), ended: make(chan struct{})}
	ready := make(chan error)
	go m.run(ready)
	if err := <-ready; err != nil {
		return nil, &conform.GoneError{Err: err}
	}
	if err := m.setUp(net); err != nil {
		m.Close()
		return nil, &conform.GoneError{Err: err}
	}
	return m, nil
}

func (m *hostMachine) run(ready chan<- error) {
	runtime.LockOSThread() // and never let go: the thread ends with the goroutine
	defer close(m.ended)
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err != nil {
		ready <- fmt.Errorf("no network namespace can be made; run it as root, or in a user namespace "+
			"(unshare --user --map-root-user): %w", err)
		return
	}
	ready <- nil
	for f := range m.calls {
		f()
	}
}

// inside runs f in the namespace.
func (m *hostMachine) inside(f func() error) error {
	done := make(chan error, 1)
	m.calls <- func() { done <- f() }
	return <-done
}

// network is the input of ip(8) that makes the recordings' network. The routes lead out of an interface where packets
// vanish.
const network = `link add d0 type dummy
link set d0 addrgenmode none
link set d0 up
address add 192.0.2.1/24 dev d0
address add 2001:db8::1/64 dev d0 nodad
route add 0.0.0.0/0 dev d0
route add ::/0 dev d0
`

func (m *hostMachine) setUp(net bool) error {
	return m.inside(func() error {
		if err := interfaceUp("lo"); err != nil {
			return fmt.Errorf("interface lo: %w", err)
		}
		if !net {
			return nil
		}
		cmd := exec.Command("ip", "-batch", "-")
		cmd.Stdin = bytes.NewReader([]byte(network))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("interface d0: ip: %w: %s", err, bytes.TrimSpace(out))
		}
		return nil
	})
}

func interfaceUp(name string) error {
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

func (m *hostMachine) Dialect() *wire.Dialect { return wire.Linux() }

func (m *hostMachine) Close() {
	for _, s := range m.socks {
		s.Close()
	}
	for _, fd := range m.files {
		unix.Close(fd)
	}
	close(m.calls)
	<-m.ended
}

// Now implements [conform.Passing].
func (m *hostMachine) Now() time.Time { return m.clock() }

// Align implements [conform.Passing]. The kernel counts seconds by a coarse clock, which is behind the other by a tick,
// or by more where ticks come late: it has to be in the new second as well.
func (m *hostMachine) Align() {
	conform.Align(m.clock)
	second := m.clock().Unix()
	for {
		var t unix.Timespec
		if unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &t) != nil || int64(t.Sec) >= second {
			return
		}
		conform.Sleep(time.Millisecond)
	}
}

// Wait implements [conform.Passing].
func (m *hostMachine) Wait(until time.Time) {
	var fds []unix.PollFd
	for _, s := range m.socks {
		if !s.closed {
			fds = append(fds, unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN})
		}
	}
	d := until.Sub(m.clock())
	if d <= 0 {
		return
	}
	t := unix.NsecToTimespec(d.Nanoseconds())
	unix.Ppoll(fds, &t, nil)
}

// Cannot implements [conform.Partial].
func (m *hostMachine) Cannot(st *conform.Step) string {
	if _, ok := st.Args.(*OutputPolicy); ok && runtime.GOARCH == "s390x" {
		return "netlink in the other byte order"
	}
	return ""
}

// Expect implements [conform.Partial]. It marks how often a policy is referred to once a packet has been sent: what a
// packet took on its way is freed by a worker, now sooner, now later.
func (m *hostMachine) Expect(sc *conform.Scenario, n int) map[string]int {
	d, sent, eased := wire.Linux(), false, map[string]int{}
	for i := range sc.Steps {
		st := &sc.Steps[i]
		sent = sent || mostRoutes(&st.Action) > 0
		for k := range st.Rx {
			rx := &st.Rx[k]
			// A count is never 0; a request that comes back has none.
			if h, err := d.Header(rx.Hex); err == nil && sent && h.Reserved != 0 && countsReferences(h, len(rx.Hex)) {
				if rx.Ease(conform.Span{Offset: reservedAt, Len: 2, Name: "references"}) && i < n {
					eased["references"]++
				}
			}
		}
	}
	return eased
}

// symbol is the errno of a system call.
func symbol(err error) wire.Errno {
	if err == nil {
		return wire.OK
	}
	var n unix.Errno
	if errors.As(err, &n) {
		if e, ok := wire.Linux().Errno(uint8(n)); ok {
			return e
		}
	}
	return conform.ErrnoOf(err)
}

// Open implements [pfkey.Engine].
func (m *hostMachine) Open(c pfkey.Cred, typ, proto int) (pfkey.Socket, pfkey.Errno) {
	fd, err := m.socket(c, typ, proto)
	if err != nil {
		return nil, symbol(err)
	}
	s := &hostSocket{fd: fd}
	m.socks = append(m.socks, s)
	return s, wire.OK
}

func (m *hostMachine) socket(c pfkey.Cred, typ, proto int) (fd int, err error) {
	err = m.inside(func() error {
		if !c.Privileged {
			restore, err := dropNetAdmin()
			if err != nil {
				return err
			}
			defer restore()
		}
		fd, err = unix.Socket(unix.AF_KEY, typ|unix.SOCK_CLOEXEC, proto)
		return err
	})
	return fd, err
}

// dropNetAdmin takes CAP_NET_ADMIN from the calling thread until restore.
func dropNetAdmin() (restore func(), err error) {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var had [2]unix.CapUserData
	if err := unix.Capget(&h, &had[0]); err != nil {
		return nil, err
	}
	less := had
	less[unix.CAP_NET_ADMIN/32].Effective &^= 1 << (unix.CAP_NET_ADMIN % 32)
	if err := unix.Capset(&h, &less[0]); err != nil {
		return nil, err
	}
	return func() { _ = unix.Capset(&h, &had[0]) }, nil
}

// hostSocket is a socket of the host's kernel.
type hostSocket struct {
	fd     int
	closed bool
	flags  int           // of the next send
	to     unix.Sockaddr // of the next send
}

// adding are the messages that may make the kernel's table of SAs grow, which turns the order round in which SAs are
// found. A worker does it, and gets its turn before the next message, as it mostly would with a program that does
// something in between. After other messages nobody gets one: what waits for that to be freed, a route for instance,
// shows in what comes next.
var adding = []wire.MsgType{wire.MsgGetSPI, wire.MsgUpdate, wire.MsgAdd}

func (s *hostSocket) Send(msg []byte, _ pfkey.Cred) pfkey.Errno {
	flags, to := s.flags, s.to
	s.flags, s.to = 0, nil
	_, err := unix.SendmsgN(s.fd, msg, nil, to, flags|unix.MSG_DONTWAIT)
	if len(msg) > 1 && slices.Contains(adding, wire.Linux().MsgType(msg[1])) {
		_, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // never fails
	}
	return symbol(err)
}

var hostRecvFlags = map[pfkey.RecvFlags]int{
	pfkey.RecvPeek: unix.MSG_PEEK, pfkey.RecvTrunc: unix.MSG_TRUNC, pfkey.RecvOOB: unix.MSG_OOB,
	pfkey.RecvWaitAll: unix.MSG_WAITALL,
}

func (s *hostSocket) Recv(buf []byte, flags pfkey.RecvFlags) (n, size int, e pfkey.Errno) {
	f := unix.MSG_DONTWAIT
	for ours, theirs := range hostRecvFlags {
		if flags&ours != 0 {
			f |= theirs
		}
	}
	n, _, got, _, err := unix.Recvmsg(s.fd, buf, nil, f)
	if err != nil {
		return 0, 0, symbol(err)
	}
	size = n
	if got&unix.MSG_TRUNC != 0 && size <= len(buf) {
		size = len(buf) + 1 // how much longer, the kernel does not say
	}
	return min(n, len(buf)), size, wire.OK
}

var hostOptions = map[pfkey.Option]int{
	pfkey.OptionType: unix.SO_TYPE, pfkey.OptionSendBuffer: unix.SO_SNDBUF, pfkey.OptionRecvBuffer: unix.SO_RCVBUF,
}

func (s *hostSocket) SetOption(o pfkey.Option, value int) pfkey.Errno {
	return symbol(unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, hostOptions[o], value))
}

func (s *hostSocket) GetOption(o pfkey.Option) (int, pfkey.Errno) {
	v, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, hostOptions[o])
	return v, symbol(err)
}

func (s *hostSocket) Call(c pfkey.Call) pfkey.Errno {
	anybody := &unix.SockaddrInet4{Port: 1}
	var err error
	switch c {
	case pfkey.CallBind:
		err = unix.Bind(s.fd, anybody)
	case pfkey.CallConnect:
		err = unix.Connect(s.fd, anybody)
	case pfkey.CallListen:
		err = unix.Listen(s.fd, 1)
	case pfkey.CallAccept:
		_, _, err = unix.Accept4(s.fd, 0)
	case pfkey.CallGetSockName:
		_, err = unix.Getsockname(s.fd)
	case pfkey.CallGetPeerName:
		_, err = unix.Getpeername(s.fd)
	case pfkey.CallShutdown:
		err = unix.Shutdown(s.fd, unix.SHUT_RDWR)
	case pfkey.CallFIONREAD:
		_, err = unix.IoctlGetInt(s.fd, unix.TIOCINQ)
	case pfkey.CallSendTo:
		s.to = anybody
	case pfkey.CallSendOOB:
		s.flags = unix.MSG_OOB
	default:
		return wire.EOPNOTSUPP
	}
	return symbol(err)
}

func (s *hostSocket) Notify(func()) {}

func (s *hostSocket) Close() {
	if !s.closed {
		s.closed = true
		unix.Close(s.fd)
	}
}

// Sysctl implements [Network].
func (m *hostMachine) Sysctl(name string, value int) wire.Errno {
	return symbol(m.inside(func() error {
		return os.WriteFile(path.Join("/proc/sys", path.Clean("/"+name)), []byte(strconv.Itoa(value)), 0)
	}))
}

func sockaddr(a netip.AddrPort) (family int, sa unix.Sockaddr) {
	if a.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// bound opens a socket of the family of dst in the namespace, bound to src and port as far as they are given.
func bound(typ, proto int, src netip.Addr, port uint16, dst netip.Addr) (int, error) {
	if !src.IsValid() {
		src = netip.IPv4Unspecified()
		if dst.Is6() {
			src = netip.IPv6Unspecified()
		}
	}
	family, sa := sockaddr(netip.AddrPortFrom(src, port))
	fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if err != nil {
		return -1, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil &&
		(port != 0 || !src.IsUnspecified()) {
		if err := unix.Bind(fd, sa); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	return fd, nil
}

// Traffic implements [Network].
func (m *hostMachine) Traffic(t Traffic) wire.Errno {
	return symbol(m.inside(func() error {
		_, to := sockaddr(netip.AddrPortFrom(t.Dst, t.DPort))
		switch t.Proto {
		case unix.IPPROTO_UDP:
			fd, err := bound(unix.SOCK_DGRAM, 0, t.Src, t.SPort, t.Dst)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Sendto(fd, make([]byte, t.Len), 0, to)
		case unix.IPPROTO_TCP:
			fd, err := bound(unix.SOCK_STREAM, 0, t.Src, t.SPort, t.Dst)
			if err != nil {
				return err
			}
			defer unix.Close(fd) // what was sent is on its way; the ports are free for the next one
			return unix.Connect(fd, to)
		}
		_, to = sockaddr(netip.AddrPortFrom(t.Dst, 0))
		fd, err := bound(unix.SOCK_RAW, int(t.Proto), t.Src, 0, t.Dst)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, echoRequest(t), 0, to)
	}))
}

// echoRequest is an ICMP message; the kernel fills in the checksum of ICMPv6.
func echoRequest(t Traffic) []byte {
	const v4, v6 = 8, 128
	b := make([]byte, 8+t.Len)
	if b[0] = v6; t.Proto == unix.IPPROTO_ICMP {
		b[0] = v4
		binary.BigEndian.PutUint16(b[2:], ^uint16(v4<<8)) // the rest is zero
	}
	return b
}

// Encap implements [Network].
func (m *hostMachine) Encap(at netip.AddrPort, kind int) wire.Errno {
	return symbol(m.inside(func() error {
		fd, err := bound(unix.SOCK_DGRAM, 0, at.Addr(), at.Port(), at.Addr())
		if err != nil {
			return err
		}
		m.files = append(m.files, fd)
		return unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_ENCAP, kind)
	}))
}

// Datagram implements [Network].
func (m *hostMachine) Datagram(src, dst netip.AddrPort, payload []byte) wire.Errno {
	return symbol(m.inside(func() error {
		fd, err := bound(unix.SOCK_DGRAM, 0, src.Addr(), src.Port(), dst.Addr())
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		_, to := sockaddr(dst)
		err = unix.Sendto(fd, payload, 0, to)
		_, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // a busy kernel has a thread of its own to receive it
		return err
	}))
}

// AddPolicy implements [Network], by XFRM netlink.
func (m *hostMachine) AddPolicy(p OutputPolicy) wire.Errno {
	return symbol(m.inside(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_XFRM)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Sendto(fd, newPolicy(p), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return err
		}
		buf := make([]byte, 8192)
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return err
		}
		const header = 16
		if n < header+4 || binary.NativeEndian.Uint16(buf[4:]) != unix.NLMSG_ERROR {
			return unix.EPROTO
		}
		if e := int32(binary.NativeEndian.Uint32(buf[header:])); e != 0 {
			return unix.Errno(-e)
		}
		return nil
	}))
}

// newPolicy is the message XFRM_MSG_NEWPOLICY: struct xfrm_userpolicy_info and the attribute XFRMA_TMPL with one struct
// xfrm_user_tmpl, in the order of their fields.
func newPolicy(p OutputPolicy) []byte {
	const (
		xfrmMsgNewPolicy = 0x13
		xfrmaTmpl        = 5
		directionOut     = 1
	)
	family, bits := uint16(unix.AF_INET), byte(32)
	if p.Dst.Is6() {
		family, bits = unix.AF_INET6, 128
	}
	address := func(b []byte, a netip.Addr) []byte { return append(b, slices.Grow(a.AsSlice(), 16)[:16]...) }
	o := binary.NativeEndian
	info := address(address(nil, p.Dst), p.Src)
	info = append(info, make([]byte, 8)...) // ports and their masks
	info = o.AppendUint16(info, family)
	info = append(info, bits, bits, 0, 0, 0, 0)
	info = append(info, make([]byte, 8)...)                           // interface, user
	info = append(info, bytes.Repeat([]byte{0xff}, 32)...)            // no limit of bytes and packets
	info = append(info, make([]byte, 32+32+8)...)                     // no limit of time; counters; priority, index
	info = append(info, directionOut, 0, 0, 0, 0, 0, 0, 0)            // allow; flags, share, padding
	tmpl := append(address(nil, p.Dst), 0, 0, 0, 0, p.Proto, 0, 0, 0) // any SPI
	tmpl = append(o.AppendUint16(tmpl, family), 0, 0)
	tmpl = o.AppendUint32(address(tmpl, p.Src), p.ReqID)
	tmpl = append(tmpl, p.Mode, 0, 0, 0)
	tmpl = append(tmpl, bytes.Repeat([]byte{0xff}, 12)...) // every algorithm
	attr := append(o.AppendUint16(o.AppendUint16(nil, uint16(4+len(tmpl))), xfrmaTmpl), tmpl...)
	const header = 16
	msg := o.AppendUint32(nil, uint32(header+len(info)+len(attr)))
	msg = o.AppendUint16(msg, xfrmMsgNewPolicy)
	msg = o.AppendUint16(msg, unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	msg = o.AppendUint32(msg, 1)
	msg = o.AppendUint32(msg, 0)
	return append(append(msg, info...), attr...)
}
