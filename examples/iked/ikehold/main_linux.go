// Ikehold carries IKE between two hosts, and holds back the answer to IKE_AUTH until it is told to let it go. By then
// the responder has its keys, and the initiator, which waits, has not: the moment at which a packet comes too early.
//
//	ikehold NETNS ADDRESS NETNS ADDRESS
//
// In the first network namespace (a file such as /run/netns/a) it takes what the initiator sends to the first address,
// which is the responder's. It sends that on in the second namespace, from the second address, the initiator's. The
// other way round it does the same, so both hosts see the addresses that they would see without it.
//
// It prints "ready" when it carries, and "held" when it holds something. After it has read a line it lets all pass.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "ikehold: want NETNS ADDRESS NETNS ADDRESS")
		os.Exit(2)
	}
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ikehold:", err)
		os.Exit(1)
	}
}

// run carries until something fails.
func run(args []string, in io.Reader, out io.Writer) error {
	initiator, err := openSide(args[0], args[1])
	if err != nil {
		return err
	}
	defer initiator.conn.Close()
	responder, err := openSide(args[2], args[3])
	if err != nil {
		return err
	}
	defer responder.conn.Close()
	initiator.peer, responder.peer = responder.local, initiator.local

	h := &holder{to: initiator, out: out}
	failed := make(chan error, 3)
	go func() { failed <- carry(initiator, responder.send) }()
	go func() { failed <- carry(responder, h.send) }()
	go func() {
		_, err := bufio.NewReader(in).ReadString('\n')
		if err == nil {
			err = h.letGo()
		}
		if err != nil {
			failed <- err
		}
	}()
	if _, err := fmt.Fprintln(out, "ready"); err != nil {
		return err
	}
	return <-failed
}

// A side is where one of the hosts is. Here its peer's address is local, and the host itself is the peer.
type side struct {
	conn        *net.UDPConn
	local, peer netip.AddrPort
}

// openSide opens a socket for IKE in a network namespace.
func openSide(namespace, local string) (s *side, err error) {
	addr, err := netip.ParseAddr(local)
	if err != nil {
		return nil, err
	}
	s = &side{local: netip.AddrPortFrom(addr, 500)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread, then in another namespace, ends with the goroutine
		if err = enter(namespace); err == nil {
			s.conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(s.local))
		}
	}()
	<-done
	return s, err
}

// enter moves this thread into a network namespace.
func enter(namespace string) error {
	f, err := os.Open(namespace)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("%s: %w", namespace, os.NewSyscallError("setns", err))
	}
	return nil
}

func (s *side) send(m []byte) error {
	_, err := s.conn.WriteToUDPAddrPort(m, s.peer)
	return err
}

// carry gives what arrives at a side to send, which must not keep it.
func carry(from *side, send func([]byte) error) error {
	buf := make([]byte, 1<<16)
	for {
		n, err := from.conn.Read(buf)
		if err != nil {
			return err
		}
		if err := send(buf[:n]); err != nil {
			return err
		}
	}
}

// A holder sends to the initiator, but for answers to IKE_AUTH before letGo.
type holder struct {
	to  *side
	out io.Writer

	mu   sync.Mutex
	free bool
	held [][]byte
}

func (h *holder) send(m []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.free || !isAuthAnswer(m) {
		return h.to.send(m)
	}
	h.held = append(h.held, append([]byte(nil), m...))
	_, err := fmt.Fprintln(h.out, "held")
	return err
}

func (h *holder) letGo() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.free = true
	for _, m := range h.held {
		if err := h.to.send(m); err != nil {
			return err
		}
	}
	h.held = nil
	return nil
}

// isAuthAnswer looks at the header of an IKE message, RFC 7296 section 3.1: 28 bytes, with the exchange type at 18 and
// the flags at 19.
func isAuthAnswer(m []byte) bool {
	const ikeAuth, response = 35, 0x20
	return len(m) >= 28 && m[18] == ikeAuth && m[19]&response != 0
}
