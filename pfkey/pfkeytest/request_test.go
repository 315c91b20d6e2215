package pfkeytest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A test waits for what another goroutine sends through a socket, and finds it done.
func TestWaitRequest(t *testing.T) {
	for _, name := range kernel.Names() {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			host := pfkeytest.New(t, pfkeytest.Kernel(name))
			client, err := pfkey.Dial(ctx, host.Serve())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			done := make(chan error, 1)
			go func() {
				var errs []error
				for spi := range wire.SPI(3) {
					errs = append(errs, client.Add(ctx, inbound(client.Dialect(), 0x1000+spi), 0))
				}
				_, err := client.Register(ctx, wire.SATypeESP)
				done <- errors.Join(append(errs, err)...)
			}()
			for i := range 3 {
				r, err := host.WaitRequest(ctx, wire.MsgAdd, wire.MsgFlush)
				if err != nil {
					t.Fatal(err)
				}
				sa, err := pfkey.ParseSA(client.Dialect(), r.Message())
				if err != nil || sa.SPI != 0x1000+wire.SPI(i) || r.SendErrno != wire.OK || r.PID != client.PID() ||
					!r.Cred.Privileged {
					t.Errorf("request %d: %v %v, errno %v, %+v", i, r, err, r.SendErrno, r.Cred)
				}
				if n := len(host.SAs()); n <= i {
					t.Errorf("request %d has not been handled: %d SAs", i, n)
				}
			}
			if r := host.ExpectRequest(); r.Type != wire.MsgRegister || r.SAType != wire.SATypeESP {
				t.Errorf("%v, want the REGISTER", r)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			ended, cancel := context.WithCancel(ctx)
			cancel()
			if r, err := host.WaitRequest(ended); !errors.Is(err, context.Canceled) {
				t.Errorf("there is still %v (%v)", r, err)
			}
			var types []wire.MsgType
			for _, r := range host.Requests() {
				types = append(types, r.Type)
			}
			if diff := cmp.Diff([]wire.MsgType{wire.MsgAdd, wire.MsgAdd, wire.MsgAdd, wire.MsgRegister},
				types); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// What WaitRequest returns is always later than what it has returned before, whatever it passes over; a wait in vain
// passes over nothing.
func TestWaitRequestGoesForward(t *testing.T) {
	host := pfkeytest.New(t)
	client := host.Client()
	ask := func(types ...wire.MsgType) {
		t.Helper()
		for _, typ := range types {
			var err error
			switch typ {
			case wire.MsgFlush:
				err = client.Flush(t.Context(), wire.SATypeESP)
			case wire.MsgRegister:
				_, err = client.Register(t.Context(), wire.SATypeESP)
			case wire.MsgGetSPI:
				larval(t, client)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	want := func(seq wire.Seq, types ...wire.MsgType) {
		t.Helper()
		r, err := host.WaitRequest(over, types...)
		if seq == 0 && err == nil || seq != 0 && (err != nil || r.Seq != seq) {
			t.Errorf("wait for %v: %v, %v; want number %d", types, r, err, seq)
		}
	}
	ask(wire.MsgGetSPI, wire.MsgFlush, wire.MsgRegister, wire.MsgGetSPI, wire.MsgFlush)
	want(0, wire.MsgDump)                 // passes over nothing
	want(3, wire.MsgRegister)             // and over 1 and 2
	want(4, wire.MsgGetSPI)               // not 1
	want(0, wire.MsgGetSPI)               // there was one before
	want(5)                               // any
	want(0)                               // no more
	ask(wire.MsgGetSPI)                   // comes meanwhile
	want(6, wire.MsgDump, wire.MsgGetSPI) // one of several
	if n := len(host.Requests()); n != 6 {
		t.Errorf("%d requests", n)
	}
}

// A wait in vain ends, also where the context never would, and says what it was for and what came instead.
func TestWaitRequestInVain(t *testing.T) {
	host := pfkeytest.New(t, pfkeytest.Patience(20*time.Millisecond))
	client := host.Client()
	_, err := host.WaitRequest(t.Context(), wire.MsgGetSPI, wire.MsgAcquire)
	want := "pfkeytest: no GETSPI or ACQUIRE in 20ms: context deadline exceeded; nothing came"
	if fmt.Sprint(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is no time-out", err)
	}
	if err := client.Add(t.Context(), inbound(client.Dialect(), 0x1000), 0); err != nil {
		t.Fatal(err)
	}
	host.ExpectRequest(wire.MsgAdd)
	if _, err := client.Register(t.Context(), wire.SATypeESP); err != nil {
		t.Fatal(err)
	}
	for range 12 {
		if err := client.Flush(t.Context(), wire.SATypeAH); err != nil {
			t.Fatal(err)
		}
	}
	why := errors.New("the program has crashed")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, err = host.WaitRequest(ctx)
	if err != nil {
		t.Errorf("a request that is there already: %v", err)
	}
	_, err = host.WaitRequest(ctx, wire.MsgGetSPI)
	lines := strings.Split(fmt.Sprint(err), "\n")
	first := "pfkeytest: no GETSPI: the program has crashed; instead there came since REGISTER esp seq=2 pid=1001:"
	if !errors.Is(err, why) || len(lines) != 12 || lines[0] != first || lines[1] != "\t2 others" ||
		lines[11] != "\tFLUSH ah seq=14 pid=1001" {
		t.Errorf("the error is %q", lines)
	}
	if strings.Contains(fmt.Sprint(err), string(encryptKey)) {
		t.Error("a key is shown")
	}

	// A context with a time of its own has that.
	short, cancel2 := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel2()
	_, err = host.WaitRequest(short, wire.MsgGetSPI)
	want = "pfkeytest: no GETSPI: context deadline exceeded; "
	if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	r := &recorder{TB: t}
	strict := pfkeytest.New(r, pfkeytest.Patience(time.Millisecond))
	strict.ExpectRequest(wire.MsgAdd)
	want = "pfkeytest: no ADD in 1ms: context deadline exceeded; nothing came"
	if diff := cmp.Diff([]string{want}, r.failures); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A last moment is a context that ends when somebody begins to wait for it, just behind something else.
type lastMoment struct {
	context.Context
	ended chan struct{}
	once  sync.Once
	first func()
}

func (c *lastMoment) Deadline() (time.Time, bool) { return time.Time{}, true }

func (c *lastMoment) Done() <-chan struct{} {
	c.once.Do(func() {
		c.first()
		close(c.ended)
	})
	return c.ended
}

func (c *lastMoment) Err() error {
	select {
	case <-c.ended:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// What came before the time was over has come, also if nobody has looked until then.
func TestWaitRequestLastMoment(t *testing.T) {
	host := pfkeytest.New(t)
	client := host.Client()
	for range 20 { // a wait that chooses by chance would be wrong in some of them
		ctx := &lastMoment{Context: t.Context(), ended: make(chan struct{}), first: func() {
			if err := client.Flush(t.Context(), wire.SATypeESP); err != nil {
				t.Error(err)
			}
		}}
		if _, err := host.WaitRequest(ctx, wire.MsgFlush); err != nil {
			t.Fatal(err)
		}
	}
}

// The lines of the package comment are a test: a manager that renews its keys passes it, and one that forgets does not.
func TestRenewal(t *testing.T) {
	for _, tt := range []struct {
		renews bool
		want   []string
	}{
		{true, nil},
		{false, []string{"pfkeytest: no GETSPI in 10s: context deadline exceeded; nothing came since ADD"}},
	} {
		synctest.Test(t, func(t *testing.T) { // so that waiting in vain takes no time
			r := &recorder{TB: t}
			host := pfkeytest.New(r, pfkeytest.Policy("{raddr 192.0.2.2} ipsec {encr_algs aes encr_auth_algs sha1}"))
			m := manager{client: host.Client(), renews: tt.renews}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { _ = m.run(ctx) }()

			host.ExpectRequest(wire.MsgRegister)
			host.InjectOutbound(pfkeytest.UDP("192.0.2.1:9", "192.0.2.2:9", "hello"))
			host.ExpectRequest(wire.MsgAdd)
			host.Advance(softly)
			host.ExpectRequest(wire.MsgGetSPI)

			for i := range r.failures {
				r.failures[i], _, _ = strings.Cut(r.failures[i], " esp seq=")
			}
			if diff := cmp.Diff(tt.want, r.failures); diff != "" {
				t.Errorf("renews: %v (-want +got)\n%s", tt.renews, diff)
			}
		})
	}
}

// What the kernel refuses at once was sent all the same, however short.
func TestRefusedRequest(t *testing.T) {
	host := pfkeytest.New(t, pfkeytest.Kernel("linux"))
	cred := pfkey.Cred{PID: 77, Privileged: true}
	sock, errno := host.Open(cred)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	defer sock.Close()
	sent := []byte("short")
	errno = sock.Send(sent, cred)
	sent[0] = 'S'
	r, err := host.WaitRequest(t.Context())
	if err != nil || r.SendErrno != errno || errno != wire.EMSGSIZE || string(r.Message()) != "short" ||
		r.Cred != cred {
		t.Errorf("%v, errno %v, sent by %+v: %v; want %v", r, r.SendErrno, r.Cred, err, errno)
	}
	r.Message()[0] = 'S'
	if string(r.Message()) != "short" {
		t.Error("the message is shared")
	}
}

// A host forgets, but not too soon.
func TestManyRequests(t *testing.T) {
	host := pfkeytest.New(t)
	client := host.Client()
	const n = 10000
	for range n {
		if err := client.Flush(t.Context(), wire.SATypeUnspec); err != nil {
			t.Fatal(err)
		}
	}
	rs := host.Requests()
	if len(rs) < 4096 || len(rs) > 8192 || rs[len(rs)-1].Seq != n || rs[0].Seq != n+1-wire.Seq(len(rs)) {
		t.Errorf("%d requests, from %d to %d", len(rs), rs[0].Seq, rs[len(rs)-1].Seq)
	}
	// WaitRequest goes on behind what it has returned, or where the memory begins.
	host.ExpectRequest()
	for range 2 * n {
		if err := client.Flush(t.Context(), wire.SATypeUnspec); err != nil {
			t.Fatal(err)
		}
	}
	if r, oldest := host.ExpectRequest(), host.Requests()[0]; r.Seq != oldest.Seq {
		t.Errorf("it goes on with %d, and the oldest one is %d", r.Seq, oldest.Seq)
	}
}

func TestRequestHidesKeys(t *testing.T) {
	host := pfkeytest.New(t)
	client := host.Client()
	if err := client.Add(t.Context(), inbound(client.Dialect(), 0x1000), 0); err != nil {
		t.Fatal(err)
	}
	r := host.Requests()[0]
	var text strings.Builder
	for _, v := range []any{r, &r, []pfkeytest.Request{r}, pfkeytest.Request{}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&text, verb+"\n", v)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(b)
	}
	slog.New(slog.NewJSONHandler(&text, nil)).Info("x", "request", r)
	for _, form := range []string{string(encryptKey), fmt.Sprintf("%x", encryptKey),
		strings.Trim(fmt.Sprint(encryptKey), "[]")} {
		if strings.Contains(text.String(), form) {
			t.Errorf("a key is shown:\n%s", &text)
		}
	}
	if !strings.Contains(text.String(), "ADD esp") {
		t.Errorf("and nothing else either:\n%s", &text)
	}
}

// A look at the database shows everything, without the lies of the kernel, and leaves no trace.
func TestSAs(t *testing.T) {
	for _, name := range kernel.Names() {
		t.Run(name, func(t *testing.T) {
			host := pfkeytest.New(t, pfkeytest.Kernel(name), pfkeytest.Hostile("drop DUMP"))
			client := host.Client()
			if got := host.SAs(); got != nil {
				t.Errorf("at first: %v", got)
			}
			spi := larval(t, client)
			want := inbound(client.Dialect(), 0x1234)
			if err := client.Add(t.Context(), want, 0); err != nil {
				t.Fatal(err)
			}
			host.Inject(seal(0x1234, 1, datagram("x")))
			states := map[wire.SPI]wire.State{}
			for _, sa := range host.SAs() {
				states[sa.SPI] = sa.State
				if sa.SPI != want.SPI {
					continue
				}
				if sa.SAID.Src.Addr != peer || !bytes.Equal(sa.EncryptKey.Data, encryptKey) ||
					sa.Hard.AddTime != want.Hard.AddTime || sa.Current.Bytes == 0 {
					t.Errorf("%v %v %v", sa, sa.Hard, sa.Current)
				}
			}
			if diff := cmp.Diff(map[wire.SPI]wire.State{spi: wire.StateLarval, 0x1234: wire.StateMature},
				states); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if n := len(host.Requests()); n != 2 {
				t.Errorf("%d requests: %v", n, host.Requests())
			}
			if n := len(host.Engine().Status(0).Sockets); n != 1 {
				t.Errorf("%d sockets are open", n)
			}
		})
	}
}

// Policies look alike, whichever kernel has them.
func TestPolicies(t *testing.T) {
	type row struct {
		Dir       uint8
		Src, Dst  string
		Type      uint16
		Templates []string
		Priority  uint32
	}
	for _, tt := range []struct {
		kernel, policy string
		want           []row
	}{
		{"linux",
			"spdadd 192.0.2.1 192.0.2.0/24[80] tcp -P out ipsec esp/transport//require ah/transport//require;\nspdadd ::/0 2001:db8::1 any -P in discard;", []row{
				// setkey adds it
				{wire.LinuxDirForward, "::/0:0", "2001:db8::1/128:0", wire.KAMEPolicyDiscard, nil, 1 << 31},
				{wire.KAMEDirIn, "::/0:0", "2001:db8::1/128:0", wire.KAMEPolicyDiscard, nil, 1 << 31},
				{wire.KAMEDirOut, "192.0.2.1/32:0", "192.0.2.0/24:80",
					wire.KAMEPolicyIPsec, []string{"50/1/2", "51/1/2"}, 1 << 31},
			}},
		{"illumos",
			"{raddr 192.0.2.0/24 rport 80 ulp tcp} ipsec {encr_algs aes auth_algs sha1}\n{laddr 2001:db8::1 dir in} drop {}\n{raddr 192.0.2.9 dir out} pass {}", []row{
				// ipsecconf puts them first
				{wire.KAMEDirOut, "0.0.0.0/0:0", "192.0.2.9/32:0", wire.KAMEPolicyNone, nil, 0},
				{wire.KAMEDirOut, "0.0.0.0/0:0", "192.0.2.0/24:80",
					wire.KAMEPolicyIPsec, []string{"50/1/2", "51/1/2"}, 1},
				{wire.KAMEDirIn, "192.0.2.0/24:80", "0.0.0.0/0:0",
					wire.KAMEPolicyIPsec, []string{"50/1/2", "51/1/2"}, 1},
				{wire.KAMEDirIn, "::/0:0", "2001:db8::1/128:0", wire.KAMEPolicyDiscard, nil, 2},
			}},
	} {
		t.Run(tt.kernel, func(t *testing.T) {
			host := pfkeytest.New(t, pfkeytest.Kernel(tt.kernel), pfkeytest.Policy(tt.policy))
			var got []row
			text := func(a wire.Address) string { return fmt.Sprintf("%s/%d:%d", a.Addr, a.PrefixLen, a.Port) }
			for _, p := range host.Policies() {
				r := row{p.Direction, text(p.Src), text(p.Dst), p.Type, nil, p.Priority}
				for _, tm := range p.Templates {
					r.Templates = append(r.Templates, fmt.Sprintf("%d/%d/%d", tm.Proto, tm.Mode, tm.Level))
				}
				got = append(got, r)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if host := pfkeytest.New(t, pfkeytest.Kernel(tt.kernel)); len(host.Policies()) != 0 {
				t.Errorf("a host without policies has %v", host.Policies())
			}
		})
	}
}
