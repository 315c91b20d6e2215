package engine_test

import (
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// bare is a kernel as the host's own looks to an engine: it has a time of its own and packets that nobody sees, and
// what happens in it is told from outside.
type bare struct {
	e       *engine.Engine
	happens chan string
	told    chan struct{}
}

// listen passes on what happens, as from a socket of the host.
func (k *bare) listen() {
	for event := range k.happens {
		k.e.Do(func() {
			for _, s := range k.e.Sockets() {
				s.Deliver([]byte(event), false)
			}
		})
		k.told <- struct{}{}
	}
}

func (k *bare) Dialect() *wire.Dialect { return wire.Linux() }

func (k *bare) Open(s *engine.Socket, _ pfkey.Cred, _, _ int) (engine.Endpoint, pfkey.Errno) {
	return &bareEnd{s}, wire.OK
}

func (k *bare) Describe(st *status.Engine, _ int) { st.SACount = 7 }
func (k *bare) Stop()                             { close(k.happens) }

// bareEnd answers its own socket, which has a queue of four bytes.
type bareEnd struct{ s *engine.Socket }

func (x *bareEnd) Request(msg []byte, _ pfkey.Cred) pfkey.Errno {
	if !x.s.Deliver(msg, false) {
		return wire.ENOBUFS
	}
	return wire.OK
}
func (x *bareEnd) Room(n int, _ bool) bool                   { return x.s.Queued()+n <= 4 }
func (x *bareEnd) Receive(pfkey.RecvFlags) pfkey.Errno       { return wire.OK }
func (x *bareEnd) Reading()                                  {}
func (x *bareEnd) SetOption(pfkey.Option, int) pfkey.Errno   { return wire.OK }
func (x *bareEnd) GetOption(pfkey.Option) (int, pfkey.Errno) { return 4, wire.OK }
func (x *bareEnd) Closed()                                   {}

// A kernel may have no packets, no virtual time and no answer to rare calls.
func TestBareKernel(t *testing.T) {
	k := &bare{happens: make(chan string), told: make(chan struct{})}
	now := time.Unix(1_700_000_000, 0)
	e, err := engine.New("bare", engine.Options{Clock: func() time.Time { return now }},
		func(e *engine.Engine) (engine.Kernel, error) { k.e = e; return k, nil })
	if err != nil {
		t.Fatal(err)
	}
	go k.listen()
	defer e.Close()
	s, other := open(t, e), open(t, e)
	if errno := s.Send([]byte("get"), root); errno != wire.OK {
		t.Errorf("send: %v", errno)
	}
	if errno := s.Send([]byte("more"), root); errno != wire.ENOBUFS {
		t.Errorf("send to a full queue: %v", errno)
	}
	if got := recv(t, s); got != "get" {
		t.Errorf("answer %q", got)
	}
	k.happens <- "end"
	<-k.told
	for _, s := range []pfkey.Socket{s, other} {
		if got := recv(t, s); got != "end" {
			t.Errorf("an event is %q", got)
		}
	}
	if errno := pfkey.CallOn(s, pfkey.CallListen); errno != wire.EOPNOTSUPP {
		t.Errorf("listen: %v", errno)
	}
	if size, errno := s.GetOption(pfkey.OptionRecvBuffer); size != 4 || errno != wire.OK {
		t.Errorf("SO_RCVBUF %d, %v", size, errno)
	}

	var ends []packet.Verdict
	done := func(_ *packet.Packet, v packet.Verdict) { ends = append(ends, v) }
	e.Inbound(&packet.Packet{Done: done})
	e.Outbound(&packet.Packet{Done: done}, "")
	if len(ends) != 2 || ends[0].Reason != packet.NoPackets || ends[1].Reason != packet.NoPackets {
		t.Errorf("packets end with %+v", ends)
	}

	if next, ok := e.Next(); ok {
		t.Errorf("something is due at %v", next)
	}
	e.Advance(now.Add(time.Hour))
	e.Age()
	if e.Virtual() || !e.Now().Equal(now) {
		t.Errorf("the clock is virtual: %v, and shows %v", e.Virtual(), e.Now())
	}
	st := e.Status(0)
	if st.SACount != 7 || st.Next != nil || len(st.Sockets) != 2 || st.Ledger.Reasons["no-packets"] != 2 {
		t.Errorf("status %+v", st)
	}
}
