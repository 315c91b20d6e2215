package launch_test

import (
	"bytes"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/launch"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// An echo is a kernel of NetBSD's dialect that answers each message with itself.
type echo struct{}

func (echo) Dialect() *wire.Dialect { return wire.NetBSD() }

func (echo) Open(pfkey.Cred, int, int) (pfkey.Socket, pfkey.Errno) { return new(echoSocket), wire.OK }

type echoSocket struct {
	mu     sync.Mutex
	queue  [][]byte
	notify func()
}

func (s *echoSocket) Send(msg []byte, _ pfkey.Cred) pfkey.Errno {
	s.mu.Lock()
	s.queue = append(s.queue, bytes.Clone(msg))
	notify := s.notify
	s.mu.Unlock()
	if wire.NetBSD().Validate(msg) != nil {
		return wire.EMSGSIZE
	}
	if notify != nil {
		notify()
	}
	return wire.OK
}

func (s *echoSocket) Recv(buf []byte, _ pfkey.RecvFlags) (n, size int, e pfkey.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return 0, 0, wire.EAGAIN
	}
	msg := s.queue[0]
	s.queue = s.queue[1:]
	return copy(buf, msg), len(msg), wire.OK
}

func (s *echoSocket) SetOption(pfkey.Option, int) pfkey.Errno   { return wire.OK }
func (s *echoSocket) GetOption(pfkey.Option) (int, pfkey.Errno) { return 0, wire.OK }
func (s *echoSocket) Notify(f func())                           { s.mu.Lock(); s.notify = f; s.mu.Unlock() }
func (s *echoSocket) Close()                                    {}
func hostedOffice(t *testing.T, e pfkey.Engine) (s *launch.Session, close func()) {
	server := pfkey.NewServer(e, pfkey.ServerOptions{})
	o := &office{server: server, desk: launch.NewDesk(server, launch.DeskOptions{Address: "illumos:/nowhere"})}
	return o.session(t), func() { o.desk.Close(); o.server.Close() }
}

// A hosted socket has this machine's socket addresses, also with the next engine; one that is not has the kernel's.
func TestHosted(t *testing.T) {
	h, err := wire.NewHosting(wire.NetBSD(), wire.Linux())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		hosted bool
		speaks *wire.Dialect
	}{
		{"plain", false, wire.NetBSD()},
		{"hosted", true, h.Program()},
	} {
		t.Run(tt.name, func(t *testing.T) { testHosted(t, tt.hosted, tt.speaks) })
	}
}

func testHosted(t *testing.T, hosted bool, d *wire.Dialect) {
	b := newBoardOf(t, launch.SwitchboardOptions{Hosted: hosted})
	first, closeFirst := hostedOffice(t, echo{})
	if err := b.Use(first); err != nil {
		t.Fatal(err)
	}
	f, err := b.Socket(pfkey.Cred{PID: 1, Privileged: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	message := func() []byte {
		msg := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgGet, SAType: wire.SATypeESP})
		dst := wire.Address{Addr: netip.MustParseAddr("2001:db8::1")}
		return d.Finish(d.AppendAddress(msg, wire.ExtAddressDst, dst))
	}
	check := func(what string) {
		t.Helper()
		socket := b.Find(launch.FileID{Device: uint64(st.Dev), Inode: st.Ino})
		if socket == nil {
			t.Fatalf("%s: the socket is not found", what)
		}
		msg := message()
		if err := socket.Send(msg, 0); err != nil || !bytes.Equal(msg, message()) {
			t.Fatalf("%s: %v; the program's own bytes are now %x", what, err, msg)
		}
		buf := make([]byte, 256)
		n, err := unix.Read(int(f.Fd()), buf)
		if err != nil || !bytes.Equal(buf[:n], message()) {
			t.Errorf("%s: %v\n got %x\nwant %x", what, err, buf[:n], message())
		}
	}
	check("the first engine")

	second, closeSecond := hostedOffice(t, echo{})
	defer closeSecond()
	if err := b.Use(second); err != nil {
		t.Fatal(err)
	}
	closeFirst()
	check("the next engine")
}

// A kernel whose socket addresses have another length cannot be spoken to in this way, and the socket is refused.
func TestHostedRefused(t *testing.T) {
	b := newBoardOf(t, launch.SwitchboardOptions{Hosted: true})
	if err := b.Use(openOffice(t).session(t)); err != nil { // illumos
		t.Fatal(err)
	}
	if f, err := b.Socket(pfkey.Cred{PID: 1, Privileged: true}); err == nil {
		f.Close()
		t.Error("illumos has such a socket")
	}
}
