package pfkey_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// kernelLike makes a fake engine that answers as much as the client's tests need, in either dialect.
func kernelLike(d *wire.Dialect) *fakeEngine {
	e := newFake()
	e.dialect = d
	sas := map[wire.SPI][]byte{} // the extensions of ADD
	var order []wire.SPI
	var mu sync.Mutex
	e.request = func(s *fakeSocket, msg []byte, _ pfkey.Cred) pfkey.Errno {
		mu.Lock()
		defer mu.Unlock()
		h, err := d.Header(msg)
		if err != nil {
			return wire.EMSGSIZE
		}
		if err := d.Validate(msg); err != nil {
			return wire.EINVAL
		}
		refuse := func(errno wire.Errno, diagnostic uint16) pfkey.Errno {
			h.Errno, h.Len = d.ErrnoNumber(errno), 2
			if d.Name == "illumos" {
				h.Reserved = diagnostic
			}
			s.deliver(d.AppendHeader(nil, h))
			return wire.OK
		}
		spi := func() wire.SPI {
			x, ok := d.Find(msg, wire.ExtSA)
			if !ok {
				return 0
			}
			sa, err := d.ParseSA(x.Raw)
			if err != nil {
				return 0
			}
			return sa.SPI
		}
		switch h.Type {
		case wire.MsgGetSPI:
			x, _ := d.Find(msg, wire.ExtSPIRange)
			r, err := d.ParseSPIRange(x.Raw)
			if err != nil {
				return refuse(wire.EINVAL, 0)
			}
			s.deliver(d.Finish(d.AppendSA(d.AppendHeader(nil, h), wire.SA{SPI: r.Min + 1})))
		case wire.MsgAdd, wire.MsgUpdate:
			_, known := sas[spi()]
			switch {
			case known && h.Type == wire.MsgAdd:
				return refuse(wire.EEXIST, uint16(wire.IllumosDiagDuplicateSA))
			case !known && h.Type == wire.MsgUpdate:
				return refuse(wire.ESRCH, uint16(wire.IllumosDiagSANotFound))
			case !known:
				order = append(order, spi())
			}
			sas[spi()] = bytes.Clone(msg[wire.HeaderLen:])
			for _, o := range e.all() {
				o.deliver(msg)
			}
		case wire.MsgGet, wire.MsgDelete:
			ext, known := sas[spi()]
			if !known {
				return refuse(wire.ESRCH, 0)
			}
			if h.Type == wire.MsgDelete {
				delete(sas, spi())
			}
			s.deliver(d.Finish(append(d.AppendHeader(nil, h), ext...)))
		case wire.MsgFlush:
			clear(sas)
			order = nil
			s.deliver(msg)
		case wire.MsgRegister:
			answer := d.AppendSupported(d.AppendHeader(nil, h), wire.ExtSupportedAuth,
				wire.Supported{Algs: []wire.Alg{{ID: 3, MinBits: 160, MaxBits: 160}}})
			answer = d.AppendSupported(answer, wire.ExtSupportedEncrypt,
				wire.Supported{Algs: []wire.Alg{{ID: 12, IVLen: 16, MinBits: 128, MaxBits: 256}, {ID: 11}}})
			s.deliver(d.Finish(answer))
		case wire.MsgAcquire:
			for _, o := range e.all() {
				if o != s {
					o.deliver(msg)
				}
			}
		case wire.MsgDump:
			if d.Name == "linux" && len(order) == 0 {
				return refuse(wire.ENOENT, 0)
			}
			if !d.DumpEnds() && h.SAType != wire.SATypeESP { // nothing has another type
				return wire.OK
			}
			for i, spi := range order {
				one := h
				if d.Name == "linux" {
					one.Seq = wire.Seq((i + 1) % len(order))
				}
				s.deliver(d.Finish(append(d.AppendHeader(nil, one), sas[spi]...)))
			}
			if d.Name != "linux" && d.DumpEnds() {
				h.Seq = 0
				s.deliver(d.AppendHeader(nil, h))
			}
		case wire.MsgXPromisc: // nobody answers this one
		default:
			return wire.EOPNOTSUPP
		}
		return wire.OK
	}
	return e
}

type transport struct {
	name string
	dial func(t testing.TB, e *fakeEngine, o ...pfkey.ClientOption) *pfkey.Client
}

// transports are all the ways from a client to an engine.
var transports = []transport{
	{"in process", func(t testing.TB, e *fakeEngine, o ...pfkey.ClientOption) *pfkey.Client {
		sock, errno := e.Open(owner, 3, 2)
		if errno != wire.OK {
			t.Fatal(errno)
		}
		return pfkey.NewClientOn(sock, e.dialect, owner, o...)
	}},
	{"socket", func(t testing.TB, e *fakeEngine, o ...pfkey.ClientOption) *pfkey.Client {
		path := serve(t, newServer(t, e, pfkey.ServerOptions{}))
		c, err := pfkey.Dial(t.Context(), e.dialect.Name+":"+path, o...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}},
	{"descriptor", func(t testing.TB, e *fakeEngine, o ...pfkey.ClientOption) *pfkey.Client {
		client, f := pair(t)
		if _, err := newServer(t, e, pfkey.ServerOptions{}).Attach(f, owner); err != nil {
			t.Fatal(err)
		}
		file := os.NewFile(uintptr(client.fd), "client's end")
		client.fd = -1
		c, err := pfkey.NewClientFile(file, e.dialect, o...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}},
	{"connection", func(t testing.TB, e *fakeEngine, o ...pfkey.ClientOption) *pfkey.Client {
		nc, err := net.Dial("unixpacket", serve(t, newServer(t, e, pfkey.ServerOptions{})))
		if err != nil {
			t.Fatal(err)
		}
		c, err := pfkey.NewClient(packetConn{nc.(*net.UnixConn)}, e.dialect, o...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}},
}

// overAll runs a test over every transport and in both dialects.
func overAll(t *testing.T, f func(t *testing.T, c *pfkey.Client, e *fakeEngine)) {
	for _, tr := range transports {
		for _, d := range wire.Dialects() {
			t.Run(tr.name+"/"+d.Name, func(t *testing.T) {
				e := kernelLike(d)
				c := tr.dial(t, e)
				t.Cleanup(func() { c.Close() })
				f(t, c, e)
			})
		}
	}
}

var (
	src = pfkey.Host(netip.MustParseAddr("192.0.2.1"))
	dst = pfkey.Host(netip.MustParseAddr("192.0.2.2"))
)

const secret = "Sixteen byte key"

func sampleSA(spi wire.SPI) pfkey.SA {
	return pfkey.SA{
		SAID:       pfkey.SAID{Type: wire.SATypeESP, SPI: spi, Src: src, Dst: dst},
		State:      wire.StateMature,
		Replay:     32,
		Auth:       3,
		Encrypt:    12,
		AuthKey:    pfkey.NewKey([]byte("twenty bytes of key.")),
		EncryptKey: pfkey.NewKey([]byte(secret)),
		Hard:       &wire.Lifetime{AddTime: 3600},
		Soft:       &wire.Lifetime{AddTime: 3000},
	}
}

// withoutPrefixes is an SA as a dialect can say it: OpenBSD's addresses have no prefix.
func withoutPrefixes(d *wire.Dialect, sa pfkey.SA) pfkey.SA {
	if d.Name == "openbsd" {
		sa.Src.PrefixLen, sa.Dst.PrefixLen = 0, 0
	}
	return sa
}

func TestClientRequests(t *testing.T) {
	overAll(t, func(t *testing.T, c *pfkey.Client, e *fakeEngine) {
		ctx := t.Context()
		spi, err := c.GetSPI(ctx, pfkey.GetSPIParams{Type: wire.SATypeESP, Src: src, Dst: dst, Min: 0x1000,
			Max: 0x2000})
		if err != nil || spi != 0x1001 {
			t.Errorf("GetSPI: %s %v", spi, err)
		}
		if spi, err = c.GetSPI(ctx, pfkey.GetSPIParams{Type: wire.SATypeESP, Src: src, Dst: dst}); err != nil ||
			spi != 0x101 {
			t.Errorf("GetSPI without a range: %s %v", spi, err)
		}
		sa := withoutPrefixes(c.Dialect(), sampleSA(spi))
		if err := c.Update(ctx, sa, 0); !errors.Is(err, unix.ESRCH) {
			t.Errorf("Update of nothing: %v", err)
		}
		if err := c.Add(ctx, sa, 0); err != nil {
			t.Errorf("Add: %v", err)
		}
		if err := c.Update(ctx, sa, 0); err != nil {
			t.Errorf("Update: %v", err)
		}
		got, err := c.Get(ctx, sa.SAID)
		if err != nil {
			t.Fatalf("Get: %v", err)
		}
		if diff := cmp.Diff(&sa, got, cmp.Comparer(sameAddr)); diff != "" {
			t.Errorf("Get (-want +got)\n%s", diff)
		}
		algs, err := c.Register(ctx, wire.SATypeESP)
		want := pfkey.Algorithms{
			Auth:    []wire.Alg{{ID: 3, MinBits: 160, MaxBits: 160}},
			Encrypt: []wire.Alg{{ID: 12, IVLen: 16, MinBits: 128, MaxBits: 256}, {ID: 11}},
		}
		if diff := cmp.Diff(want, algs); diff != "" || err != nil {
			t.Errorf("Register: %v (-want +got)\n%s", err, diff)
		}
		if err := c.Delete(ctx, sa.SAID); err != nil {
			t.Errorf("Delete: %v", err)
		}
		if _, err := c.Get(ctx, sa.SAID); !errors.Is(err, unix.ESRCH) {
			t.Errorf("Get of nothing: %v", err)
		}
		if err := c.Flush(ctx, wire.SATypeUnspec); err != nil {
			t.Errorf("Flush: %v", err)
		}
	})
}

func sameAddr(a, b netip.Addr) bool { return a == b }

// The errno of an answer is that of the host, whatever its number on the wire, and what went wrong is all there.
func TestClientErrors(t *testing.T) {
	overAll(t, func(t *testing.T, c *pfkey.Client, e *fakeEngine) {
		ctx := t.Context()
		sa := sampleSA(0x1234)
		if err := c.Add(ctx, sa, 0); err != nil {
			t.Fatal(err)
		}
		err := c.Add(ctx, sa, 0)
		var op *pfkey.OpError
		if !errors.Is(err, unix.EEXIST) || !errors.As(err, &op) {
			t.Fatalf("second Add: %v", err)
		}
		want := pfkey.OpError{Op: pfkey.OpAnswer, Msg: "ADD", Subject: sa.SAID.String(), Err: unix.EEXIST}
		if e.dialect.Name == "illumos" {
			want.Diagnostic = "DUPLICATE_SA"
		}
		if diff := cmp.Diff(want, *op, cmpopts.EquateErrors()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if !strings.Contains(err.Error(), "ADD "+sa.SAID.String()+": EEXIST, ") ||
			!strings.Contains(err.Error(), op.Diagnostic) {
			t.Errorf("text %q", err)
		}
		var sys *os.SyscallError
		if errors.As(err, &sys) {
			t.Errorf("an answer looks like a failed system call: %v", err)
		}
		// What send(2) returned comes back in a header from a server, and as itself in process.
		answer, err := c.Do(ctx, e.dialect.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgExpire, Len: 2,
			Seq: c.NextSeq(), PID: c.PID()}))
		if !errors.Is(err, unix.EOPNOTSUPP) {
			t.Errorf("EXPIRE: %v", err)
		}
		if local := errors.As(err, &sys); local == (answer != nil) {
			t.Errorf("EXPIRE: answer %x with error %v", answer, err)
		}
		if _, err := c.Do(ctx, []byte("short")); !errors.Is(err, wire.ErrShort) {
			t.Errorf("a request without a header: %v", err)
		}
	})
}

func TestClientDump(t *testing.T) {
	overAll(t, func(t *testing.T, c *pfkey.Client, e *fakeEngine) {
		ctx := t.Context()
		count := func() (spis []wire.SPI) {
			t.Helper()
			for sa, err := range c.Dump(ctx, wire.SATypeUnspec) {
				if err != nil {
					t.Fatal(err)
				}
				spis = append(spis, sa.SPI)
			}
			return spis
		}
		if got := count(); len(got) != 0 {
			t.Errorf("empty: %v", got)
		}
		var want []wire.SPI
		for i := range wire.SPI(50) {
			if err := c.Add(ctx, sampleSA(0x100+i), 0); err != nil {
				t.Fatal(err)
			}
			want = append(want, 0x100+i)
			if i != 0 && i != 49 {
				continue
			}
			if diff := cmp.Diff(want, count()); diff != "" {
				t.Errorf("%d (-want +got)\n%s", i+1, diff)
			}
		}
		// One that is left early is not mixed up with the next, nor with other requests.
		for sa, err := range c.Dump(ctx, wire.SATypeESP) {
			if err != nil || sa.SPI != 0x100 {
				t.Errorf("%v %v", sa, err)
			}
			break
		}
		if _, err := c.Get(ctx, sampleSA(0x101).SAID); err != nil {
			t.Errorf("Get after a dump that was left: %v", err)
		}
		if diff := cmp.Diff(want, count()); diff != "" {
			t.Errorf("after one that was left (-want +got)\n%s", diff)
		}
		// Requests while ranging, and a second dump at the same time from another goroutine.
		var other sync.WaitGroup
		other.Go(func() {
			if diff := cmp.Diff(want, count()); diff != "" {
				t.Errorf("concurrent (-want +got)\n%s", diff)
			}
		})
		for sa, err := range c.Dump(ctx, wire.SATypeESP) {
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Get(ctx, sa.SAID); err != nil {
				t.Errorf("Get while ranging: %v", err)
			}
		}
		other.Wait()
	})
}

// Messages that nobody waits for come out of Recv, in their order.
func TestClientEvents(t *testing.T) {
	overAll(t, func(t *testing.T, c *pfkey.Client, e *fakeEngine) {
		ctx := t.Context()
		sock, _ := e.Open(owner, 3, 2)
		// another process, so its answers are not ours
		other := pfkey.NewClientOn(sock, e.dialect, pfkey.Cred{PID: owner.PID + 1})
		defer other.Close()
		if err := c.Flush(ctx, 0); err != nil { // whose answer shows that the engine knows c
			t.Fatal(err)
		}
		for i := range wire.SPI(3) {
			if err := other.Add(ctx, sampleSA(0x200+i), 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Flush(ctx, 0); err != nil { // sets three messages aside
			t.Fatal(err)
		}
		if err := other.FailAcquire(ctx, wire.SATypeESP, 0xfffffffe, wire.ETIMEDOUT); err != nil {
			t.Fatal(err)
		}
		var got []string
		for msg, err := range c.Events(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			h, err := e.dialect.Header(msg)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%s %s %#x", e.dialect.MsgName(h.Type), e.dialect.ErrnoName(h.Errno),
				uint32(h.Seq)))
			if h.Type == wire.MsgAcquire {
				break
			}
		}
		if diff := cmp.Diff([]string{"ADD OK 0x1", "ADD OK 0x2", "ADD OK 0x3", "ACQUIRE ETIMEDOUT 0xfffffffe"},
			got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// Answers find their requests when many are under way.
func TestClientConcurrent(t *testing.T) {
	overAll(t, func(t *testing.T, c *pfkey.Client, e *fakeEngine) {
		ctx, cancel := context.WithCancel(t.Context())
		var events sync.WaitGroup
		events.Go(func() {
			for _, err := range c.Events(ctx) {
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("Events: %v", err)
				}
			}
		})
		var work sync.WaitGroup
		for k := range wire.SPI(4) {
			work.Go(func() {
				for i := range wire.SPI(30) {
					spi := 0x10000*(k+1) + i
					sa := sampleSA(spi)
					if err := c.Add(ctx, sa, 0); err != nil {
						t.Errorf("Add: %v", err)
					}
					if got, err := c.Get(ctx, sa.SAID); err != nil || got.SPI != spi {
						t.Errorf("Get %s: %v %v", spi, got, err)
					}
				}
			})
		}
		work.Wait()
		cancel()
		events.Wait()
	})
}

// Contexts end every wait, and the client can be used after it.
func TestClientContext(t *testing.T) {
	overAll(t, func(t *testing.T, c *pfkey.Client, e *fakeEngine) {
		silent := func() []byte {
			return e.dialect.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgXPromisc, Len: 2, Seq: c.NextSeq(),
				PID: c.PID()})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := c.Do(ctx, silent())
		var op *pfkey.OpError
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &op) || !op.Timeout() {
			t.Errorf("Do: %v", err)
		}
		if _, err := c.Do(ctx, silent()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Do with a context that has ended: %v", err)
		}
		if _, err := c.Recv(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Recv: %v", err)
		}
		for _, err := range c.Dump(ctx, 0) {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Dump: %v", err)
			}
		}
		// Two wait, one gives up, the other goes on.
		patient := make(chan error, 1)
		go func() {
			_, err := c.Recv(t.Context())
			patient <- err
		}()
		for range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			go cancel()
			if _, err := c.Recv(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("Recv: %v", err)
			}
		}
		if err := c.Flush(t.Context(), 0); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		for _, s := range e.all() {
			s.deliver(message(wire.MsgExpire, 0, 16))
		}
		if err := <-patient; err != nil {
			t.Errorf("the patient one: %v", err)
		}
	})
}

// Close ends whoever waits, with an error that says so.
func TestClientClose(t *testing.T) {
	overAll(t, func(t *testing.T, c *pfkey.Client, e *fakeEngine) {
		var waiting sync.WaitGroup
		for range 3 {
			waiting.Go(func() {
				if _, err := c.Recv(context.Background()); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Recv: %v", err)
				}
			})
			waiting.Go(func() {
				msg := e.dialect.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgXPromisc, Len: 2,
					Seq: c.NextSeq(), PID: c.PID()})
				if _, err := c.Do(context.Background(), msg); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Do: %v", err)
				}
			})
		}
		if err := c.Flush(t.Context(), 0); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		waiting.Wait()
		if err := c.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		if err := c.Flush(context.Background(), 0); !errors.Is(err, net.ErrClosed) {
			t.Errorf("afterwards: %v", err)
		}
		for _, err := range c.Dump(context.Background(), 0) {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("Dump afterwards: %v", err)
			}
		}
		eventually(t, "the engine's socket is closed", func() bool { return len(e.all()) == 0 })
	})
}

// When the engine goes, the error says that; nothing spins.
func TestClientEngineGone(t *testing.T) {
	s := newServer(t, newFake(), pfkey.ServerOptions{})
	path := serve(t, s)
	c, err := pfkey.Dial(t.Context(), "linux:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Flush(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := c.Recv(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("Recv: %v", err)
	}
	if err := c.Flush(t.Context(), 0); !errors.Is(err, unix.EPIPE) {
		t.Errorf("Flush: %v", err)
	}
}

// The client's own numbers: its sequence is never 0 nor in the kernels' half, and each client begins elsewhere unless
// told.
func TestClientNumbers(t *testing.T) {
	e := newFake()
	numbers := func(o ...pfkey.ClientOption) []wire.Seq {
		sock, _ := e.Open(owner, 3, 2)
		c := pfkey.NewClientOn(sock, e.dialect, owner, o...)
		defer c.Close()
		return []wire.Seq{c.NextSeq(), c.NextSeq(), c.NextSeq()}
	}
	for _, tt := range []struct {
		options []pfkey.ClientOption
		want    []wire.Seq
	}{
		{nil, []wire.Seq{1, 2, 3}},
		{[]pfkey.ClientOption{pfkey.WithFirstSeq(77)}, []wire.Seq{77, 78, 79}},
		{[]pfkey.ClientOption{pfkey.WithFirstSeq(0x7ffffffe)}, []wire.Seq{0x7ffffffe, 0x7fffffff, 1}},
		{[]pfkey.ClientOption{pfkey.WithFirstSeq(0xffffffff)}, []wire.Seq{0x7fffffff, 1, 2}},
	} {
		if diff := cmp.Diff(tt.want, numbers(tt.options...)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	tr := transports[1]
	if a, b := tr.dial(t, e), tr.dial(t, e); a.NextSeq() == b.NextSeq() {
		t.Error("two clients of one process use the same numbers")
	} else {
		a.Close()
		b.Close()
	}
	c := transports[0].dial(t, e, pfkey.WithPID(4242), pfkey.WithDialect(wire.Illumos()))
	defer c.Close()
	if c.PID() != 4242 || c.Dialect() != wire.Illumos() {
		t.Errorf("options: %d %s", c.PID(), c.Dialect().Name)
	}
}

func TestClientTrace(t *testing.T) {
	var got []string
	e := kernelLike(wire.Linux())
	c := transports[0].dial(t, e, pfkey.WithTrace(func(sent bool, msg []byte) {
		h, _ := e.dialect.Header(msg)
		got = append(got, fmt.Sprintf("%v %s %d", sent, e.dialect.MsgName(h.Type), len(msg)))
	}))
	defer c.Close()
	if err := c.Flush(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"true FLUSH 16", "false FLUSH 16"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// What nobody fetches is bounded, and counted when it is thrown away.
func TestClientLost(t *testing.T) {
	e := kernelLike(wire.Linux())
	c := transports[0].dial(t, e)
	defer c.Close()
	const n = 5000
	for i := range n {
		e.all()[0].deliver(message(wire.MsgExpire, wire.Seq(i), 16))
	}
	if err := c.Flush(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	lost := int(c.Lost())
	if lost == 0 || lost == n {
		t.Fatalf("lost %d of %d", lost, n)
	}
	for i := range n - lost {
		msg, err := c.Recv(t.Context())
		if err != nil || seqOf(t, msg) != wire.Seq(i) {
			t.Fatalf("event %d: %x %v", i, msg, err)
		}
	}
}

// A message that was received belongs to the caller: neither later ones nor the engine change it.
func TestClientOwnership(t *testing.T) {
	overAll(t, func(t *testing.T, c *pfkey.Client, e *fakeEngine) {
		do := func() []byte {
			t.Helper()
			msg := e.dialect.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgFlush, Len: 2, Seq: c.NextSeq(),
				PID: c.PID()})
			answer, err := c.Do(t.Context(), msg)
			if err != nil {
				t.Fatal(err)
			}
			return answer
		}
		first := do()
		kept := bytes.Clone(first)
		for range 3 {
			other := do()
			for i := range other {
				other[i] = 0xff
			}
			_ = append(other, 0xff)
		}
		if diff := cmp.Diff(kept, first); diff != "" {
			t.Errorf("(-kept +now)\n%s", diff)
		}
	})
}

func TestDialErrors(t *testing.T) {
	dir := atHome(t)
	file := filepath.Join(dir, "..", "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(dir, "..", "stale")
	leftover(t, stale)
	stream, err := net.Listen("unix", filepath.Join(dir, "..", "stream"))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	for _, tt := range []struct {
		address, want string
		noEngine      bool
	}{
		{"", "no engine is running", true},
		{"illumos:" + filepath.Join(dir, "illumos.sock"), "no engine at illumos:", true},
		{"illumos:" + stale, "no engine at illumos:", true},
		{"illumos:" + file, "no engine at", true},
		{"illumos:" + stream.Addr().String(), "another type", false},
		{"plan9:/x", "unknown kernel", false},
		{"nonsense", "neither KERNEL:PATH", false},
		{"linux:/" + strings.Repeat("x", 300), "301", false},
	} {
		c, err := pfkey.Dial(t.Context(), tt.address)
		if err == nil {
			c.Close()
			t.Errorf("%s: connected", tt.address)
			continue
		}
		var op *pfkey.OpError
		if !errors.As(err, &op) || op.Op != pfkey.OpDial {
			t.Errorf("%s: %#v is no OpError of dialing", tt.address, err)
		}
		if !strings.Contains(err.Error(), tt.want) || errors.Is(err, pfkey.ErrNoEngine) != tt.noEngine ||
			strings.Count(err.Error(), "pfkey: ") != 1 {
			t.Errorf("%s: %v, want %q, no engine %v", tt.address, err, tt.want, tt.noEngine)
		}
	}
}

// An empty address is the default engine, and a server that has not got to accepting yet is waited for.
func TestDialDefault(t *testing.T) {
	atHome(t)
	l := listen(t, pfkey.DefaultPath("linux"))
	c, err := pfkey.Dial(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := newServer(t, newFake(), pfkey.ServerOptions{})
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(context.Background(), l); err != nil {
			t.Error(err)
		}
	})
	if err := c.Flush(t.Context(), 0); err != nil {
		t.Error(err)
	}
	s.Close()
	serving.Wait()
}

// The host's own kernel, where it has PF_KEY; elsewhere the error must say what is missing.
func TestHost(t *testing.T) {
	c, err := pfkey.Dial(t.Context(), "af_key:")
	if err != nil {
		switch {
		case errors.Is(err, unix.EAFNOSUPPORT):
			if !errors.Is(err, pfkey.ErrNoEngine) || !strings.Contains(err.Error(), "CONFIG_NET_KEY") {
				t.Errorf("error %v", err)
			}
		case errors.Is(err, unix.EPERM):
			if !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
				t.Errorf("error %v", err)
			}
		case !errors.Is(err, pfkey.ErrNoEngine):
			t.Errorf("error %v", err)
		}
		t.Skip(err)
	}
	defer c.Close()
	if _, err := c.Register(t.Context(), wire.SATypeESP); err != nil {
		t.Errorf("Register: %v", err)
	}
}

// However a security association is printed, its keys are not.
func TestSAHidesKeys(t *testing.T) {
	d := wire.Linux()
	sa := sampleSA(0x1234)
	sa.Extra = pfkey.Extensions(d.AppendKey(nil, wire.ExtKeyAuth, sa.EncryptKey))
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "sa", sa, "ptr", &sa, "extra", sa.Extra)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "sa", sa, "ptr", &sa, "extra", sa.Extra)
	text := log.String()
	for _, v := range []any{sa, &sa, []pfkey.SA{sa}, struct{ X *pfkey.SA }{&sa}, sa.Extra, sa.EncryptKey} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U", "%t"} {
			text += fmt.Sprintf(verb, v) + "\n"
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		text += string(b) + "\n"
	}
	for _, form := range []string{
		secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), strings.Trim(fmt.Sprint([]byte(secret)), "[]"),
		"U2l4dGVlbiBieXRlIGtleQ", fmt.Sprintf("%o", []byte(secret))[1:20],
	} {
		if i := strings.Index(text, form); i >= 0 {
			t.Errorf("a key is shown: %s", text[max(0, i-80):min(len(text), i+80)])
		}
	}
	if !strings.Contains(text, "esp 0x1234 from 192.0.2.1 to 192.0.2.2") {
		t.Errorf("and nothing else either: %s", text[:200])
	}
}

// An SA survives the way into a message and back, with everything that has no field of its own.
func TestParseSA(t *testing.T) {
	for _, d := range wire.Dialects() {
		sa := sampleSA(0x1234)
		sa.Src = pfkey.Host(netip.MustParseAddr("2001:db8::1"))
		sa.Dst = pfkey.Host(netip.MustParseAddr("2001:db8::2"))
		sa.Soft = nil // is sent as no limits
		sa.State = wire.StateLarval
		if d.Name == "linux" {
			sa.SA2 = &wire.SA2{Mode: 2, ReqID: 77}
		}
		sa = withoutPrefixes(d, sa)
		sa.Extra = d.AppendIdentity(nil, wire.ExtIdentitySrc, wire.Identity{Type: wire.IdentFQDN, Name: "example.org"})
		header := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgAdd, SAType: wire.SATypeESP})
		msg := d.Finish(sa.AppendExtensions(d, header))
		got, err := pfkey.ParseSA(d, msg)
		if err != nil {
			t.Fatal(err)
		}
		sa.Soft, sa.State = new(wire.Lifetime), wire.StateMature
		if diff := cmp.Diff(&sa, got, cmp.Comparer(sameAddr)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", d.Name, diff)
		}
		if _, err := pfkey.ParseSA(d, d.Finish(bytes.Clone(header))); err == nil {
			t.Errorf("%s: a message without an SA was taken", d.Name)
		}
		if _, err := pfkey.ParseSA(d, msg[:len(msg)-8]); err == nil {
			t.Errorf("%s: a cut message was taken", d.Name)
		}
	}
	// X_SA2 has a number that means something else on illumos, so it is not sent there.
	e := kernelLike(wire.Illumos())
	c := transports[0].dial(t, e)
	defer c.Close()
	sa := sampleSA(1)
	sa.SA2 = new(wire.SA2)
	if err := c.Add(t.Context(), sa, 0); err == nil || !strings.Contains(err.Error(), "X_SA2") {
		t.Errorf("Add with SA2 on illumos: %v", err)
	}
}

func TestHostErrno(t *testing.T) {
	for e, want := range map[wire.Errno]unix.Errno{
		wire.EEXIST: unix.EEXIST, wire.EOPNOTSUPP: unix.EOPNOTSUPP, wire.ENOTSUP: unix.ENOTSUP,
		wire.EAGAIN:  unix.EAGAIN,
		wire.ENOBUFS: unix.ENOBUFS, wire.EMSGSIZE: unix.EMSGSIZE, wire.ESOCKTNOSUPPORT: unix.ESOCKTNOSUPPORT,
	} {
		if got, ok := pfkey.HostErrno(e); !ok || got != want {
			t.Errorf("%s: %v %v", e, got, ok)
		}
	}
	if got, ok := pfkey.HostErrno(250); ok {
		t.Errorf("an errno that there is not: %v", got)
	}
}
