package linux_test

import (
	"encoding/hex"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	emulated "github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// listener hears PF_KEY: a socket of the real AF_KEY, or of the bridge.
type listener struct {
	send func([]byte)
	recv func([]byte) int // 0: nothing more
}

func (l *listener) all() (messages []string) {
	d := wire.Linux()
	for buf := make([]byte, 65536); ; {
		n := l.recv(buf)
		if n == 0 {
			return messages
		}
		if h, err := d.Header(buf[:n]); err == nil && h.Type == wire.MsgAcquire {
			h.Seq = 0 // each key manager counts for itself
			d.PutHeader(buf, h)
		}
		messages = append(messages, d.Line(buf[:n])+"\n"+hex.EncodeToString(buf[:n]))
	}
}

// afKey is a socket of this host's AF_KEY.
func afKey(t testing.TB) *listener {
	fd, err := unix.Socket(unix.AF_KEY, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, wire.Version)
	if err != nil {
		t.Skipf("no AF_KEY: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return &listener{
		send: func(b []byte) {
			if _, err := unix.Write(fd, b); err != nil {
				t.Error(err)
			}
		},
		recv: func(b []byte) int {
			n, err := unix.Read(fd, b)
			if err != nil {
				return 0
			}
			return n
		}}
}

// bridged is a socket of a bridge in the namespace of the calling thread.
func bridged(t testing.TB) *listener {
	e, b := bridge(t)
	return listen(t, e, b)
}

// bridge is an engine in front of the namespace of the calling thread.
func bridge(t testing.TB) (e *engine.Engine, b *emulated.Bridge) {
	o := engine.Options{Clock: time.Now}
	e, err := engine.New("xfrm", o, func(e *engine.Engine) (k engine.Kernel, err error) {
		b, err = emulated.NewBridge(e, o)
		return b, err
	})
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(e.Close)
	return e, b
}

// listen opens a socket of a bridge.
func listen(t testing.TB, e *engine.Engine, b *emulated.Bridge) *listener {
	root := pfkey.Cred{Privileged: true}
	s, errno := e.Open(root, unix.SOCK_RAW, wire.Version)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	return &listener{
		send: func(m []byte) {
			if errno := s.Send(m, root); errno != wire.OK {
				t.Error(errno)
			}
		},
		recv: func(buf []byte) int {
			e.Do(b.Hear)
			n, _, errno := s.Recv(buf, 0)
			if errno != wire.OK {
				return 0
			}
			return n
		}}
}

// What another user of netlink does is heard through the bridge as through the real AF_KEY beside it, byte for byte.
func TestBesideAFKey(t *testing.T) {
	runtime.LockOSThread() // and never let go: the namespace ends with the thread, and that with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skip(err)
	}
	ip := func(arguments ...string) {
		if out, err := exec.Command("ip", arguments...).CombinedOutput(); err != nil {
			t.Logf("ip %q: %v: %s", arguments, err, out)
		}
	}
	real, ours := afKey(t), bridged(t)
	for _, a := range []string{"link add d0 type dummy", "link set d0 up", "address add 192.0.2.1/24 dev d0",
		"route add default dev d0"} {
		ip(strings.Fields(a)...)
	}
	d := wire.Linux()
	for _, s := range []wire.SAType{wire.SATypeESP, wire.SATypeAH} {
		register := d.Finish(d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgRegister,
			SAType: s, Seq: 1, PID: 2}))
		real.send(append([]byte(nil), register...))
		ours.send(register)
	}
	if diff := cmp.Diff(real.all(), ours.all()); diff != "" {
		t.Errorf("REGISTER (-AF_KEY +ours):\n%s", diff)
	}
	acts, err := os.ReadFile("testdata/foreign-acts.txt")
	if err != nil {
		t.Fatal(err)
	}
	messages := 0
	for a := range strings.Lines(string(acts)) {
		switch f := strings.Fields(a); f[0] {
		case "#":
			continue
		case "udp":
			udp(t, netip.MustParseAddr(f[1]))
		case "wait":
			d, _ := time.ParseDuration(f[1] + "s")
			time.Sleep(d) // what is waited for is the kernel's own clock
		default:
			ip(f...)
		}
		want := real.all()
		messages += len(want)
		if diff := cmp.Diff(want, ours.all()); diff != "" {
			t.Errorf("%s (-AF_KEY +ours):\n%s", a, diff)
		}
	}
	t.Logf("%d messages", messages)
}

func udp(t *testing.T, to netip.Addr) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	_ = unix.Sendto(fd, []byte("x"), unix.MSG_DONTWAIT, &unix.SockaddrInet4{Port: 9, Addr: to.As4()})
}
