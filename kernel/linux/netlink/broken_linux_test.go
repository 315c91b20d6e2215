package netlink_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/netns"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// sockets are the netlink sockets of this process, of one family, as descriptors.
func sockets(t testing.TB, family int) (fds []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err != nil || domain != unix.AF_NETLINK {
			continue
		}
		if p, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err == nil && p == family {
			fds = append(fds, fd)
		}
	}
	slices.Sort(fds)
	return fds
}

// opened are those that f opens.
func opened(t testing.TB, family int, f func()) []int {
	t.Helper()
	before := sockets(t, family)
	f()
	return slices.DeleteFunc(sockets(t, family), func(fd int) bool { return slices.Contains(before, fd) })
}

// A liar is a user of netlink, and what stands in the place of the kernel at the other ends of his sockets.
type liar struct {
	*user
	requests, news int           // our ends
	newsFD         int           // theirs
	answers        chan [][]byte // datagrams, of one request each
	asked          func()        // called for each request, if set; guarded by answering
	answering      sync.Mutex
	over           chan struct{}
}

// newLiar is one in the namespace of the calling thread. He waits for an answer for so long.
func newLiar(t testing.TB, patience time.Duration) *liar {
	t.Helper()
	l := &liar{answers: make(chan [][]byte, 3), over: make(chan struct{})}
	fds := opened(t, unix.NETLINK_XFRM, func() { l.user = newUser(t) })
	if len(fds) != 2 {
		t.Fatalf("it has the sockets %d", fds)
	}
	l.newsFD = fds[1] // in the order of opening
	l.requests, l.news = replace(t, fds[0], 0, patience), replace(t, fds[1], unix.SOCK_NONBLOCK, 0)
	go func() {
		defer close(l.over)
		for b := make([]byte, 65536); ; {
			if n, err := unix.Read(l.requests, b); err != nil || n == 0 {
				return
			}
			l.answering.Lock()
			if l.asked != nil {
				l.asked()
			}
			select {
			case answer := <-l.answers:
				for _, datagram := range answer {
					_ = unix.Send(l.requests, datagram, 0)
				}
			default: // there is none
			}
			l.answering.Unlock()
		}
	}()
	return l
}

// replace puts a socket of ours in the place of another one, and returns its other end.
func replace(t testing.TB, fd, flags int, patience time.Duration) (ours int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	timeout := unix.NsecToTimeval(patience.Nanoseconds())
	if err := unix.SetsockoptTimeval(pair[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		t.Fatal(err)
	}
	if err := unix.Dup3(pair[0], fd, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	unix.Close(pair[0])
	return pair[1]
}

func (l *liar) close() {
	l.Close()
	<-l.over
	unix.Close(l.requests)
	unix.Close(l.news)
}

// answer has these datagrams answer the next request.
func (l *liar) answer(datagrams ...[]byte) {
	select {
	case <-l.answers: // nothing was asked
	default:
	}
	l.answers <- datagrams
}

// answered waits until the whole answer to a request is there, of which something has been read.
func (l *liar) answered() {
	l.answering.Lock()
	defer l.answering.Unlock()
}

// tell has the next request hear this.
func (l *liar) tell(b []byte) { _ = unix.Send(l.news, b, unix.MSG_DONTWAIT) }

// ack is the acknowledgement of a request, or the errno of its refusal.
func ack(errno int32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 20)
	b = append(b, 2, 0, 0, 0)         // NLMSG_ERROR
	b = append(b, make([]byte, 8)...) // of whom
	return binary.LittleEndian.AppendUint32(b, uint32(-errno))
}

var name = sadb.Key{Dst: addr("192.0.2.2"), SPI: 0x1001, Proto: 50}

// shorter is a datagram whose message says itself that it ends after n bytes.
func shorter(b []byte, n int) []byte {
	b = slices.Clone(b[:n])
	binary.LittleEndian.PutUint32(b, uint32(n))
	return b
}

// An answer is cut at every byte. It is an error or means what is left of it, the next request is answered as ever, and
// nobody waits for what does not come.
func TestAnswersCut(t *testing.T) {
	inNamespace(t, func() {
		l := newLiar(t, time.Second)
		defer l.close()
		whole := recorded(t)["add-tunnel-encap"]
		rest := rule("192.0.2.0/24", 1)
		policy := little.AppendPolicy(nil, rest, false, transform.By{})
		for n := range whole {
			var s transform.State
			l.answer(whole[:n])
			wants(t, "get, an answer of "+strconv.Itoa(n)+" bytes", l.Get(name, &s), wire.EIO)
			if n >= 16 {
				l.answer(shorter(whole, n)) // may be right: an SA without its attributes
				if errno := l.Get(name, &s); errno != wire.EIO && errno != wire.OK {
					t.Errorf("get, a message of %d bytes: %v", n, errno)
				}
				l.answer(shorter(whole, n))
				l.AllocSPI(&transform.SPIRequest{Proto: 50, Src: addr("192.0.2.1"), Dst: addr("192.0.2.2")}, &s)
				l.answer(shorter(whole, n), ack(0))
				w := l.Walk(transform.AnyProto, transform.Filter{})
				w.Each(func(*transform.State) bool { return true })
			}
			l.answer(whole)
			wants(t, "get afterwards", l.Get(name, &s), wire.OK)
			if s.SPI != name.SPI || s.Encap == nil {
				t.Fatalf("after an answer of %d bytes: %+v", n, s)
			}
		}
		for n := range policy {
			var p transform.Policy
			l.answer(policy[:n])
			wants(t, "policy, an answer of "+strconv.Itoa(n)+" bytes", l.GetPolicy(1, &p), wire.EIO)
			if n >= 16 {
				l.answer(shorter(policy, n))
				l.GetPolicy(1, &p)
			}
			l.answer(policy)
			wants(t, "policy afterwards", l.GetPolicy(1, &p), wire.OK)
		}
		for n := range 20 {
			l.answer(ack(17)[:n])
			wants(t, "an acknowledgement of "+strconv.Itoa(n)+" bytes", l.Delete(name, transform.By{}), wire.EIO)
			l.answer(ack(17))
			wants(t, "an acknowledgement", l.Delete(name, transform.By{}), wire.EEXIST)
		}
	})
}

// News is cut at every byte, of every kind. What is wrong is passed over, and what comes behind it is heard.
func TestNewsCut(t *testing.T) {
	inNamespace(t, func() {
		l := newLiar(t, time.Millisecond) // for lists that nobody makes
		defer l.close()
		all := recorded(t)
		for name, b := range all {
			for n := 1; n < len(b); n++ {
				l.tell(b[:n])
				if n >= 16 {
					l.tell(shorter(b, n))
				}
				l.Hear()
			}
			l.take()
			l.tell(all["policy-flush"])
			if l.Hear(); !slices.Equal(whats(l.take()), []string{"policies flushed"}) {
				t.Fatalf("%s: what comes behind it is not heard", name)
			}
		}
	})
}

// Answers that the kernel does not give are errors, at once: of other types, of errors that there are not, without an
// end, and none at all.
func TestAnswersThatMakeNoSense(t *testing.T) {
	inNamespace(t, func() {
		l := newLiar(t, time.Second)
		defer l.close()
		all := recorded(t)
		for what, tt := range map[string]struct {
			answer [][]byte
			want   wire.Errno
		}{
			"nothing":               {[][]byte{}, wire.EAGAIN},
			"of another type":       {[][]byte{all["policy-flush"]}, wire.EIO},
			"an error above zero":   {[][]byte{ack(-5)}, wire.EIO},
			"an error of no kernel": {[][]byte{ack(4000)}, wire.EOPNOTSUPP},
			"zeros":                 {[][]byte{make([]byte, 64)}, wire.EIO},
			"an end":                {[][]byte{{}}, wire.EIO},
		} {
			var s transform.State
			l.answer(tt.answer...)
			wants(t, what, l.Get(name, &s), tt.want)
			l.answer(all["add-tunnel-encap"])
			wants(t, what+", and then the right one", l.Get(name, &s), wire.OK)
		}
		// The rest of an answer that was given up is not that of the next request.
		var s transform.State
		l.answer(make([]byte, 64), ack(0), ack(0))
		wants(t, "zeros, and more", l.Get(name, &s), wire.EIO)
		l.answered()
		wants(t, "nothing", l.Get(name, &s), wire.EAGAIN)
	})
}

// When its sockets fail, whatever is asked is refused with an errno, and so is what is asked afterwards. Nobody hangs,
// also not who listens.
func TestSocketsFail(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	defer null.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	unix.Close(pair[1])
	for what, by := range map[string]struct {
		fd   int
		want []wire.Errno // of a request
	}{
		"ENOSPC": {int(full.Fd()), []wire.Errno{wire.ENOSPC}}, "an end": {int(null.Fd()), []wire.Errno{wire.EIO}},
		"EPIPE": {pair[0], []wire.Errno{wire.EPIPE, wire.EIO, wire.EOPNOTSUPP}},
	} {
		for _, which := range []string{"requests", "news"} {
			inNamespace(t, func() {
				var u *user
				fds := opened(t, unix.NETLINK_XFRM, func() { u = newUser(t) })
				defer u.e.Do(u.Close)
				u.e.Do(u.Listen)
				fd := fds[0]
				if which == "news" {
					fd = fds[1]
				}
				u.e.Do(func() {
					if err := unix.Dup3(by.fd, fd, unix.O_CLOEXEC); err != nil {
						t.Fatal(err)
					}
					var s transform.State
					got := u.Get(name, &s)
					want := by.want
					if which == "news" { // which is closed then, and the other with it
						want = []wire.Errno{wire.ENETDOWN}
						if what == "ENOSPC" { // zeros, which are no news
							want = []wire.Errno{wire.ESRCH}
						}
					}
					if !slices.Contains(want, got) {
						t.Errorf("%s on %s: get: %v, want %v", what, which, got, want)
					}
					if errno := u.AddPolicy(rule("127.0.0.2/32", 0), false, transform.By{}); errno == wire.OK &&
						what != "ENOSPC" {
						t.Errorf("%s on %s: add: %v", what, which, errno)
					}
					u.FlushPolicies(transform.By{})
					u.Ask(true)
					u.Addrs()
					w := u.WalkPolicies()
					w.Each(func(*transform.Policy) bool { return true })
					w.Close()
				})
			})
		}
	}
}

// overrunning puts a socket in the place of the news, and returns what makes more come in than that can hold. What
// comes means nothing.
func (l *liar) overrunning(t *testing.T) (overrun func()) {
	t.Helper()
	const group = 1
	open := func(flags int) int {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|flags, unix.NETLINK_USERSOCK)
		if err != nil {
			t.Skip(err)
		}
		return fd
	}
	in, out := open(unix.SOCK_NONBLOCK), open(0)
	t.Cleanup(func() { unix.Close(out) })
	_ = unix.SetsockoptInt(in, unix.SOL_SOCKET, unix.SO_RCVBUF, 1) // as few as there may be
	err := unix.Bind(in, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: group})
	if err == nil {
		err = unix.Dup3(in, l.newsFD, unix.O_CLOEXEC)
	}
	unix.Close(in)
	if err != nil {
		t.Fatal(err)
	}
	nothing := append([]byte{16, 0, 0, 0, 0x1e, 0}, make([]byte, 10)...) // XFRM_MSG_NEWAE
	return func() {
		for range 64 {
			_ = unix.Sendto(out, nothing, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: group})
		}
	}
}

// A request succeeds, its news is lost, and somebody else has undone it before anybody could look: who has asked is
// told its result, once.
func TestResultLost(t *testing.T) {
	me := transform.By{Seq: 3, PID: 4}
	sa := func(spi uint32) *transform.State {
		return &transform.State{Limits: transform.NoLimits, Config: transform.Config{Proto: 51, SPI: spi,
			Src: addr("192.0.2.1"), Dst: addr("192.0.2.3"), Auth: wire.AuthMD5HMAC, AuthBits: 16, Encrypt: wire.EncNull,
			EncryptBits: 8, Keys: upTo(1, 3)}}
	}
	for what, ask := range map[string]func(l *liar) wire.Errno{
		"state added":   func(l *liar) wire.Errno { return l.Add(sa(7), me) },
		"state updated": func(l *liar) wire.Errno { return l.Update(sa(7), me) },
		"state deleted": func(l *liar) wire.Errno { return l.Delete(sa(7).Key(), me) },
		"states flushed": func(l *liar) wire.Errno {
			l.Flush(50, me)
			return wire.OK
		},
		"policy added":   func(l *liar) wire.Errno { return l.AddPolicy(rule("192.0.2.0/24", 1), false, me) },
		"policy updated": func(l *liar) wire.Errno { return l.AddPolicy(rule("192.0.2.0/24", 1), true, me) },
		"policy deleted": func(l *liar) wire.Errno {
			return l.DeletePolicy(transform.Out, selects("192.0.2.0/24"), me)
		},
		"policy deleted by id": func(l *liar) wire.Errno { return l.DeletePolicyID(9, me) },
		"policies flushed": func(l *liar) wire.Errno {
			l.FlushPolicies(me)
			return wire.OK
		},
		"migrated": func(l *liar) wire.Errno {
			return l.Migrate(&transform.Migration{Selector: selects("192.0.2.0/24"), Direction: transform.Out})
		},
	} {
		inNamespace(t, func() {
			l := newLiar(t, time.Second)
			defer l.close()
			overrun := l.overrunning(t)
			l.answering.Lock()
			l.asked = overrun
			l.answering.Unlock()
			for range 3 { // the request's, and those of two lists in which there is nothing
				l.answers <- [][]byte{ack(0)}
			}
			wants(t, what, ask(l), wire.OK)
			got := l.take()
			if !slices.Equal(whats(got), []string{what}) || what != "migrated" && got[0].by != me ||
				l.Counters()["NetlinkOverruns"] == 0 {
				t.Errorf("%s: heard %+v", what, got)
			}
		})
	}
}

// Whatever the kernel answers or tells, nobody panics or hangs.
func FuzzAnswers(f *testing.F) {
	all := recorded(f)
	for _, b := range all {
		f.Add(b, ack(0), all["policy-flush"])
	}
	f.Add(ack(17), []byte{}, make([]byte, 32))
	ns, err := netns.New()
	if err != nil {
		f.Skip(err)
	}
	defer ns.Close()
	var l *liar
	err = ns.Do(func() error {
		l = newLiar(f, time.Millisecond)
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
	defer l.close()
	f.Fuzz(func(t *testing.T, first, second, news []byte) {
		if len(first) == 0 || len(second) == 0 || len(news) == 0 { // which netlink does not send
			return
		}
		l.tell(news)
		l.Hear()
		var s transform.State
		var p transform.Policy
		answers := [][]byte{first, second, ack(0)}
		for _, ask := range []func(){
			func() { l.Get(name, &s) }, func() { l.GetPolicy(1, &p) }, func() { l.Delete(name, by(1)) },
			func() {
				l.Add(&transform.State{Config: transform.Config{Proto: 50, Src: addr("192.0.2.1"),
					Dst: name.Dst}}, by(1))
			},
			func() { l.DeletePolicyID(1, by(1)) },
			func() {
				w := l.Walk(transform.AnyProto, transform.Filter{})
				w.Each(func(*transform.State) bool { return true })
			},
			func() {
				w := l.WalkPolicies()
				w.Each(func(*transform.Policy) bool { return true })
			},
		} {
			l.answer(answers...)
			ask()
			l.answered()
		}
		l.take()
	})
}

// The events of an engine tell what becomes of SAs, whoever changes them, and no LARVAL ones.
func TestStateEvents(t *testing.T) {
	inNamespace(t, func() {
		l := newLiar(t, time.Millisecond)
		defer l.close()
		l.e.KeepEvents()
		r := l.e.Events(engine.EventOptions{From: 1})
		defer r.Close()
		all := recorded(t)
		for _, name := range []string{"add-tunnel-encap", "update-encap", "delete", "add-aead-esn", "flush-all"} {
			l.tell(all[name])
		}
		l.Hear()
		var got []string
		for list, more := r.Next(nil); ; list, more = r.Next(list[:0]) {
			for _, e := range list {
				got = append(got, fmt.Sprintf("%s %s %s-%s", e.SA.SPI, e.SA.Dst, e.SA.From, e.SA.To))
			}
			if !more {
				break
			}
		}
		want := []string{"0x1001 192.0.2.2 -mature", "0x1001 192.0.2.2 mature-dead", "0x1002 2001:db8::2 -mature",
			"0x1002 2001:db8::2 mature-dead"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}
