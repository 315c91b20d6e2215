package pfkey_test

import (
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// What send(2) would return is returned, and the client gets no header. The answer can be read at once, behind the
// answers to what the client had sent before.
func TestConnSend(t *testing.T) {
	e := newFake()
	var senders []int32
	e.request = func(s *fakeSocket, msg []byte, from pfkey.Cred) pfkey.Errno {
		senders = append(senders, from.PID)
		if len(msg) != 64 {
			return wire.EMSGSIZE
		}
		s.deliver(msg)
		return wire.OK
	}
	s := newServer(t, e, pfkey.ServerOptions{})
	c, conn := attach(t, s)
	c.send(message(wire.MsgGet, 1, 64))
	if errno := conn.Send(message(wire.MsgGet, 2, 64), 99); errno != wire.OK {
		t.Errorf("errno %v", errno)
	}
	for _, n := range []int{0, 8, 16, 80} {
		if errno := conn.Send(make([]byte, n), 0); errno != wire.EMSGSIZE {
			t.Errorf("%d bytes: errno %v", n, errno)
		}
	}
	if errno := conn.Send(make([]byte, wire.MaxLen+1), 0); errno != wire.EMSGSIZE {
		t.Errorf("a message longer than any can be: errno %v", errno)
	}
	for _, want := range []wire.Seq{1, 2} {
		if msg, err := c.tryRecv(); err != nil || seqOf(t, msg) != want {
			t.Errorf("message %d: %x, %v", want, msg, err)
		}
	}
	if msg, err := c.tryRecv(); err != unix.EAGAIN {
		t.Errorf("also %x, %v", msg, err)
	}
	if got := s.Counters(); got.Denied != 5 || got.Errnos != 0 {
		t.Errorf("counters %+v", got)
	}
	if want := []int32{owner.PID, 99, owner.PID, owner.PID, owner.PID, owner.PID}; !slices.Equal(senders, want) {
		t.Errorf("senders %v, want %v", senders, want)
	}
	c.close()
	<-conn.Done()
	if errno := conn.Send(message(wire.MsgGet, 3, 64), 0); errno != wire.ENOTCONN {
		t.Errorf("after the end: errno %v", errno)
	}
}

// An adopted client hears nothing of what makes its socket what it was, and is served from Begin on, with what it has
// sent before.
func TestAdopt(t *testing.T) {
	e := newFake()
	e.request = func(s *fakeSocket, msg []byte, from pfkey.Cred) pfkey.Errno { // as a kernel that tells everybody
		for _, x := range s.e.all() {
			x.deliver(msg)
		}
		return wire.OK
	}
	s := newServer(t, e, pfkey.ServerOptions{})
	var ends []*end
	var conns []*pfkey.Conn
	for range 2 {
		c, f := pair(t)
		conn, err := s.Adopt(f, owner, pfkey.AdoptOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ends, conns = append(ends, c), append(conns, conn)
	}
	for i, conn := range conns {
		conn.Replay(message(wire.MsgRegister, wire.Seq(i), 16))
		conn.Drain()
		if errno := conn.Send(message(wire.MsgGet, 3, 16), 0); errno != wire.ENOTCONN {
			t.Errorf("a message of a client that is not served: errno %v", errno)
		}
	}
	for i, conn := range conns {
		conn.Begin()
		conn.Replay(message(wire.MsgRegister, 9, 16)) // too late
		if msg, err := ends[i].tryRecv(); err != unix.EAGAIN {
			t.Errorf("client %d hears %x, %v", i, msg, err)
		}
	}
	if errno := conns[0].Send(message(wire.MsgGet, 4, 16), 0); errno != wire.OK {
		t.Errorf("errno %v", errno)
	}
	for i, c := range ends {
		if seq := seqOf(t, c.recv()); seq != 4 {
			t.Errorf("client %d: seq %d", i, seq)
		}
	}
	// One that is never served goes with the server.
	c, f := pair(t)
	if _, err := s.Adopt(f, owner, pfkey.AdoptOptions{}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	eventually(t, "its end is closed", c.gone)
}

// An engine whose own end is its client does not talk to itself.
func TestBothEndsAdopted(t *testing.T) {
	e := newFake()
	s := newServer(t, e, pfkey.ServerOptions{})
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns []*pfkey.Conn
	for _, fd := range fds {
		conn, err := s.Adopt(os.NewFile(uintptr(fd), "end"), owner, pfkey.AdoptOptions{})
		if err != nil {
			t.Fatal(err)
		}
		conn.Begin()
		conns = append(conns, conn)
	}
	if errno := conns[0].Send(message(wire.MsgGet, 1, 16), 0); errno != wire.OK {
		t.Fatal(errno)
	}
	for _, conn := range conns {
		<-conn.Done()
	}
	if got := s.Counters(); got.Refused != 1 || got.Received != 1 {
		t.Errorf("counters %+v", got)
	}
}

func TestStateKey(t *testing.T) {
	register := func(satype byte, n int) []byte {
		msg := message(wire.MsgRegister, 1, n)
		msg[3] = satype
		return msg
	}
	promisc := message(wire.MsgXPromisc, 1, 16)
	off := slices.Clone(promisc)
	promisc[3] = 1
	keys := map[uint32]int{}
	for _, msg := range [][]byte{register(2, 16), register(3, 16), register(3, 16), register(0, 40), promisc, off} {
		keys[pfkey.StateKey(msg)]++
	}
	var counts []int
	for _, n := range keys {
		counts = append(counts, n)
	}
	slices.Sort(counts)
	if diff := cmp.Diff([]int{1, 1, 2, 2}, counts); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, msg := range [][]byte{nil, promisc[:15], message(wire.MsgAdd, 1, 16), message(wire.MsgGet, 1, 16)} {
		if key := pfkey.StateKey(msg); key != 0 {
			t.Errorf("%x: key %#x", msg, key)
		}
	}
}
