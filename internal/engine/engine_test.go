package engine_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// fake is a kernel that echoes to all sockets, and does what a test asks of it.
type fake struct {
	e       *engine.Engine
	request func(s *engine.Socket, msg []byte)
	inbound func(p *packet.Packet)
	room    int // messages a queue may hold, 0: any number
	due     []time.Time
	aged    []time.Time
	closed  int
}

func newFake(t *testing.T, o engine.Options) (*fake, *engine.Engine) {
	t.Helper()
	k := &fake{}
	e, err := engine.New("fake", o, func(e *engine.Engine) (engine.Kernel, error) { k.e = e; return k, nil })
	if err != nil {
		t.Fatal(err)
	}
	return k, e
}

func (k *fake) Dialect() *wire.Dialect { return wire.Illumos() }
func (k *fake) Open(s *engine.Socket, c pfkey.Cred, _, _ int) (engine.Endpoint, pfkey.Errno) {
	if !c.Privileged {
		return nil, wire.EPERM
	}
	return &end{k: k, s: s}, wire.OK
}
func (k *fake) Inbound(p *packet.Packet)            { k.inbound(p) }
func (k *fake) Outbound(p *packet.Packet, _ string) { k.inbound(p) }
func (k *fake) Next() (time.Time, bool) {
	if len(k.due) == 0 {
		return time.Time{}, false
	}
	return k.due[0], true
}
func (k *fake) Age(now time.Time, force bool) {
	k.aged = append(k.aged, now)
	for len(k.due) > 0 && !k.due[0].After(now) {
		k.due = k.due[1:]
	}
}
func (k *fake) Describe(*status.Engine, int) {}
func (k *fake) Stop()                        {}

// end is a socket of a fake.
type end struct {
	k     *fake
	s     *engine.Socket
	ended bool
}

func (x *end) Request(msg []byte, _ pfkey.Cred) pfkey.Errno {
	if x.k.request != nil {
		x.k.request(x.s, msg)
		return wire.OK
	}
	for _, s := range x.k.e.Sockets() {
		s.Deliver(msg, false)
	}
	return wire.OK
}
func (x *end) Room(n int, _ bool) bool                   { return x.k.room == 0 || x.s.Queued()/n < x.k.room }
func (x *end) Reading()                                  {}
func (x *end) SetOption(pfkey.Option, int) pfkey.Errno   { return wire.ENOPROTOOPT }
func (x *end) GetOption(pfkey.Option) (int, pfkey.Errno) { return 0, wire.ENOPROTOOPT }
func (x *end) Closed()                                   { x.k.closed++ }
func (x *end) Ended() bool                               { return x.ended }

func (x *end) Receive(flags pfkey.RecvFlags) pfkey.Errno {
	if flags&pfkey.RecvOOB != 0 {
		return wire.EOPNOTSUPP
	}
	return wire.OK
}

func (x *end) Call(c pfkey.Call) pfkey.Errno {
	if c != pfkey.CallShutdownRead {
		return wire.EISCONN
	}
	x.s.Discard()
	x.ended = true
	return wire.OK
}

var root = pfkey.Cred{Privileged: true}

func open(t *testing.T, e *engine.Engine) pfkey.Socket {
	t.Helper()
	s, errno := e.Open(root, 3, 2)
	if errno != wire.OK {
		t.Fatalf("open: %v", errno)
	}
	return s
}

func recv(t *testing.T, s pfkey.Socket) string {
	t.Helper()
	buf := make([]byte, 64)
	n, size, errno := s.Recv(buf, 0)
	if errno != wire.OK {
		return errno.String()
	}
	if n != size {
		t.Errorf("%d of %d bytes", n, size)
	}
	return string(buf[:n])
}

func TestSocketsHearInOrder(t *testing.T) {
	_, e := newFake(t, engine.Options{})
	a, b := open(t, e), open(t, e)
	for _, m := range []string{"one", "two", "three"} {
		a.Send([]byte(m), root)
	}
	for _, s := range []pfkey.Socket{a, b} {
		for _, want := range []string{"one", "two", "three", "EAGAIN"} {
			if got := recv(t, s); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
}

func TestTheKernelWorksOnItsOwnCopy(t *testing.T) {
	k, e := newFake(t, engine.Options{})
	s := open(t, e)
	k.request = func(s *engine.Socket, msg []byte) { msg[0] = 'X'; s.Deliver(msg, false) }
	sent := []byte("abc")
	s.Send(sent, root)
	if string(sent) != "abc" {
		t.Error("the sender's bytes were changed")
	}
	sent[1] = 'Y'
	if got := recv(t, s); got != "Xbc" {
		t.Errorf("got %q: the message follows the sender's buffer", got)
	}
}

func TestShortBufferAndPeek(t *testing.T) {
	_, e := newFake(t, engine.Options{})
	s := open(t, e)
	s.Send([]byte("first"), root)
	s.Send([]byte("second"), root)
	buf := make([]byte, 2)
	for range 2 {
		if n, size, errno := s.Recv(buf, pfkey.RecvPeek); n != 2 || size != 5 || errno != wire.OK {
			t.Errorf("peek: %d of %d, %v", n, size, errno)
		}
	}
	if n, size, _ := s.Recv(buf, 0); n != 2 || size != 5 {
		t.Errorf("short read: %d of %d", n, size)
	}
	if got := recv(t, s); got != "second" {
		t.Errorf("the rest of a message that did not fit came back: %q", got)
	}
}

func TestAFullQueueLosesMessagesOfItsSocketOnly(t *testing.T) {
	k, e := newFake(t, engine.Options{})
	k.room = 2
	a, b := open(t, e), open(t, e)
	for range 3 {
		a.Send([]byte("m"), root)
		recv(t, a)
	}
	if got := []string{recv(t, b), recv(t, b), recv(t, b)}; !slices.Equal(got, []string{"m", "m", "EAGAIN"}) {
		t.Errorf("the one that does not read: %q", got)
	}
	st := e.Status(0)
	if st.Sockets[0].Lost != 0 || st.Sockets[1].Lost != 1 {
		t.Errorf("lost: %d and %d, want 0 and 1", st.Sockets[0].Lost, st.Sockets[1].Lost)
	}
}

// TestNotifyWhenNotEmptyAnyMore: one call for each time a queue stops being empty.
func TestNotifyWhenNotEmptyAnyMore(t *testing.T) {
	_, e := newFake(t, engine.Options{})
	s := open(t, e)
	told := 0
	s.Notify(func() {
		told++
		e.Status(0) // no lock is held
	})
	s.Send([]byte("1"), root)
	s.Send([]byte("2"), root)
	if told != 1 {
		t.Errorf("told %d times of a queue that became non-empty once", told)
	}
	recv(t, s)
	recv(t, s)
	s.Send([]byte("3"), root)
	if told != 2 {
		t.Errorf("told %d times, want 2", told)
	}
}

// Calls for which PF_KEY has no use are answered by the kernel.
func TestCalls(t *testing.T) {
	_, e := newFake(t, engine.Options{})
	s := open(t, e)
	if errno := pfkey.CallOn(s, pfkey.CallConnect); errno != wire.EISCONN {
		t.Errorf("connect: %v", errno)
	}
	s.Close()
	if errno := pfkey.CallOn(s, pfkey.CallConnect); errno != wire.ENOTCONN {
		t.Errorf("connect a closed socket: %v", errno)
	}
}

// A shutdown of reading loses what is queued, and reads are at the end of the file from then on.
func TestEndOfFile(t *testing.T) {
	_, e := newFake(t, engine.Options{})
	a, b := open(t, e), open(t, e)
	a.Send([]byte("lost"), root)
	if errno := pfkey.CallOn(a, pfkey.CallShutdownRead); errno != wire.OK {
		t.Fatalf("shutdown: %v", errno)
	}
	for range 2 {
		if n, size, errno := a.Recv(make([]byte, 64), 0); n != 0 || size != 0 || errno != wire.OK {
			t.Errorf("%d bytes of %d, %v; want the end of file", n, size, errno)
		}
	}
	if got := recv(t, b); got != "lost" {
		t.Errorf("the other socket reads %q", got)
	}
	if got := recv(t, b); got != "EAGAIN" {
		t.Errorf("the other socket then reads %q", got)
	}
}

func TestClosedSocket(t *testing.T) {
	k, e := newFake(t, engine.Options{})
	a, b := open(t, e), open(t, e)
	b.Close()
	b.Close()
	a.Send([]byte("m"), root)
	if got := recv(t, b); got != "ENOTCONN" {
		t.Errorf("a closed socket: %q", got)
	}
	if errno := b.Send([]byte("m"), root); errno != wire.ENOTCONN {
		t.Errorf("send on a closed socket: %v", errno)
	}
	if _, _, errno := b.Recv(nil, pfkey.RecvOOB); errno != wire.ENOTCONN {
		t.Errorf("a closed socket is read with flags that its kernel refuses: %v", errno)
	}
	if k.closed != 1 {
		t.Errorf("the kernel was told %d times", k.closed)
	}
	if n := len(e.Status(0).Sockets); n != 1 {
		t.Errorf("%d sockets left, want 1", n)
	}
}

// TestPostWaitsForNobody: control work from a packet's way runs at once when the lock is free, and otherwise when its
// holder lets go.
func TestPostWaitsForNobody(t *testing.T) {
	_, e := newFake(t, engine.Options{})
	ran := false
	e.Post(func() { ran = true })
	if !ran {
		t.Error("the lock was free, and Post did not run its work")
	}
	var order []string
	e.Do(func() {
		e.After(func() { order = append(order, "after") })
		posted := make(chan struct{})
		go func() {
			e.Post(func() { order = append(order, "posted") })
			close(posted)
		}()
		<-posted // it did not wait for the lock, which this goroutine holds
		order = append(order, "do")
	})
	if want := []string{"do", "posted", "after"}; !slices.Equal(order, want) {
		t.Errorf("order %q, want %q", order, want)
	}
}

func TestPostForgetsNothing(t *testing.T) {
	_, e := newFake(t, engine.Options{})
	var n atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 2000 {
				e.Post(func() { n.Add(1) })
				e.Do(func() {})
			}
		})
	}
	wg.Wait()
	if n.Load() != 8000 {
		t.Errorf("%d of 8000 pieces of work were run", n.Load())
	}
}

// TestPostedWorkIsBounded: while the lock is held TryPost takes so much work and no more, and Post still takes its own.
func TestPostedWorkIsBounded(t *testing.T) {
	_, e := newFake(t, engine.Options{})
	ran, taken := 0, 0
	e.Do(func() {
		for e.TryPost(func() { ran++ }) {
			if taken++; taken == 1<<20 {
				t.Fatal("a million pieces of work wait")
			}
		}
		e.Post(func() { ran++ })
	})
	if ran != taken+1 {
		t.Errorf("%d of %d pieces of work were run", ran, taken+1)
	}
	if !e.TryPost(func() { ran++ }) || ran != taken+2 {
		t.Error("there is room again, and it is not used")
	}
}

func TestAdvanceRunsEachThingAtItsTime(t *testing.T) {
	k, e := newFake(t, engine.Options{Start: time.Unix(1000, 0)})
	e.Do(func() { k.due = []time.Time{time.Unix(1008, 0), time.Unix(1016, 0), time.Unix(2000, 0)} })
	select {
	case <-e.Wake():
	default:
		t.Error("Wake was not signalled when something became due")
	}
	e.Advance(time.Unix(1500, 0))
	if want := []time.Time{time.Unix(1008, 0).UTC(), time.Unix(1016, 0).UTC()}; len(k.aged) != 2 ||
		!k.aged[0].Equal(want[0]) || !k.aged[1].Equal(want[1]) {
		t.Errorf("aged at %v, want %v", k.aged, want)
	}
	if now := e.Now(); !now.Equal(time.Unix(1500, 0)) {
		t.Errorf("the clock shows %v", now)
	}
	e.Advance(time.Unix(10, 0))
	if now := e.Now(); !now.Equal(time.Unix(1500, 0)) {
		t.Errorf("the clock went back to %v", now)
	}
	if next, ok := e.Next(); !ok || !next.Equal(time.Unix(2000, 0)) {
		t.Errorf("next %v, %v", next, ok)
	}
}

func TestInboundIsCounted(t *testing.T) {
	k, e := newFake(t, engine.Options{})
	k.inbound = func(p *packet.Packet) { p.End(packet.Verdict{Kind: packet.Dropped, Reason: packet.NoSA}) }
	e.Inbound(&packet.Packet{ID: 1})
	var sent, data []byte
	stop := e.Ledger().Watch(func(p *packet.Packet, v packet.Verdict) { data, sent = p.Data, v.Inner })
	e.Emit([]byte("keepalive"))
	stop()
	if string(data) != "keepalive" {
		t.Errorf("the packet that was made has the bytes %q", data)
	}
	b := e.Ledger().Balance()
	if b.Injected != 2 || b.Ended != 2 || b.Reasons["no-sa"] != 1 || b.Verdicts["sent"] != 1 ||
		string(sent) != "keepalive" {
		t.Errorf("ledger %+v, watched %q", b, sent)
	}
}

// A socket that has nothing to read says so only to flags that its kernel takes.
func TestFlagsOfAnEmptySocket(t *testing.T) {
	_, e := newFake(t, engine.Options{})
	s := open(t, e)
	for flags, want := range map[pfkey.RecvFlags]wire.Errno{0: wire.EAGAIN, pfkey.RecvOOB: wire.EOPNOTSUPP} {
		if _, _, errno := s.Recv(nil, flags); errno != want {
			t.Errorf("flags %v: %v, want %v", flags, errno, want)
		}
	}
}

// The status of an engine in which nothing has happened says what its clock shows, and has lists, which JSON shows as
// such.
func TestStatusOfAnEmptyEngine(t *testing.T) {
	now := time.Unix(1_700_000_000, 0).UTC()
	for _, tt := range []struct {
		o       engine.Options
		virtual bool
	}{{engine.Options{Start: now}, true}, {engine.Options{Clock: func() time.Time { return now }}, false}} {
		_, e := newFake(t, tt.o)
		st := e.Status(0)
		if !st.Now.Equal(now) || st.Virtual != tt.virtual {
			t.Errorf("the clock shows %v, virtual %v; want %v, %v", st.Now, st.Virtual, now, tt.virtual)
		}
		b, err := json.Marshal(st)
		if err != nil || bytes.Contains(b, []byte("null")) {
			t.Errorf("JSON: %s, %v", b, err)
		}
	}
}

// A kernel logs where its options say.
func TestLog(t *testing.T) {
	var text bytes.Buffer
	_, e := newFake(t, engine.Options{Log: slog.New(slog.NewTextHandler(&text, nil))})
	e.Log().Info("heard")
	if !strings.Contains(text.String(), "heard") {
		t.Errorf("logged: %q", &text)
	}
}

func TestUnprivileged(t *testing.T) {
	_, e := newFake(t, engine.Options{})
	if s, errno := e.Open(pfkey.Cred{}, 3, 2); s != nil || errno != wire.EPERM {
		t.Errorf("open without privilege: %v, %v", s, errno)
	}
}

// A message is overwritten once nobody can read it any more: there may be keys in it.
func TestMessagesAreForgotten(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, a, b pfkey.Socket, msg []byte)
	}{
		{"both have read it", func(t *testing.T, a, b pfkey.Socket, msg []byte) {
			for _, s := range []pfkey.Socket{a, b} {
				if string(msg) != "key" {
					t.Errorf("%q before all have read it", msg)
				}
				if got := recv(t, s); got != "key" {
					t.Errorf("read %q", got)
				}
			}
		}},
		{"one has read it, the other is closed", func(t *testing.T, a, b pfkey.Socket, msg []byte) {
			recv(t, a)
			b.Close()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, e := newFake(t, engine.Options{})
			a, b := open(t, e), open(t, e)
			var kept []byte
			k.request = func(_ *engine.Socket, msg []byte) {
				kept = msg
				for _, s := range e.Sockets() {
					s.Deliver(msg, false)
				}
			}
			a.Send([]byte("key"), root)
			tt.end(t, a, b, kept)
			if string(kept) != "\x00\x00\x00" {
				t.Errorf("%q is left", kept)
			}
		})
	}
	t.Run("nobody is told", func(t *testing.T) {
		k, e := newFake(t, engine.Options{})
		var kept []byte
		k.request = func(_ *engine.Socket, msg []byte) { kept = msg }
		open(t, e).Send([]byte("key"), root)
		if string(kept) != "\x00\x00\x00" {
			t.Errorf("%q is left", kept)
		}
	})
}
