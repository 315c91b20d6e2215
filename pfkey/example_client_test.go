package pfkey_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// The two ends of the examples. The emulated host is west.
var (
	west = pfkey.Host(netip.MustParseAddr("192.0.2.1"))
	east = pfkey.Host(netip.MustParseAddr("192.0.2.2"))
)

// emulate is a host with an emulated kernel, and a client of it.
func emulate(options ...pfkeytest.HostOption) (*pfkeytest.Host, *pfkey.Client) {
	host, err := pfkeytest.NewHost(options...)
	if err != nil {
		log.Fatal(err)
	}
	return host, host.Client()
}

func emulateLinux() (*pfkeytest.Host, *pfkey.Client) { return emulate(pfkeytest.Kernel("linux")) }

// esp is a security association from west to east.
func esp(spi wire.SPI) pfkey.SA {
	return pfkey.SA{
		SAID: pfkey.SAID{Type: wire.SATypeESP, SPI: spi, Src: west, Dst: east},
		Auth: wire.AuthSHA1HMAC, AuthKey: pfkey.NewKey([]byte("twenty bytes of key.")),
		// illumos has the same number for it
		Encrypt: wire.EncAESCBC, EncryptKey: pfkey.NewKey([]byte("Sixteen byte key")),
	}
}

// must is for what cannot fail in an example.
func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// tunnel is a policy: what goes from one network to another is put into a tunnel from west to east.
func tunnel() pfkey.Policy {
	return pfkey.Policy{
		Direction: wire.KAMEDirOut,
		Src:       pfkey.Prefix(netip.MustParsePrefix("10.1.0.0/16")),
		Dst:       pfkey.Prefix(netip.MustParsePrefix("10.2.0.0/16")),
		Type:      wire.KAMEPolicyIPsec,
		Templates: []wire.IPsecRequest{{
			Proto: 50, Mode: wire.ModeTunnel, Level: wire.KAMELevelRequire,
			Src: wire.Sockaddr{Addr: west.Addr}, Dst: wire.Sockaddr{Addr: east.Addr},
		}},
	}
}

// An engine at a socket, or the host's own kernel.
func ExampleDial() {
	host, _ := emulate()
	defer host.Close()
	ctx := context.Background()
	client, err := pfkey.Dial(ctx, host.Serve()) // such as "illumos:/run/user/1000/pfkeyd/illumos.sock", or "af_key:"
	must(err)
	defer client.Close()
	fmt.Println(client.Dialect().Name, client.Flush(ctx, wire.SATypeUnspec))

	_, err = pfkey.Dial(ctx, "illumos:/nowhere")
	fmt.Println(errors.Is(err, pfkey.ErrNoEngine))
	// Output:
	// illumos <nil>
	// true
}

// A connection that somebody else has made.
func ExampleNewClient() {
	host, _ := emulate()
	defer host.Close()
	address, err := pfkey.ParseAddress(host.Serve())
	must(err)
	conn, err := net.Dial("unixpacket", address.Path)
	must(err)
	client, err := pfkey.NewClient(conn, wire.Illumos())
	must(err)
	defer client.Close()
	fmt.Println(client.Flush(context.Background(), wire.SATypeESP))
	// Output:
	// <nil>
}

// A descriptor that a program was started with, such as a PF_KEY socket of the host.
func ExampleNewClientFile() {
	host, _ := emulate()
	defer host.Close()
	server := pfkey.NewServer(host.Engine(), pfkey.ServerOptions{})
	defer server.Close()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	must(err)
	_, err = server.Attach(os.NewFile(uintptr(ends[0]), "the server's end"), pfkey.Cred{PID: 1234, Privileged: true})
	must(err)

	client, err := pfkey.NewClientFile(os.NewFile(uintptr(ends[1]), "the client's end"), wire.Illumos())
	must(err)
	defer client.Close()
	fmt.Println(client.Flush(context.Background(), wire.SATypeESP))
	// Output:
	// <nil>
}

// Every message both ways, without its keys.
func ExampleWithTrace() {
	host, _ := emulate()
	defer host.Close()
	client := host.Client(pfkey.WithTrace(func(sent bool, msg []byte) {
		fmt.Println(sent, wire.Illumos().Line(msg))
	}))
	_ = client.Delete(context.Background(), pfkey.SAID{Type: wire.SATypeESP, Src: west, Dst: east, SPI: 7})
	// Output:
	// true DELETE esp seq=1 pid=1002 spi=0x7 state=mature src=192.0.2.1 dst=192.0.2.2
	// false DELETE esp seq=1 pid=1002 errno=ESRCH diagnostic=SA_NOTFOUND
}

// As an IKE daemon does: first the SPI, which it tells the peer, then the keys.
func ExampleClient_GetSPI() {
	host, client := emulate()
	defer host.Close()
	ctx := context.Background()
	spi, err := client.GetSPI(ctx, pfkey.GetSPIParams{Type: wire.SATypeESP, Src: east, Dst: west, Min: 0x1000,
		Max: 0x1000})
	must(err)
	fmt.Println(spi, host.SAs()[0].State)
	// Output:
	// 0x1000 larval
}

func ExampleClient_Update() {
	host, client := emulate()
	defer host.Close()
	ctx := context.Background()
	spi, err := client.GetSPI(ctx, pfkey.GetSPIParams{Type: wire.SATypeESP, Src: west, Dst: east, Min: 0x1000,
		Max: 0x1000})
	must(err)
	fmt.Println(client.Update(ctx, esp(spi), 0))
	fmt.Println(host.SAs()[0].SAID, host.SAs()[0].State)
	// Output:
	// <nil>
	// esp 0x1000 from 192.0.2.1 to 192.0.2.2 mature
}

// The errno is that of the system that the program runs on, whatever kernel has answered.
func ExampleClient_Add() {
	host, client := emulate()
	defer host.Close()
	ctx := context.Background()
	fmt.Println(client.Add(ctx, esp(0x1000), 0))
	err := client.Add(ctx, esp(0x1000), 0)
	fmt.Println(err)
	fmt.Println(errors.Is(err, unix.EEXIST))
	// Output:
	// <nil>
	// pfkey: ADD esp 0x1000 from 192.0.2.1 to 192.0.2.2: EEXIST, file exists
	// true
}

func ExampleClient_Delete() {
	host, client := emulateLinux()
	defer host.Close()
	ctx := context.Background()
	must(client.Add(ctx, esp(0x1000), 0))
	fmt.Println(client.Delete(ctx, esp(0x1000).SAID))
	fmt.Println(client.Delete(ctx, esp(0x1000).SAID))
	// Output:
	// <nil>
	// pfkey: DELETE esp 0x1000 from 192.0.2.1 to 192.0.2.2: ESRCH, no such process
}

func ExampleClient_Get() {
	host, client := emulateLinux()
	defer host.Close()
	ctx := context.Background()
	sa := esp(0x1000)
	sa.Hard, sa.Soft = &wire.Lifetime{AddTime: 3600}, &wire.Lifetime{AddTime: 3000}
	must(client.Add(ctx, sa, 0))
	got, err := client.Get(ctx, sa.SAID)
	must(err)
	fmt.Println(got) // its keys are there, but are not printed
	fmt.Println(got.Hard.AddTime, string(got.EncryptKey.Data))
	// Output:
	// esp 0x1000 from 192.0.2.1 to 192.0.2.2 mature auth 3 key(160 bits, hidden) encrypt 12 key(128 bits, hidden) extensions(24 bytes)
	// 3600 Sixteen byte key
}

func ExampleClient_Flush() {
	host, client := emulateLinux()
	defer host.Close()
	ctx := context.Background()
	must(client.Add(ctx, esp(0x1000), 0))
	fmt.Println(client.Flush(ctx, wire.SATypeUnspec), len(host.SAs()))
	// Output:
	// <nil> 0
}

func ExampleClient_Dump() {
	host, client := emulateLinux()
	defer host.Close()
	ctx := context.Background()
	for spi := range wire.SPI(3) {
		must(client.Add(ctx, esp(0x1000+spi), 0))
	}
	for sa, err := range client.Dump(ctx, wire.SATypeESP) {
		must(err)
		fmt.Println(sa.SAID, sa.State)
	}
	// Output:
	// esp 0x1002 from 192.0.2.1 to 192.0.2.2 mature
	// esp 0x1001 from 192.0.2.1 to 192.0.2.2 mature
	// esp 0x1000 from 192.0.2.1 to 192.0.2.2 mature
}

func ExampleClient_Register() {
	host, client := emulate()
	defer host.Close()
	algorithms, err := client.Register(context.Background(), wire.SATypeESP)
	must(err)
	for _, a := range algorithms.Encrypt {
		if a.MaxBits >= 256 {
			fmt.Println(client.Dialect().EncryptName(a.ID), a.MinBits, a.MaxBits)
		}
	}
	// Output:
	// aes-cbc 128 256
	// aes-ccm8 128 256
	// aes-ccm12 128 256
	// aes-ccm16 128 256
	// aes-gcm8 128 256
	// aes-gcm12 128 256
	// aes-gcm16 128 256
}

func ExampleClient_RegisterExtended() {
	host, client := emulate()
	defer host.Close()
	algorithms, err := client.RegisterExtended(context.Background(), wire.SATypeAH, wire.SATypeESP)
	must(err)
	fmt.Println(len(algorithms[wire.SATypeAH].Auth), len(algorithms[wire.SATypeAH].Encrypt),
		len(algorithms[wire.SATypeESP].Auth))
	// Output:
	// 5 0 5
}

// A packet waits for keys, and there will be none.
func ExampleClient_FailAcquire() {
	host, client := emulate(pfkeytest.Policy("{raddr 192.0.2.2 dir out} ipsec {encr_algs aes encr_auth_algs sha1}"))
	defer host.Close()
	ctx := context.Background()
	_, err := client.Register(ctx, wire.SATypeESP)
	must(err)
	packet := host.InjectOutbound(datagram(netip.AddrPortFrom(west.Addr, 1000), netip.AddrPortFrom(east.Addr, 2000),
		nil))
	fmt.Println(packet)
	for event, err := range client.Watch(ctx) {
		must(err)
		if a, ok := event.(*pfkey.Acquire); ok {
			must(client.FailAcquire(ctx, a.Type, a.Seq, wire.ETIMEDOUT))
			break
		}
	}
	fmt.Println(packet)
	// Output:
	// held
	// held, dropped (acquire-gone, sadb_acquire_timeout)
}

// A routing daemon asks for keys. Who makes them hears of it on systems where the kernel passes it on.
func ExampleClient_Acquire() {
	host, client := emulateLinux()
	defer host.Close()
	_, err := client.Acquire(context.Background(), pfkey.Acquire{
		Type: wire.SATypeESP, Src: west, Dst: east,
		Proposal: &wire.Proposal{Replay: 32, Combs: []wire.Comb{{Auth: wire.AuthSHA1HMAC, AuthMinBits: 160,
			AuthMaxBits: 160}}},
	})
	fmt.Println(errors.Is(err, errors.ErrUnsupported), err)
	// Output:
	// true pfkey: ACQUIRE esp from 192.0.2.1 to 192.0.2.2: EOPNOTSUPP, operation not supported
}

// A responder asks what the policy wants, to judge what a peer proposes.
func ExampleClient_InverseAcquire() {
	host, client := emulate(pfkeytest.Policy("{raddr 192.0.2.2} ipsec {encr_algs aes encr_auth_algs sha1}"))
	defer host.Close()
	a, err := client.InverseAcquire(context.Background(), pfkey.Acquire{Src: west, Dst: east})
	must(err)
	for _, alg := range a.Extended.Combs[0].Algs {
		fmt.Println(alg.SAType, alg.AlgType == wire.IllumosAlgTypeCrypt, alg.Alg, alg.MinBits, alg.MaxBits)
	}
	// Output:
	// esp false 3 160 160
	// esp true 12 128 256
}

func ExampleClient_AddPolicy() {
	host, client := emulateLinux()
	defer host.Close()
	ctx := context.Background()
	id, err := client.AddPolicy(ctx, tunnel())
	fmt.Println(id, err)
	_, err = client.AddPolicy(ctx, tunnel())
	fmt.Println(err)

	// Systems whose policies do not come by PF_KEY say so.
	other, client := emulate(pfkeytest.Kernel("illumos"))
	defer other.Close()
	_, err = client.AddPolicy(ctx, tunnel())
	fmt.Println(errors.Is(err, errors.ErrUnsupported), err)
	// Output:
	// 1 <nil>
	// pfkey: X_SPDADD from 10.1.0.0/16 to 10.2.0.0/16: EEXIST, file exists
	// true pfkey: send X_SPDADD: the dialect illumos has no X_SPDADD: unsupported operation
}

func ExampleClient_UpdatePolicy() {
	host, client := emulateLinux()
	defer host.Close()
	ctx := context.Background()
	p := tunnel()
	_, err := client.AddPolicy(ctx, p)
	must(err)
	p.Priority = 7
	_, err = client.UpdatePolicy(ctx, p)
	must(err)
	fmt.Println(len(host.Policies()), host.Policies()[0].Priority)
	// Output:
	// 1 7
}

func ExampleClient_SetPolicyIndex() {
	host, client := emulateLinux()
	defer host.Close()
	_, err := client.SetPolicyIndex(context.Background(), tunnel())
	fmt.Println(err, len(host.Policies()))
	// Output:
	// <nil> 1
}

func ExampleClient_GetPolicy() {
	host, client := emulateLinux()
	defer host.Close()
	ctx := context.Background()
	id, err := client.AddPolicy(ctx, tunnel())
	must(err)
	p, err := client.GetPolicy(ctx, id)
	must(err)
	fmt.Println(p.Dst.Addr, p.Dst.PrefixLen, p.Templates[0].Dst.Addr)
	// Output:
	// 10.2.0.0 16 192.0.2.2
}

func ExampleClient_DumpPolicies() {
	host, client := emulateLinux()
	defer host.Close()
	ctx := context.Background()
	out, in := tunnel(), tunnel()
	in.Direction, in.Src, in.Dst = wire.KAMEDirIn, out.Dst, out.Src
	for _, p := range []pfkey.Policy{out, in} {
		_, err := client.AddPolicy(ctx, p)
		must(err)
	}
	for p, err := range client.DumpPolicies(ctx) {
		must(err)
		fmt.Println(p.Direction == wire.KAMEDirIn, p.Src.Addr, p.Dst.Addr)
	}
	// Output:
	// true 10.2.0.0 10.1.0.0
	// false 10.1.0.0 10.2.0.0
}

func ExampleClient_DeletePolicy() {
	host, client := emulateLinux()
	defer host.Close()
	ctx := context.Background()
	_, err := client.AddPolicy(ctx, tunnel())
	must(err)
	fmt.Println(client.DeletePolicy(ctx, tunnel()))
	fmt.Println(client.DeletePolicy(ctx, tunnel()))
	// Output:
	// <nil>
	// pfkey: X_SPDDELETE from 10.1.0.0/16 to 10.2.0.0/16: ENOENT, no such file or directory
}

func ExampleClient_DeletePolicyID() {
	host, client := emulateLinux()
	defer host.Close()
	ctx := context.Background()
	id, err := client.AddPolicy(ctx, tunnel())
	must(err)
	fmt.Println(client.DeletePolicyID(ctx, id), len(host.Policies()))
	// Output:
	// <nil> 0
}

func ExampleClient_FlushPolicies() {
	host, client := emulateLinux()
	defer host.Close()
	ctx := context.Background()
	_, err := client.AddPolicy(ctx, tunnel())
	must(err)
	fmt.Println(client.FlushPolicies(ctx), len(host.Policies()))
	// Output:
	// <nil> 0
}

// The peer has moved.
func ExampleClient_Migrate() {
	host, client := emulateLinux()
	defer host.Close()
	ctx := context.Background()
	p := tunnel()
	_, err := client.AddPolicy(ctx, p)
	must(err)
	to := p.Templates[0]
	to.Dst.Addr = netip.MustParseAddr("192.0.2.99")
	must(client.Migrate(ctx, p, pfkey.Move{From: p.Templates[0], To: to}))
	fmt.Println(host.Policies()[0].Templates[0].Dst.Addr)
	// Output:
	// 192.0.2.99
}

// addPair adds two associations, one for each direction, that belong together.
func addPair(ctx context.Context, client *pfkey.Client) pfkey.SA {
	out := esp(0x1000)
	must(client.Add(ctx, out, 0))
	in := esp(0x2000)
	in.Src, in.Dst = east, west
	in.Extra = client.Dialect().AppendPair(nil, wire.Pair{SPI: out.SPI})
	must(client.Add(ctx, in, 0))
	return in
}

func ExampleClient_UpdatePair() {
	host, client := emulate()
	defer host.Close()
	ctx := context.Background()
	in := addPair(ctx, client)
	must(client.UpdatePair(ctx, pfkey.SA{SAID: in.SAID, Hard: &wire.Lifetime{AddTime: 3600}}))
	for _, sa := range host.SAs() {
		fmt.Println(sa.SPI, sa.Hard.AddTime)
	}
	// Output:
	// 0x1000 3600
	// 0x2000 3600
}

func ExampleClient_DeletePair() {
	host, client := emulate()
	defer host.Close()
	ctx := context.Background()
	in := addPair(ctx, client)
	fmt.Println(client.DeletePair(ctx, in.SAID), len(host.SAs()))
	// Output:
	// <nil> 0
}

func ExampleClient_DeletePairState() {
	host, client := emulate()
	defer host.Close()
	ctx := context.Background()
	addPair(ctx, client)
	fmt.Println(client.DeletePairState(ctx, wire.SATypeESP, west, east, wire.StateMature), len(host.SAs()))
	// Output:
	// <nil> 0
}

// A monitor hears what is answered to others.
func ExampleClient_Promisc() {
	host, monitor := emulate()
	defer host.Close()
	ctx := context.Background()
	must(monitor.Promisc(ctx, true))
	_, _ = host.Client().Get(ctx, esp(0x1000).SAID)
	for msg, err := range monitor.Events(ctx) {
		must(err)
		if line := monitor.Dialect().Line(msg); strings.Contains(line, "ESRCH") {
			fmt.Println(line)
			break
		}
	}
	// Output:
	// GET esp seq=1 pid=1002 errno=ESRCH diagnostic=SA_NOTFOUND
}

// What a key manager lives on. There is a whole one in examples/keymanager.
func ExampleClient_Watch() {
	host, client := emulate(pfkeytest.Policy("{raddr 192.0.2.2 dir out} ipsec {encr_algs aes encr_auth_algs sha1}"))
	defer host.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err := client.Register(ctx, wire.SATypeESP)
	must(err)
	// needs keys
	host.InjectOutbound(datagram(netip.AddrPortFrom(west.Addr, 1000), netip.AddrPortFrom(east.Addr, 2000), nil))
	for event, err := range client.Watch(ctx) {
		if err != nil {
			fmt.Println("the end:", errors.Is(err, context.Canceled))
			break
		}
		switch e := event.(type) {
		case *pfkey.Acquire:
			fmt.Println("keys are wanted from", e.Src.Addr, "to", e.Dst.Addr)
			sa := esp(0x1000)
			sa.Hard = &wire.Lifetime{AddTime: 3600}
			must(client.Add(ctx, sa, e.Seq))
			host.Advance(2 * time.Hour)
		case *pfkey.Expire:
			fmt.Println(e.SPI, "has reached its", e.Limit, "limit")
			cancel()
		}
	}
	// Output:
	// keys are wanted from 192.0.2.1 to 192.0.2.2
	// 0x1000 has reached its hard limit
	// the end: true
}

// Everything that is no answer, as it came.
func ExampleClient_Events() {
	host, client := emulate()
	defer host.Close()
	ctx := context.Background()
	must(host.Client().Flush(ctx, wire.SATypeESP)) // of which everybody is told
	for msg, err := range client.Events(ctx) {
		must(err)
		fmt.Println(client.Dialect().Line(msg))
		break
	}
	// Output:
	// FLUSH esp seq=1 pid=1002
}

func ExampleClient_Recv() {
	host, client := emulate()
	defer host.Close()
	ctx := context.Background()
	must(host.Client().Flush(ctx, wire.SATypeESP))
	msg, err := client.Recv(ctx)
	must(err)
	fmt.Println(client.Dialect().Line(msg))
	// Output:
	// FLUSH esp seq=1 pid=1002
}

// A request that has no call of its own: illumos deletes everything between two addresses.
func ExampleClient_Do() {
	host, client := emulate()
	defer host.Close()
	ctx := context.Background()
	must(client.Add(ctx, esp(0x1000), 0))
	must(client.Add(ctx, esp(0x2000), 0))
	d := client.Dialect()
	msg := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgDelete, SAType: wire.SATypeESP,
		Seq: client.NextSeq(), PID: client.PID()})
	msg = d.AppendAddress(d.AppendAddress(msg, wire.ExtAddressSrc, west), wire.ExtAddressDst, east)
	answer, err := client.Do(ctx, d.Finish(msg))
	fmt.Println(d.Line(answer), err)
	fmt.Println(len(host.SAs()))
	// Output:
	// DELETE esp seq=3 pid=1001 src=192.0.2.1 dst=192.0.2.2 <nil>
	// 0
}

func ExampleClient_Send() {
	host, client := emulate()
	defer host.Close()
	d := client.Dialect()
	fmt.Println(client.Send(context.Background(),
		d.Finish(d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgFlush, Seq: 1}))))
	fmt.Println(host.Requests())
	// Output:
	// <nil>
	// [FLUSH unspec seq=1 pid=0]
}

func ExampleParseSA() {
	d := wire.Linux()
	msg := d.Finish(esp(0x1000).AppendExtensions(d,
		d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgAdd, SAType: wire.SATypeESP})))
	sa, err := pfkey.ParseSA(d, msg)
	fmt.Println(sa.SAID, err)
	_, err = pfkey.ParseSA(d, msg[:len(msg)-8])
	fmt.Println(err)
	// Output:
	// esp 0x1000 from 192.0.2.1 to 192.0.2.2 <nil>
	// pfkey: wire: at byte 4: length does not fit: the header says another length than the message has
}

func ExampleParsePolicy() {
	d := wire.Linux()
	msg := d.Finish(tunnel().AppendExtensions(d,
		d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.KAMEMsgXSPDAdd})))
	p, err := pfkey.ParsePolicy(d, msg)
	must(err)
	fmt.Println(p.Src.Addr, p.Dst.Addr, len(p.Templates))
	// Output:
	// 10.1.0.0 10.2.0.0 1
}

func ExampleParseEvent() {
	d := wire.Illumos()
	msg := d.AppendSA(d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgExpire,
		SAType: wire.SATypeESP}), wire.SA{SPI: 0x1000, State: wire.StateDying})
	event, err := pfkey.ParseEvent(d, d.Finish(d.AppendLifetime(bytes.Clone(msg), wire.ExtLifetimeSoft,
		wire.Lifetime{AddTime: 3600})))
	must(err)
	fmt.Println(event.(*pfkey.Expire).SPI, event.(*pfkey.Expire).Limit)
	_, err = pfkey.ParseEvent(d, d.Finish(msg))
	fmt.Println(err)
	// Output:
	// 0x1000 soft
	// pfkey: EXPIRE does not say which limit was reached
}

// Numbers differ between systems, names do not.
func ExampleHostErrno() {
	number, ok := pfkey.HostErrno(wire.EEXIST)
	fmt.Println(number == unix.EEXIST, ok)
	// Output:
	// true true
}

// An engine that listens where its clients look for it.
func ExampleRunning() {
	dir, err := os.MkdirTemp("", "pfkey")
	must(err)
	defer os.RemoveAll(dir)
	before := os.Getenv("XDG_RUNTIME_DIR")
	os.Setenv("XDG_RUNTIME_DIR", dir)
	defer os.Setenv("XDG_RUNTIME_DIR", before)

	l, err := pfkey.Listen(pfkey.DefaultPath("linux"))
	must(err)
	defer l.Close()
	running, err := pfkey.Running()
	must(err)
	for _, a := range running {
		fmt.Println(a.Kernel, filepath.Base(a.Path))
	}
	// Output:
	// linux linux.sock
}

func ExamplePrefix() {
	a := pfkey.Prefix(netip.MustParsePrefix("192.0.2.77/24"))
	a.Proto, a.Port = 6, 443
	fmt.Println(a.Addr, a.PrefixLen, a.Proto, a.Port)
	// Output:
	// 192.0.2.0 24 6 443
}
