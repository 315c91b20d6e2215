package pfkeytest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/control"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/launch"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/packetport"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

var (
	own  = netip.MustParseAddr("192.0.2.1")
	peer = netip.MustParseAddr("192.0.2.2")

	authKey    = []byte("twenty bytes of key.")
	encryptKey = []byte("Sixteen byte key")
)

// inbound is the SA by which the peer sends to the host.
func inbound(d *wire.Dialect, spi wire.SPI) pfkey.SA {
	encrypt, ok := d.EncryptByName("aes-cbc")
	if !ok {
		encrypt = 12
	}
	return pfkey.SA{
		SAID:       pfkey.SAID{Type: wire.SATypeESP, SPI: spi, Src: pfkey.Host(peer), Dst: pfkey.Host(own)},
		Replay:     32,
		Auth:       wire.AuthSHA1HMAC,
		Encrypt:    encrypt,
		AuthKey:    pfkey.NewKey(authKey),
		EncryptKey: pfkey.NewKey(encryptKey),
		Hard:       &wire.Lifetime{AddTime: 3600},
		Soft:       &wire.Lifetime{AddTime: 3000},
	}
}

// softly is when the soft lifetime of [inbound] is over and the kernel has noticed, and not much later: a key manager
// that answers while the clock still moves would have its LARVAL SA expire.
const softly = 50*time.Minute + 10*time.Second

// larval has the host choose an SPI for the peer.
func larval(t testing.TB, c *pfkey.Client) wire.SPI {
	t.Helper()
	spi, err := c.GetSPI(context.Background(), pfkey.GetSPIParams{Type: wire.SATypeESP, Src: pfkey.Host(peer),
		Dst: pfkey.Host(own)})
	if err != nil {
		t.Fatal(err)
	}
	return spi
}

// datagram is a UDP datagram from the peer, without ESP.
func datagram(text string) []byte { return pfkeytest.UDP("192.0.2.2:1000", "192.0.2.1:2000", text) }

// seal is what the peer does.
func seal(spi wire.SPI, seq uint64, plain []byte) []byte {
	suite := ipsec.Suite{
		Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: ipsec.NewKey(encryptKey), MAC: ipsec.HMACSHA1,
		AuthKey: ipsec.NewKey(authKey),
	}
	transform, err := suite.New()
	if err != nil {
		panic(err)
	}
	b, err := transform.SealTransport(nil, plain, ipsec.Ports{}, ipsec.Sealing{SPI: uint32(spi), Seq: seq,
		IV: make([]byte, 16)})
	if err != nil {
		panic(err)
	}
	return b
}

// A packet that comes too early waits on the LARVAL SA and is delivered when that is completed; in every kernel that
// keeps it.
func TestEarlyPacket(t *testing.T) {
	host := pfkeytest.New(t)
	client := host.Client()
	spi := larval(t, client)
	plain := datagram("too early")
	early := host.Inject(seal(spi, 1, plain)).Expect(packet.Queued)
	if _, ok := early.Final(); ok {
		t.Error("a waiting packet has a final verdict")
	}
	if err := client.Update(t.Context(), inbound(client.Dialect(), spi), 0); err != nil {
		t.Fatal(err)
	}
	early.Expect(packet.Queued, packet.Delivered)
	if v, _ := early.Final(); !bytes.Equal(v.Inner, plain) {
		t.Errorf("delivered %x, want %x", v.Inner, plain)
	}
	late := host.Inject(seal(spi, 2, plain)).Expect(packet.Delivered)
	if v, err := late.Wait(t.Context()); err != nil || v.Kind != packet.Delivered {
		t.Errorf("Wait: %v %v", v.Kind, err)
	}
	host.Inject(seal(spi, 2, plain)).ExpectDropped(packet.ReplayEarly)
}

// A packet that the policy protects makes an ACQUIRE, and goes out when that is answered.
func TestPolicy(t *testing.T) {
	host := pfkeytest.New(t, pfkeytest.Policy("{raddr 192.0.2.2 dir out} ipsec {encr_algs aes encr_auth_algs sha1}"))
	client := host.Client()
	if _, err := client.Register(t.Context(), wire.SATypeESP); err != nil {
		t.Fatal(err)
	}
	plain := datagram("out")
	copy(plain[12:], own.AsSlice())
	copy(plain[16:], peer.AsSlice())
	waiting := host.InjectOutbound(plain).Expect(packet.Held)
	msg, err := client.Recv(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h, err := client.Dialect().Header(msg)
	if err != nil || h.Type != wire.MsgAcquire {
		t.Fatalf("want an ACQUIRE, got %s (%v)", client.Dialect().Line(msg), err)
	}
	sa := inbound(client.Dialect(), 0x7007)
	sa.Src, sa.Dst = sa.Dst, sa.Src
	if err := client.Add(t.Context(), sa, h.Seq); err != nil {
		t.Fatal(err)
	}
	waiting.Expect(packet.Held, packet.Transmitted)

	_, err = pfkeytest.NewHost(pfkeytest.Policy("{raddr 192.0.2.2} ipsec {}"))
	if want := `pfkeytest: policy:1:26: ipsec needs auth_algs, encr_algs or encr_auth_algs before: "}"`; fmt.Sprint(
		err) != want {
		t.Errorf("a policy that makes no sense: %v", err)
	}
}

// Time passes only when told to.
func TestAdvance(t *testing.T) {
	start := time.Date(2005, 12, 1, 12, 0, 0, 0, time.UTC)
	host := pfkeytest.New(t, pfkeytest.Start(start), pfkeytest.Option("ipsecesp:larval_timeout=20"))
	client := host.Client()
	spi := larval(t, client)
	waiting := host.Inject(seal(spi, 1, datagram("x"))).Expect(packet.Queued)
	host.Advance(10 * time.Second)
	if got := host.Now(); !got.Equal(start.Add(10 * time.Second)) {
		t.Errorf("the clock shows %v", got)
	}
	waiting.Expect(packet.Queued)
	host.Advance(30 * time.Second)
	waiting.ExpectDropped(packet.LarvalGone)
	if _, err := client.Get(t.Context(), inbound(client.Dialect(), spi).SAID); !errors.Is(err, unix.ESRCH) {
		t.Errorf("Get: %v", err)
	}
}

// A client hears of expiry as of everything else.
func TestExpire(t *testing.T) {
	host := pfkeytest.New(t)
	client := host.Client()
	if err := client.Add(t.Context(), inbound(client.Dialect(), 0x1234), 0); err != nil {
		t.Fatal(err)
	}
	host.Advance(2 * time.Hour)
	var got []string
	for range 2 {
		msg, err := client.Recv(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sa, err := pfkey.ParseSA(client.Dialect(), msg)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %s %s", client.Dialect().MsgName(wire.MsgType(msg[1])), sa.SPI, sa.State))
	}
	if diff := cmp.Diff([]string{"EXPIRE 0x1234 dying", "EXPIRE 0x1234 dead"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// The race: key management completes the SA after the packet has seen it LARVAL and before it is stored. The right
// kernel delivers it; the faulty one strands it, and the test sees that.
func TestFault(t *testing.T) {
	for _, tt := range []struct {
		fault string
		want  packet.Kind
	}{
		{"", packet.Delivered},
		{"larval-unlocked", packet.Queued},
	} {
		var complete func()
		host := pfkeytest.New(t, pfkeytest.Fault(tt.fault), pfkeytest.Step(func(point string, _ *packet.Packet) {
			if point == "store" && complete != nil {
				complete()
			}
		}))
		client := host.Client()
		spi := larval(t, client)
		complete = func() {
			complete = nil
			if err := client.Update(t.Context(), inbound(client.Dialect(), spi), 0); err != nil {
				t.Error(err)
			}
		}
		host.Inject(seal(spi, 1, datagram("x"))).Expect(tt.want)
	}
}

// What the host sends without a policy goes out as it is.
func TestOutbound(t *testing.T) {
	var log bytes.Buffer
	host := pfkeytest.New(t, pfkeytest.Log(slog.New(slog.NewTextHandler(&log, nil))))
	plain := datagram("x")
	copy(plain[12:16], own.AsSlice())
	copy(plain[16:20], peer.AsSlice())
	p := host.InjectOutbound(plain).Expect(packet.Transmitted)
	if v, _ := p.Final(); !bytes.Equal(v.Inner, plain) {
		t.Errorf("sent %x, want %x", v.Inner, plain)
	}
}

// Two hosts made alike behave alike, and another seed makes a difference.
func TestRepeatable(t *testing.T) {
	spis := func(o ...pfkeytest.HostOption) (spis []wire.SPI) {
		client := pfkeytest.New(t, o...).Client()
		for range 5 {
			spis = append(spis, larval(t, client))
		}
		return spis
	}
	first := spis()
	if diff := cmp.Diff(first, spis()); diff != "" {
		t.Errorf("two runs differ\n%s", diff)
	}
	if cmp.Equal(first, spis(pfkeytest.Seed("another"))) {
		t.Error("the seed makes no difference")
	}
}

// Clients are processes of their own.
func TestClients(t *testing.T) {
	host := pfkeytest.New(t)
	a, b := host.Client(), host.Client()
	if a.PID() == b.PID() {
		t.Error("two clients have one process number")
	}
	if err := a.Add(t.Context(), inbound(a.Dialect(), 0x1000), 0); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(t.Context(), inbound(b.Dialect(), 0x1000), 0); !errors.Is(err, unix.EEXIST) {
		t.Errorf("second Add: %v", err)
	}
}

// Other programs reach the host through its address, by all the ports that an engine has.
func TestServe(t *testing.T) {
	host := pfkeytest.New(t, pfkeytest.Hostile("drop FLUSH"))
	address := host.Serve()
	if again := host.Serve(); again != address {
		t.Errorf("addresses %s and %s", address, again)
	}
	t.Setenv(pfkey.EngineVariable, address)
	client, err := pfkey.Dial(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	spi := larval(t, client)
	a, err := pfkey.ParseAddress(address)
	if err != nil {
		t.Fatal(err)
	}
	packets, err := packetport.Dial(t.Context(), a.Path+".packets")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	early := host.Inject(seal(spi, 1, datagram("x"))).Expect(packet.Queued)
	if err := client.Update(t.Context(), inbound(client.Dialect(), spi), 0); err != nil {
		t.Fatal(err)
	}
	if v, err := early.Wait(t.Context()); err != nil || v.Kind != packet.Delivered {
		t.Errorf("%v %v", early, err)
	}
	port := control.NewClient(control.Path(a.Path))
	defer port.Close()
	st, err := port.Status(t.Context(), -1)
	if err != nil || st.Kernel != "illumos" || len(st.SAs) != 1 {
		t.Errorf("status: %v, %v with %d SAs", err, st.Kernel, len(st.SAs))
	}
	for _, name := range []string{"pfkey", "packets", "attach", "hostile"} {
		if st.Servers[name] == nil {
			t.Errorf("the status has no counters of %s", name)
		}
	}
	before := host.Now()
	if _, err := port.Advance(t.Context(), time.Minute); err != nil || host.Now().Sub(before) != time.Minute {
		t.Errorf("the clock has moved by %v (%v)", host.Now().Sub(before), err)
	}
	if _, err := os.Lstat(launch.AttachPath(a.Path)); err != nil {
		t.Error(err)
	}
	host.Close()
	if left, err := filepath.Glob(a.Path + "*"); err != nil || len(left) != 0 {
		t.Errorf("sockets are still there: %v (%v)", left, err)
	}
	if err := client.Flush(t.Context(), 0); err == nil {
		t.Error("the host still answers")
	}
	host.Close()
}

// A recorder is a test that notes how it would fail.
type recorder struct {
	testing.TB
	failures []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) { r.Errorf(format, args...) }

func (r *recorder) Skipf(format string, args ...any) { r.Errorf("skipped: "+format, args...) }

// A packet that has ended has ended, also for a caller whose time is over.
func TestPacketWaitTooLate(t *testing.T) {
	host := pfkeytest.New(t)
	p := host.InjectOutbound(datagram("x"))
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // a choice by chance would be wrong in some of them
		if v, err := p.Wait(over); err != nil || !v.Kind.Final() {
			t.Fatalf("%s: %v, %v", p, v.Kind, err)
		}
	}
}

// A host that is closed starts nothing that nobody would end.
func TestClosed(t *testing.T) {
	r := &recorder{TB: t}
	host := pfkeytest.New(r)
	host.Close()
	if address := host.Serve(); address != "" {
		t.Errorf("it is served at %s", address)
	}
	if diff := cmp.Diff([]string{"the host is closed"}, r.failures); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// The expectations fail when they should, and say what was and what should have been.
func TestExpectations(t *testing.T) {
	r := &recorder{TB: t}
	host := pfkeytest.New(r)
	p := host.Inject(seal(larval(t, host.Client()), 1, datagram("x")))
	p.Expect(packet.Queued)
	if len(r.failures) != 0 {
		t.Errorf("right expectations failed: %q", r.failures)
	}
	p.Expect()
	p.Expect(packet.Delivered)
	p.Expect(packet.Queued, packet.Delivered)
	p.ExpectDropped(packet.LarvalGone)
	want := []string{
		"packet 1: verdicts queued, want none",
		"packet 1: verdicts queued, want delivered",
		"packet 1: verdicts queued, want queued, delivered",
		"packet 1: verdicts queued, want dropped (larval-gone)",
	}
	if diff := cmp.Diff(want, r.failures); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait: %v", err)
	}
	host.Close()
	p.ExpectDropped(packet.Shutdown)
	if got := p.String(); !strings.HasPrefix(got, "queued, dropped (shutdown") {
		t.Errorf("String: %q", got)
	}
}

func TestWrongOptions(t *testing.T) {
	for _, tt := range []struct {
		want   string
		option pfkeytest.HostOption
	}{
		{"plan9", pfkeytest.Kernel("plan9")},
		{"nowhere", pfkeytest.Addr("nowhere")},
		{"NAME=VALUE", pfkeytest.Option("larval_timeout")},
		{"no_such_tunable", pfkeytest.Option("no_such_tunable=1")},
		{"gremlin", pfkeytest.Fault("gremlin")},
	} {
		if host, err := pfkeytest.NewHost(tt.option); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("want an error with %q, got %v", tt.want, err)
			if host != nil {
				host.Close()
			}
		}
	}
}

// Every kernel there is can be a host.
func TestKernels(t *testing.T) {
	for _, name := range kernel.Names() {
		host := pfkeytest.New(t, pfkeytest.Kernel(name), pfkeytest.Addr(own.String()))
		client := host.Client()
		if client.Dialect().Name != name || host.Engine().Status(1).Kernel != name {
			t.Errorf("%s: dialect %s, engine %s", name, client.Dialect().Name, host.Engine().Status(1).Kernel)
		}
		spi := larval(t, client)
		if err := client.Update(t.Context(), inbound(client.Dialect(), spi), 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		host.Inject(seal(spi, 1, datagram("x"))).Expect(packet.Delivered)
		count := 0
		for sa, err := range client.Dump(t.Context(), wire.SATypeUnspec) {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if sa.SPI == spi {
				count++
			}
		}
		if count != 1 {
			t.Errorf("%s: the SA shows %d times in a dump", name, count)
		}
	}
}
