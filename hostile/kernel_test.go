package hostile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/hostile"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

var privileged = pfkey.Cred{PID: 7, Privileged: true}

// scripted is an engine that gives the same answers to every request: "get" is a GET with an SA and a current lifetime,
// "event" an EXPIRE.
type scripted struct {
	answers []string
	queue   [][]byte
	notify  func()
	sent    int
}

func (e *scripted) Dialect() *wire.Dialect { return wire.Illumos() }

func (e *scripted) Open(pfkey.Cred, int, int) (pfkey.Socket, pfkey.Errno) { return e, wire.OK }

func message(t wire.MsgType) []byte {
	d := wire.Illumos()
	return d.Finish(d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: t, SAType: wire.SATypeESP, Seq: 5,
		PID: 7}))
}

func (e *scripted) Send([]byte, pfkey.Cred) pfkey.Errno {
	d := wire.Illumos()
	e.sent++
	for _, a := range e.answers {
		h := wire.Header{Version: wire.Version, Type: wire.MsgGet, SAType: wire.SATypeESP, Seq: wire.Seq(e.sent),
			PID: 7}
		if a == "event" {
			h.Type, h.PID = wire.MsgExpire, 0
		}
		msg := d.AppendSA(d.AppendHeader(nil, h), wire.SA{SPI: 0x1000})
		e.queue = append(e.queue, d.Finish(d.AppendLifetime(msg, wire.ExtLifetimeCurrent, wire.Lifetime{Bytes: 9})))
	}
	if e.notify != nil {
		e.notify()
	}
	return wire.OK
}

func (e *scripted) Recv(buf []byte, flags pfkey.RecvFlags) (n, size int, errno pfkey.Errno) {
	if len(e.queue) == 0 {
		return 0, 0, wire.EAGAIN
	}
	msg := e.queue[0]
	if flags&pfkey.RecvPeek == 0 {
		e.queue = e.queue[1:]
	}
	return copy(buf, msg), len(msg), wire.OK
}

func (e *scripted) SetOption(pfkey.Option, int) pfkey.Errno   { return wire.OK }
func (e *scripted) GetOption(pfkey.Option) (int, pfkey.Errno) { return 0, wire.OK }
func (e *scripted) Call(pfkey.Call) pfkey.Errno               { return wire.EISCONN }
func (e *scripted) Notify(f func())                           { e.notify = f }
func (e *scripted) Close()                                    {}

// hear sends n requests and returns what comes back, in short, and what send said if it failed.
func hear(t *testing.T, k *hostile.Kernel, n int) (got []string) {
	t.Helper()
	s, errno := k.Open(privileged, 3, 2)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	defer s.Close()
	notified := 0
	s.Notify(func() { notified++ })
	d := wire.Illumos()
	buf := make([]byte, 4096)
	for range n {
		if errno := s.Send(message(wire.MsgGet), privileged); errno != wire.OK {
			got = append(got, "send "+errno.String())
		}
		for {
			// A look changes nothing.
			_, peeked, errno := s.Recv(buf, pfkey.RecvPeek|pfkey.RecvTrunc)
			n, size, errno2 := s.Recv(buf, 0)
			if errno != errno2 || size != peeked && errno == wire.OK {
				t.Errorf("a peek says %v and %d bytes, then come %v and %d", errno, peeked, errno2, size)
			}
			if errno2 != wire.OK {
				break
			}
			got = append(got, brief(d, buf[:n]))
		}
	}
	return got
}

// brief is a message in a few words.
func brief(d *wire.Dialect, msg []byte) string {
	h, err := d.Header(msg)
	if err != nil {
		return fmt.Sprintf("%d bytes", len(msg))
	}
	s := fmt.Sprintf("%s %d/%d", d.MsgName(h.Type), h.Seq, h.PID)
	if h.Errno != 0 {
		s += " " + d.ErrnoName(h.Errno)
	}
	for x, err := range d.Walk(msg) {
		if err != nil {
			s += " broken"
			break
		}
		s += " " + d.ExtName(x.Type)
	}
	if int(h.Len)*8 != len(msg) {
		s += fmt.Sprintf(" %d of %d bytes", len(msg), h.Len*8)
	}
	return s
}

func TestFaults(t *testing.T) {
	const whole = " SA LIFETIME_CURRENT"
	for _, tt := range []struct {
		script  string
		answers string // to each of three requests; default one "get"
		want    []string
		done    uint64 // of the first fault
	}{
		{script: "", want: []string{"GET 1/7" + whole, "GET 2/7" + whole, "GET 3/7" + whole}},
		{script: "drop GET times 1", want: []string{"GET 2/7" + whole, "GET 3/7" + whole}, done: 1},
		{script: "drop GET after 1 times 1", want: []string{"GET 1/7" + whole, "GET 3/7" + whole}, done: 1},
		{script: "drop ADD", want: []string{"GET 1/7" + whole, "GET 2/7" + whole, "GET 3/7" + whole}},
		{script: "drop * events", answers: "get event", want: []string{"GET 1/7" + whole, "GET 2/7" + whole,
			"GET 3/7" + whole}, done: 3},
		{script: "drop * answers", answers: "get event", want: []string{"EXPIRE 1/0" + whole, "EXPIRE 2/0" + whole,
			"EXPIRE 3/0" + whole}, done: 3},
		{script: "delay 1 GET times 1", want: []string{"GET 1/7" + whole, "GET 2/7" + whole, "GET 3/7" + whole},
			done: 1},
		{script: "delay 2 GET times 1", want: []string{"GET 2/7" + whole, "GET 1/7" + whole, "GET 3/7" + whole},
			done: 1},
		{script: "duplicate GET times 1", want: []string{"GET 1/7" + whole, "GET 1/7" + whole, "GET 2/7" + whole,
			"GET 3/7" + whole}, done: 1},
		{script: "duplicate GET times 1\nstrip SA GET times 1", want: []string{"GET 1/7 LIFETIME_CURRENT",
			"GET 1/7" + whole, "GET 2/7" + whole, "GET 3/7" + whole}, done: 1},
		{script: "reorder GET times 1", answers: "get event", want: []string{
			"EXPIRE 1/0" + whole, "GET 1/7" + whole, "GET 2/7" + whole, "EXPIRE 2/0" + whole, "GET 3/7" + whole,
			"EXPIRE 3/0" + whole}, done: 1},
		{script: "reorder GET times 1", want: []string{"GET 1/7" + whole, "GET 2/7" + whole, "GET 3/7" + whole}},
		{script: "truncate 20 GET times 1", want: []string{"GET 1/7 broken 20 of 64 bytes", "GET 2/7" + whole,
			"GET 3/7" + whole}, done: 1},
		{script: "truncate 9 GET times 1", want: []string{"9 bytes", "GET 2/7" + whole, "GET 3/7" + whole}, done: 1},
		{script: "truncate 900 GET", want: []string{"GET 1/7" + whole, "GET 2/7" + whole, "GET 3/7" + whole}},
		{script: "strip LIFETIME_CURRENT GET times 2", want: []string{"GET 1/7 SA", "GET 2/7 SA", "GET 3/7" + whole},
			done: 2},
		{script: "strip KEY_AUTH GET", want: []string{"GET 1/7" + whole, "GET 2/7" + whole, "GET 3/7" + whole}},
		{script: "add SA GET times 1", want: []string{"GET 1/7" + whole + " SA", "GET 2/7" + whole, "GET 3/7" + whole},
			done: 1},
		{script: "add 99 010203040506 GET times 1", want: []string{"GET 1/7" + whole + " unknown(0x63)",
			"GET 2/7" + whole, "GET 3/7" + whole}, done: 1},
		{script: "length LIFETIME_CURRENT 0 GET times 1", want: []string{"GET 1/7 SA broken", "GET 2/7" + whole,
			"GET 3/7" + whole}, done: 1},
		{script: "errno ENOMEM GET times 1", want: []string{"GET 1/7 ENOMEM", "GET 2/7" + whole, "GET 3/7" + whole},
			done: 1},
		{script: "refuse EPERM GET times 1", want: []string{"send EPERM", "GET 1/7" + whole, "GET 2/7" + whole},
			done: 1},
		{script: "full 2 GET times 1", want: []string{"GET 3/7" + whole}, done: 1},
		{script: "pid 99 GET times 1", want: []string{"GET 1/99" + whole, "GET 2/7" + whole, "GET 3/7" + whole},
			done: 1},
		{script: "seq 3 GET", want: []string{"GET 3/7" + whole, "GET 3/7" + whole, "GET 3/7" + whole}, done: 2},
	} {
		t.Run(tt.script, func(t *testing.T) {
			script, err := hostile.Parse(strings.NewReader("x: "+tt.script), wire.Illumos())
			if tt.script == "" {
				script, err = hostile.Parse(strings.NewReader(""), wire.Illumos())
			}
			if err != nil {
				t.Fatal(err)
			}
			answers := strings.Fields(tt.answers)
			if len(answers) == 0 {
				answers = []string{"get"}
			}
			k := hostile.New(&scripted{answers: answers}, script)
			if d := cmp.Diff(tt.want, hear(t, k, 3)); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			if n := k.Counters()["x"]; n != tt.done {
				t.Errorf("it was done %d times, want %d", n, tt.done)
			}
		})
	}
}

// Chances are the same with the same seed, and others with another.
func TestSeed(t *testing.T) {
	run := func(seed string) []string {
		script, err := hostile.Parse(strings.NewReader("seed "+seed+"\ntruncate GET chance 50"), wire.Illumos())
		if err != nil {
			t.Fatal(err)
		}
		return hear(t, hostile.New(&scripted{answers: []string{"get"}}, script), 50)
	}
	first := run("1")
	if d := cmp.Diff(first, run("1")); d != "" {
		t.Errorf("the same seed (-first +second)\n%s", d)
	}
	if slices.Equal(first, run("2")) {
		t.Error("another seed, and all is the same")
	}
	if cut := len(slices.DeleteFunc(first, func(s string) bool {
		return strings.HasPrefix(s, "GET") &&
			!strings.Contains(s, "bytes")
	})); cut < 10 || cut > 40 {
		t.Errorf("%d of 50 are truncated", cut)
	}
}

// It lies in messages only.
func TestCallsAreNotSpoiled(t *testing.T) {
	script, err := hostile.Parse(strings.NewReader("drop GET"), wire.Illumos())
	if err != nil {
		t.Fatal(err)
	}
	s, errno := hostile.New(&scripted{}, script).Open(privileged, 3, 2)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	if errno := pfkey.CallOn(s, pfkey.CallConnect); errno != wire.EISCONN {
		t.Errorf("connect: %v", errno)
	}
}
