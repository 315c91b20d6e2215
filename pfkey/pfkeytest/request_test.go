package pfkeytest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

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
			// What came earlier is not lost by waiting for something else first.
			if r, err := host.WaitRequest(ctx, wire.MsgRegister, wire.MsgFlush); err != nil || r.Type != wire.MsgRegister || r.SAType != wire.SATypeESP {
				t.Fatalf("%v %v", r, err)
			}
			for i := range 3 {
				r, err := host.WaitRequest(ctx, wire.MsgAdd)
				if err != nil {
					t.Fatal(err)
				}
				sa, err := pfkey.ParseSA(client.Dialect(), r.Message())
				if err != nil || sa.SPI != 0x1000+wire.SPI(i) || r.SendErrno != wire.OK || r.PID != client.PID() || !r.Cred.Privileged {
					t.Errorf("request %d: %v %v, errno %v, %+v", i, r, err, r.SendErrno, r.Cred)
				}
				if n := len(host.SAs()); n <= i {
					t.Errorf("request %d has not been handled: %d SAs", i, n)
				}
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
			if diff := cmp.Diff([]wire.MsgType{wire.MsgAdd, wire.MsgAdd, wire.MsgAdd, wire.MsgRegister}, types); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
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
	if err != nil || r.SendErrno != errno || errno != wire.EMSGSIZE || string(r.Message()) != "short" || r.Cred != cred {
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
	for _, form := range []string{string(encryptKey), fmt.Sprintf("%x", encryptKey), strings.Trim(fmt.Sprint(encryptKey), "[]")} {
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
				if sa.SAID.Src.Addr != peer || !bytes.Equal(sa.EncryptKey.Data, encryptKey) || sa.Hard.AddTime != want.Hard.AddTime || sa.Current.Bytes == 0 {
					t.Errorf("%v %v %v", sa, sa.Hard, sa.Current)
				}
			}
			if diff := cmp.Diff(map[wire.SPI]wire.State{spi: wire.StateLarval, 0x1234: wire.StateMature}, states); diff != "" {
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
		Dir      uint8
		Src, Dst string
		Type     uint16
		Protos   []uint16
	}
	for _, tt := range []struct {
		kernel, policy string
		want           []row
	}{
		{"linux", "spdadd 192.0.2.1 192.0.2.0/24[80] tcp -P out ipsec esp/transport//require ah/transport//require;\nspdadd ::/0 2001:db8::1 any -P in discard;", []row{
			{wire.LinuxDirForward, "::/0:0", "2001:db8::1/128:0", wire.LinuxPolicyDiscard, nil}, // setkey adds it
			{wire.LinuxDirIn, "::/0:0", "2001:db8::1/128:0", wire.LinuxPolicyDiscard, nil},
			{wire.LinuxDirOut, "192.0.2.1/32:0", "192.0.2.0/24:80", wire.LinuxPolicyIPsec, []uint16{50, 51}},
		}},
		{"illumos", "{raddr 192.0.2.0/24 rport 80 ulp tcp} ipsec {encr_algs aes auth_algs sha1}\n{laddr 2001:db8::1 dir in} drop {}\n{raddr 192.0.2.9 dir out} pass {}", []row{
			{wire.LinuxDirOut, "0.0.0.0/0:0", "192.0.2.9/32:0", wire.LinuxPolicyNone, nil}, // ipsecconf puts them first
			{wire.LinuxDirOut, "0.0.0.0/0:0", "192.0.2.0/24:80", wire.LinuxPolicyIPsec, []uint16{50, 51}},
			{wire.LinuxDirIn, "192.0.2.0/24:80", "0.0.0.0/0:0", wire.LinuxPolicyIPsec, []uint16{50, 51}},
			{wire.LinuxDirIn, "::/0:0", "2001:db8::1/128:0", wire.LinuxPolicyDiscard, nil},
		}},
	} {
		t.Run(tt.kernel, func(t *testing.T) {
			host := pfkeytest.New(t, pfkeytest.Kernel(tt.kernel), pfkeytest.Policy(tt.policy))
			var got []row
			text := func(a wire.Address) string { return fmt.Sprintf("%s/%d:%d", a.Addr, a.PrefixLen, a.Port) }
			for _, p := range host.Policies() {
				r := row{p.Direction, text(p.Src), text(p.Dst), p.Type, nil}
				for _, tm := range p.Templates {
					r.Protos = append(r.Protos, tm.Proto)
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
