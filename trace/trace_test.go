package trace_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/trace"
	"github.com/pfkeyd/pfkeyd/wire"
)

var cred = pfkey.Cred{PID: 77, Privileged: true}

// play sends a REGISTER, reads its answer, closes, and sends nonsense, which fails.
func play(t *testing.T, w io.Writer, o trace.Options) (sent, got []byte, tr *trace.Trace) {
	t.Helper()
	e, err := kernel.New("illumos", engine.Options{})
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
	sent = d.Finish(d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgRegister, SAType: wire.SATypeESP, Seq: 1, PID: 77}))
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
	play(t, &b, trace.Options{})
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
	sent, got, _ := play(t, &b, trace.Options{Pcapng: true})
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

// A file that takes no more ends the trace and nothing else.
func TestFull(t *testing.T) {
	full := errors.New("no space")
	_, _, tr := play(t, writer(func(b []byte) (int, error) { return 0, full }), trace.Options{})
	if !errors.Is(tr.Err(), full) {
		t.Errorf("error %v", tr.Err())
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
