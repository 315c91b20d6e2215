package trace_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/trace"
	"github.com/pfkeyd/pfkeyd/wire"
)

var cred = pfkey.Cred{PID: 77, Privileged: true}

// play sends a REGISTER, reads its answer, closes, and sends nonsense, which fails.
func play(t *testing.T, w io.Writer, o trace.Options) (sent, got []byte, tr *trace.Trace) {
	t.Helper()
	e, err := kernels.New("illumos", engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	o.Now = e.Now
	tr = trace.New(e, w, o)
	s, errno := tr.Open(cred, 3, 2)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	d := e.Dialect()
	sent = d.Finish(d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgRegister,
		SAType: wire.SATypeESP, Seq: 1, PID: 77}))
	if errno := s.Send(sent, cred); errno != wire.OK {
		t.Fatal(errno)
	}
	buf := make([]byte, 4096)
	if _, _, errno := s.Recv(buf, pfkey.RecvPeek); errno != wire.OK { // a look is not a message
		t.Fatal(errno)
	}
	n, _, errno := s.Recv(buf, 0)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	if _, _, errno := s.Recv(buf, 0); errno != wire.EAGAIN {
		t.Fatal(errno)
	}
	s.Close()
	s.Close()
	if errno := s.Send([]byte{2, 3}, cred); errno == wire.OK {
		t.Fatal("a closed socket sends")
	}
	return sent, buf[:n], tr
}

func TestText(t *testing.T) {
	var b bytes.Buffer
	_, _, tr := play(t, &b, trace.Options{})
	if err := tr.Close(t.Context()); err != nil {
		t.Error(err)
	}
	var heads []string
	for line := range strings.Lines(b.String()) {
		if head, rest, ok := strings.Cut(strings.TrimSpace(line), " socket 1 process 77 "); ok {
			if _, err := time.Parse(time.RFC3339Nano, head); err != nil {
				t.Error(err)
			}
			heads = append(heads, strings.Join(strings.Fields(rest)[:2], " ")) // direction and type
		}
	}
	want := []string{"- opens", "> REGISTER", "< REGISTER", "- closes", "> malformed:", "- send"}
	if d := cmp.Diff(want, heads); d != "" {
		t.Errorf("(-want +got)\n%s\n%s", d, &b)
	}
	if !strings.Contains(b.String(), "SUPPORTED_AUTH, ") {
		t.Errorf("messages are not explained:\n%s", &b)
	}
}

func TestPcapng(t *testing.T) {
	var b bytes.Buffer
	sent, got, tr := play(t, &b, trace.Options{Format: trace.Pcapng})
	if err := tr.Close(t.Context()); err != nil {
		t.Error(err)
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(b.Bytes()), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for {
		data, info, err := r.ReadPacketData()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !info.Timestamp.Equal(time.Date(2014, 1, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("time %v", info.Timestamp)
		}
		all = append(all, data)
	}
	if d := cmp.Diff([][]byte{sent, got, {2, 3}}, all); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if !strings.Contains(b.String(), "socket 1, process 77: REGISTER esp seq=1 pid=77") {
		t.Error("there is no comment")
	}
}

// A file that takes no more ends the trace and nothing else; that is told at once, and what is missing is counted.
func TestFull(t *testing.T) {
	full := errors.New("no space")
	told := make(chan error, 1)
	_, _, tr := play(t, writer(func(b []byte) (int, error) { return 0, full }),
		trace.Options{Failed: func(err error) { told <- err }})
	if err := <-told; !errors.Is(err, full) {
		t.Errorf("told %v", err)
	}
	if err := tr.Close(t.Context()); !errors.Is(err, full) || !strings.Contains(err.Error(),
		"records missing in it: 6") {
		t.Errorf("at the end: %v", err)
	}
	if c := tr.Counters(); c != (trace.Counters{Lost: 6}) {
		t.Errorf("counters %+v", c)
	}
}

// The time of the machine stands beside that of a clock that is told to move.
func TestTwoTimes(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 789000, time.UTC)
	for _, tt := range []struct {
		format trace.Format
		want   []string
	}{
		{trace.Text, []string{"\n# two times",
			"\n2014-01-01T00:00:00.000000Z 2026-02-03T04:05:06.000789Z socket 1 process 77 > REGISTER"}},
		{trace.Pcapng, []string{"socket 1, process 77, machine's time 2026-02-03T04:05:06.000789Z: REGISTER"}},
	} {
		var b bytes.Buffer
		_, _, tr := play(t, &b, trace.Options{Format: tt.format, Machine: func() time.Time { return at }})
		if err := tr.Close(t.Context()); err != nil {
			t.Error(err)
		}
		for _, want := range tt.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("no %q in\n%s", want, &b)
			}
		}
	}
}

// A stalled writer takes one Write, and goes on when it is let.
type stalled struct {
	bytes.Buffer
	entered, release chan struct{}
	once             sync.Once
}

func newStalled() *stalled {
	return &stalled{entered: make(chan struct{}), release: make(chan struct{})}
}

func (s *stalled) Write(b []byte) (int, error) {
	s.once.Do(func() { close(s.entered) })
	<-s.release
	return s.Buffer.Write(b)
}

// Nobody waits for a file that stands still. What does not fit into the queue is left out; where and how much is in the
// trace.
func TestStalled(t *testing.T) {
	for _, format := range []trace.Format{trace.Text, trace.Pcapng} {
		t.Run(fmt.Sprint("pcapng ", format == trace.Pcapng), func(t *testing.T) {
			e, err := kernels.New("illumos", engine.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(e.Close)
			w := newStalled()
			tr := trace.New(e, w, trace.Options{Format: format, Now: e.Now, Queue: 16 * 1128})
			<-w.entered
			s, errno := tr.Open(cred, 3, 2)
			if errno != wire.OK {
				t.Fatal(errno)
			}
			nonsense := bytes.Repeat([]byte{2}, 1000) // it is not answered, and send fails
			for tr.Counters().Lost < 10 {
				s.Send(nonsense, cred)
			}
			close(w.release)
			for tr.Counters().Written < 15 { // there is room again
				runtime.Gosched()
			}
			lost := tr.Counters().Lost
			s.Send(nonsense, cred)
			if err := tr.Close(t.Context()); err == nil || !strings.Contains(err.Error(),
				fmt.Sprint("records missing in it: ", lost)) {
				t.Errorf("at the end: %v", err)
			}
			c, ok := trace.ReadEnd(w.Bytes()[w.Len()-trace.TailLen:])
			if !ok || c != tr.Counters() || c.Lost != lost {
				t.Errorf("the end says %+v %v, want %+v with %d lost", c, ok, tr.Counters(), lost)
			}
			if format == trace.Pcapng {
				r, err := pcapgo.NewNgReader(bytes.NewReader(w.Bytes()), pcapgo.DefaultNgReaderOptions)
				if err != nil {
					t.Fatal(err)
				}
				dropped, n := uint64(0), uint64(0)
				for {
					_, _, o, err := r.ReadPacketDataWithOptions()
					if err == io.EOF {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					n++
					if o.DropCount != nil {
						dropped += *o.DropCount
					}
				}
				if dropped != lost || n != c.Written {
					t.Errorf("%d packets with %d lost before one, want %d and %d", n, dropped, c.Written, lost)
				}
				return
			}
			want := fmt.Sprintf("\n# records missing here: %d; they came faster than they could be written\n\n2014",
				lost)
			if !strings.Contains(w.String(), want) {
				t.Errorf("no %q in it", want)
			}
		})
	}
}

// The end of the wait ends a trace whose writer stands still: by a deadline where there is one, else the writer is left
// behind.
func TestCloseStalled(t *testing.T) {
	e, err := kernels.New("illumos", engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	over, cancel := context.WithCancel(t.Context())
	cancel()

	near, far := net.Pipe()
	defer far.Close()
	tr := trace.New(e, near, trace.Options{Now: e.Now})
	tr.Open(cred, 3, 2)
	if err := tr.Close(over); !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(),
		"records missing in it: 1") {
		t.Errorf("a pipe: %v", err)
	}

	w := newStalled()
	tr = trace.New(e, w, trace.Options{Now: e.Now})
	if err := tr.Close(over); !errors.Is(err, context.Canceled) {
		t.Errorf("without a deadline: %v", err)
	}
	close(w.release)
	if err := tr.Close(t.Context()); err != nil {
		t.Errorf("after all: %v", err)
	}
}

// What is no whole trace has no end.
func TestReadEnd(t *testing.T) {
	for _, tail := range []string{"", "\n", "# the end; records: 3, missing: 4", "# the end; records: x, missing: 4\n",
		strings.Repeat("\x05\x00\x00\x00", 64)} {
		if c, ok := trace.ReadEnd([]byte(tail)); ok {
			t.Errorf("%q: %+v", tail, c)
		}
	}
	if c, ok := trace.ReadEnd([]byte("x\n\n# the end; records: 3, missing: 4\n")); !ok ||
		c != (trace.Counters{Written: 3, Lost: 4}) {
		t.Errorf("%+v %v", c, ok)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// What a program does with its socket beside reading and writing has the kernel's own outcome.
func TestCalls(t *testing.T) {
	e, err := kernels.New("linux", engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	tr := trace.New(e, io.Discard, trace.Options{Now: e.Now})
	defer tr.Close(t.Context())
	s, errno := tr.Open(cred, 3, 2)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	for c, want := range map[pfkey.Call]pfkey.Errno{pfkey.CallSendTo: wire.OK, pfkey.CallBind: wire.EOPNOTSUPP} {
		if errno := pfkey.CallOn(s, c); errno != want {
			t.Errorf("call %d: %v, want %v", c, errno, want)
		}
	}
}
