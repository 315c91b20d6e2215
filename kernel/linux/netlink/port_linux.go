package netlink

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The groups of news, as bits: expiries, SAs, policies, MIGRATE, new mappings. That of ACQUIREs is joined while
// somebody wants them: being in it, the kernel makes a LARVAL SA for every packet that is missing one.
const (
	groups       = 1<<(2-1) | 1<<(3-1) | 1<<(4-1) | 1<<(7-1) | 1<<(8-1)
	groupAcquire = 1
)

const (
	newsBuffer    = 8 << 20 // bytes asked for the queue of news: the kernel charges 1,280 for a policy's
	readBuffer    = 64 << 10
	answerTimeout = 10 // s; the kernel answers before send returns, unless something is very wrong
)

// port is the two sockets. But for wait, it is used by one at a time.
type port struct {
	requests int // descriptor
	news     *os.File
	newsFD   int
	raw      syscall.RawConn // of news
	closed   bool
	stat     *os.File // /proc/net/xfrm_stat of the namespace; nil where there is none
	routes   int      // descriptor of a socket of NETLINK_ROUTE, which knows the addresses of the namespace
	// Where answers and news are read, which come while the other is being looked at.
	answerBuf, newsBuf []byte
	stale              bool // answers to a request that was given up may be on the way
}

// errOverrun says that news has been lost.
var errOverrun = errors.New("netlink: news has been lost")

// errClosed says that the port is closed.
var errClosed = errors.New("netlink: closed")

// open opens both sockets in the network namespace of the calling thread.
func open() (*port, error) {
	requests, err := socket(0, unix.NETLINK_XFRM)
	if err != nil {
		return nil, unsupported{fmt.Errorf("netlink: this kernel has no XFRM netlink (CONFIG_XFRM_USER): %w", err)}
	}
	news, err := socket(unix.SOCK_NONBLOCK, unix.NETLINK_XFRM)
	if err != nil {
		unix.Close(requests)
		return nil, fmt.Errorf("netlink: %w", err)
	}
	routes, err := socket(0, unix.NETLINK_ROUTE)
	if err != nil {
		unix.Close(requests)
		unix.Close(news)
		return nil, fmt.Errorf("netlink: %w", err)
	}
	p := &port{requests: requests, routes: routes, news: os.NewFile(uintptr(news), "netlink"), newsFD: news,
		answerBuf: make([]byte, readBuffer), newsBuf: make([]byte, readBuffer)}
	p.stat, _ = os.Open("/proc/thread-self/net/xfrm_stat")
	if err = p.setUp(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func socket(flags, family int) (int, error) {
	return unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|flags, family)
}

func (p *port) setUp() error {
	var err error
	if p.raw, err = p.news.SyscallConn(); err != nil {
		return err
	}
	for _, fd := range []int{p.requests, p.routes} {
		timeout := unix.Timeval{Sec: answerTimeout}
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
			return err
		}
	}
	// An error need not repeat the request, which may have keys in it.
	_ = unix.SetsockoptInt(p.requests, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	if unix.SetsockoptInt(p.newsFD, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, newsBuffer) != nil {
		_ = unix.SetsockoptInt(p.newsFD, unix.SOL_SOCKET, unix.SO_RCVBUF, newsBuffer) // as much as the host allows
	}
	if err := unix.Bind(p.newsFD, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return fmt.Errorf("netlink: listening to what this host's IPsec does needs CAP_NET_ADMIN: %w", err)
	}
	return nil
}

// close ends wait, too.
func (p *port) close() {
	if p.closed {
		return
	}
	p.closed = true
	unix.Close(p.requests)
	unix.Close(p.routes)
	p.news.Close()
	p.stat.Close()
}

// counters reads the kernel's counters of packets that it dropped, by their names.
func (p *port) counters() map[string]uint64 {
	all := map[string]uint64{}
	if p.closed || p.stat == nil {
		return all
	}
	b, err := io.ReadAll(io.NewSectionReader(p.stat, 0, 1<<20))
	if err != nil {
		return all
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 2 {
			if n, err := strconv.ParseUint(f[1], 10, 64); err == nil && n != 0 {
				all[f[0]] = n
			}
		}
	}
	return all
}

// send sends a request.
func (p *port) send(msg []byte) error {
	if p.closed {
		return errClosed
	}
	if p.stale {
		p.stale = false
		p.drain(p.requests)
	}
	for {
		_, err := unix.Write(p.requests, msg)
		if err != unix.EINTR {
			return err
		}
	}
}

// drain reads what waits in a socket, for nobody.
func (p *port) drain(fd int) {
	for {
		if _, _, err := unix.Recvfrom(fd, p.answerBuf, unix.MSG_DONTWAIT); err != nil && err != unix.EINTR {
			return
		}
	}
}

// abandon says that the rest of an answer will not be read.
func (p *port) abandon() { p.stale = true }

// answer reads one datagram of the answer to a request. It is valid until the next call, which may overwrite it.
func (p *port) answer() ([]byte, error) {
	for {
		n, err := unix.Read(p.requests, p.answerBuf)
		switch {
		case err == nil && n > 0:
			return p.answerBuf[:n], nil
		case err == nil:
			return nil, io.ErrUnexpectedEOF // netlink knows no end
		case err == unix.EINTR:
		default:
			p.abandon()
			return nil, err
		}
	}
}

// dumpRoutes asks NETLINK_ROUTE for a list, and hands over one datagram of it after the other until take says that it
// is done. A datagram is valid until take returns.
func (p *port) dumpRoutes(msg []byte, take func([]byte) (done bool, err error)) error {
	if p.closed {
		return errClosed
	}
	p.drain(p.routes) // of a list that was given up
	_, err := unix.Write(p.routes, msg)
	for done := false; err == nil && !done; {
		var n int
		switch n, err = unix.Read(p.routes, p.answerBuf); {
		case err == unix.EINTR:
			err = nil
		case err == nil && n > 0:
			done, err = take(p.answerBuf[:n])
		case err == nil:
			err = io.ErrUnexpectedEOF
		}
	}
	return err
}

// next reads one datagram of news; none, without an error, if there is no more. It is valid as that of answer is.
func (p *port) next() ([]byte, error) {
	if p.closed {
		return nil, errClosed
	}
	for {
		n, err := unix.Read(p.newsFD, p.newsBuf)
		switch {
		case err == nil && n > 0:
			return p.newsBuf[:n], nil
		case err == nil:
			return nil, io.ErrUnexpectedEOF
		case err == unix.EAGAIN:
			return nil, nil
		case err == unix.ENOBUFS:
			return nil, errOverrun
		case err == unix.EINTR:
		default:
			return nil, err
		}
	}
}

// wait waits until there is news. It may run beside the others. An error says that the port is closed.
func (p *port) wait() error {
	return p.raw.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		return err == nil && n > 0
	})
}

// acquires joins, or leaves, the group of ACQUIREs.
func (p *port) acquires(join bool) error {
	if p.closed {
		return errClosed
	}
	option := unix.NETLINK_DROP_MEMBERSHIP
	if join {
		option = unix.NETLINK_ADD_MEMBERSHIP
	}
	return unix.SetsockoptInt(p.newsFD, unix.SOL_NETLINK, option, groupAcquire)
}

// errPermission says that the process may not do this.
var errPermission error = unix.EPERM

// apart runs f in a network namespace of its own, where the process may make one, and waits for it.
func apart(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never let go: the thread, and its namespace, end with the goroutine
		_ = unix.Unshare(unix.CLONE_NEWNET)
		f()
	}()
	<-done
}

// Sysctl reads a number of the host's by its name with dots; false where there is none, as in a network namespace that
// is not the first.
func Sysctl(name string) (int, bool) {
	b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return n, err == nil
}

// number is the kernel's number of an error of a system call; 0 for others.
func number(err error) int {
	if n, ok := errors.AsType[unix.Errno](err); ok {
		return int(n)
	}
	return 0
}
