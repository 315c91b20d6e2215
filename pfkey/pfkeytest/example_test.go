package pfkeytest_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/pfkeyd/pfkeyd/kernel/event"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// hello is a packet from the peer to the host.
var hello = pfkeytest.UDP("192.0.2.2:1000", "192.0.2.1:2000", "hello")

// The race that gave this project its reason: the first packet of a tunnel arrives before IKE has installed the keys.
func Example() {
	ctx := context.Background()
	// in a test: pfkeytest.New(t, ...)
	host, err := pfkeytest.NewHost(pfkeytest.Kernel("illumos"), pfkeytest.Addr("192.0.2.1"))
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	ike := host.Client()

	src, dst := pfkey.Host(netip.MustParseAddr("192.0.2.2")), pfkey.Host(netip.MustParseAddr("192.0.2.1"))
	spi, err := ike.GetSPI(ctx, pfkey.GetSPIParams{Type: wire.SATypeESP, Src: src, Dst: dst, Min: 0x1000, Max: 0x1000})
	if err != nil {
		log.Fatal(err)
	}
	sa := pfkey.SA{
		SAID: pfkey.SAID{Type: wire.SATypeESP, SPI: spi, Src: src, Dst: dst},
		Auth: wire.AuthSHA1HMAC, AuthKey: pfkey.NewKey(authKey),
		Encrypt: wire.EncAESCBC, EncryptKey: pfkey.NewKey(encryptKey),
	}
	pkt := host.Inject(host.Seal(sa, pfkeytest.UDP("192.0.2.2:1000", "192.0.2.1:2000", "hello")))
	fmt.Println(pkt)

	if err := ike.Update(ctx, sa, pfkey.NoAcquire); err != nil {
		log.Fatal(err)
	}
	fmt.Println(pkt)
	v, _ := pkt.Final()
	fmt.Printf("%s\n", v.Inner[28:])
	// Output:
	// queued
	// queued, delivered
	// hello
}

// Lifetimes pass at once.
func ExampleHost_Advance() {
	ctx := context.Background()
	host, err := pfkeytest.NewHost()
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	client := host.Client()
	sa := inbound(client.Dialect(), 0x1234)
	sa.Hard, sa.Soft = &wire.Lifetime{AddTime: 8 * 3600}, &wire.Lifetime{AddTime: 7 * 3600}
	if err := client.Add(ctx, sa, pfkey.NoAcquire); err != nil {
		log.Fatal(err)
	}
	for _, d := range []time.Duration{7*time.Hour + time.Minute, time.Hour} {
		host.Advance(d)
		msg, err := client.Recv(ctx)
		if err != nil {
			log.Fatal(err)
		}
		expired, err := pfkey.ParseSA(client.Dialect(), msg)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(expired.SPI, "is", expired.State)
	}
	// Output:
	// 0x1234 is dying
	// 0x1234 is dead
}

// A packet that waits for keys in vain is dropped, and says why in the real kernel's words too.
func ExamplePacket() {
	host, err := pfkeytest.NewHost(pfkeytest.Option("ipsecesp:larval_timeout=20"))
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	spi, err := host.Client().GetSPI(context.Background(), pfkey.GetSPIParams{Type: wire.SATypeESP,
		Src: pfkey.Host(peer), Dst: pfkey.Host(own)})
	if err != nil {
		log.Fatal(err)
	}
	pkt := host.Inject(host.Seal(inbound(host.Engine().Dialect(), spi), hello))
	host.Advance(time.Minute)
	fmt.Println(pkt)
	v, ok := pkt.Final()
	fmt.Println(ok, v.Kind == packet.Dropped, v.Reason == packet.LarvalGone)
	// Output:
	// queued, dropped (larval-gone, sadb_inlarval_timeout)
	// true true true
}

// What happens on a host, in order: an SA gets its keys while a packet waits for them.
func ExampleHost_Events() {
	host, err := pfkeytest.NewHost()
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	client := host.Client()
	events := host.Events(event.Filter{Types: []event.Type{event.SA, event.Packet}, Messages: []string{"UPDATE"}})
	spi, err := client.GetSPI(context.Background(), pfkey.GetSPIParams{Type: wire.SATypeESP, Src: pfkey.Host(peer),
		Dst: pfkey.Host(own), Min: 0x1000, Max: 0x1000})
	if err != nil {
		log.Fatal(err)
	}
	sa := inbound(client.Dialect(), spi)
	host.Inject(host.Seal(sa, hello))
	if err := client.Update(context.Background(), sa, pfkey.NoAcquire); err != nil {
		log.Fatal(err)
	}
	for _, e := range events.Past() {
		switch e.Type {
		case event.Message:
			fmt.Println(e.Message.Name, "to", e.Message.To)
		case event.SA:
			fmt.Println("SA", e.SA.SPI, e.SA.From, ">", e.SA.To)
		case event.Packet:
			fmt.Println("packet", e.Packet.ID, e.Packet.Verdict)
		}
	}
	// Output:
	// SA 0x1000  > larval
	// packet 1 queued
	// UPDATE to kernel
	// SA 0x1000 larval > mature
	// UPDATE to program
	// packet 1 delivered
}

// What a peer would send, without a peer.
func ExampleHost_Seal() {
	host, err := pfkeytest.NewHost()
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	client := host.Client()
	sa := inbound(client.Dialect(), 0x1234)
	if err := client.Add(context.Background(), sa, pfkey.NoAcquire); err != nil {
		log.Fatal(err)
	}
	first := host.Seal(sa, pfkeytest.Ping("192.0.2.2", "192.0.2.1", 1))
	second := host.Seal(sa, pfkeytest.SYN("192.0.2.2:1000", "192.0.2.1:80"))
	fmt.Println(host.Inject(second))
	fmt.Println(host.Inject(first)) // late, but in the replay window
	fmt.Println(host.Inject(first))
	// Output:
	// delivered
	// delivered
	// dropped (replay-early, esp_early_replay)
}

// Two hosts: one has its keys earlier than the other.
func ExampleCable() {
	var hosts [2]*pfkeytest.Host
	for i, addr := range []string{"192.0.2.2", "192.0.2.1"} {
		policy := pfkeytest.Policy("{} ipsec {encr_algs aes encr_auth_algs sha1}")
		host, err := pfkeytest.NewHost(pfkeytest.Addr(addr), policy)
		if err != nil {
			log.Fatal(err)
		}
		defer host.Close()
		hosts[i] = host
	}
	initiator, responder := hosts[0], hosts[1]
	pfkeytest.Cable(initiator, responder)

	ctx, ike := context.Background(), responder.Client()
	spi, err := ike.GetSPI(ctx, pfkey.GetSPIParams{Type: wire.SATypeESP, Src: pfkey.Host(peer), Dst: pfkey.Host(own)})
	if err != nil {
		log.Fatal(err)
	}
	sa := inbound(ike.Dialect(), spi)
	if err := initiator.Client().Add(ctx, sa, pfkey.NoAcquire); err != nil {
		log.Fatal(err)
	}
	sent := initiator.InjectOutbound(pfkeytest.UDP("192.0.2.2:1000", "192.0.2.1:2000", "hello"))
	fmt.Println(sent, "and then", sent.Arrival())
	if err := ike.Update(ctx, sa, pfkey.NoAcquire); err != nil {
		log.Fatal(err)
	}
	fmt.Println(sent, "and then", sent.Arrival())
	// Output:
	// transmitted and then queued
	// transmitted and then queued, delivered
}

func ExampleUDP() {
	host, err := pfkeytest.NewHost()
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	fmt.Println(host.InjectOutbound(pfkeytest.UDP("192.0.2.1:1000", "192.0.2.2:2000", "hello")))
	// Output:
	// transmitted
}

// A wait in vain says what came instead, also where the context has no end.
func ExamplePatience() {
	host, err := pfkeytest.NewHost(pfkeytest.Patience(10 * time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	if err := host.Client().Flush(context.Background(), wire.SATypeESP); err != nil {
		log.Fatal(err)
	}
	_, err = host.WaitRequest(context.Background(), wire.MsgAdd)
	fmt.Println(err)
	// Output:
	// pfkeytest: no ADD in 10ms: context deadline exceeded; instead there came:
	// 	FLUSH esp seq=1 pid=1001
}

// Another program gets an address.
func ExampleHost_Serve() {
	host, err := pfkeytest.NewHost()
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	client, err := pfkey.Dial(context.Background(), host.Serve()) // or a command with PFKEY_ENGINE in its environment
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	algorithms, err := client.Register(context.Background(), wire.SATypeAH)
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range algorithms.Auth {
		fmt.Println(client.Dialect().AuthName(a.ID), a.MinBits, a.MaxBits)
	}
	// Output:
	// hmac-md5 128 128
	// hmac-sha1 160 160
	// hmac-sha256 256 256
	// hmac-sha384 384 384
	// hmac-sha512 512 512
}

// A test of a program waits for what the program does, without sleeping.
func ExampleHost_WaitRequest() {
	host, err := pfkeytest.NewHost(pfkeytest.Kernel("linux"))
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	client := host.Client()
	go func() { // stands for the program
		_, _ = client.Register(context.Background(), wire.SATypeESP)
		_ = client.Add(context.Background(), inbound(client.Dialect(), 0x1234), pfkey.NoAcquire)
	}()
	request, err := host.WaitRequest(context.Background(), wire.MsgAdd)
	if err != nil {
		log.Fatal(err)
	}
	sa, err := pfkey.ParseSA(client.Dialect(), request.Message())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("it adds", sa.SAID)
	fmt.Println("the kernel has", host.SAs()[0].SAID)
	// Output:
	// it adds esp 0x1234 from 192.0.2.2 to 192.0.2.1
	// the kernel has esp 0x1234 from 192.0.2.2 to 192.0.2.1
}

// What a program has done so far. Keys are not printed.
func ExampleHost_Requests() {
	host, err := pfkeytest.NewHost()
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	client := host.Client()
	_ = client.Flush(context.Background(), wire.SATypeESP)
	_ = client.Delete(context.Background(), inbound(client.Dialect(), 0x1234).SAID)
	for _, r := range host.Requests() {
		fmt.Println(r)
	}
	// Output:
	// FLUSH esp seq=1 pid=1001
	// DELETE esp seq=2 pid=1001 spi=0x1234 state=mature src=192.0.2.2 dst=192.0.2.1
}

func ExampleHost_SAs() {
	host, err := pfkeytest.NewHost()
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	client := host.Client()
	if err := client.Add(context.Background(), inbound(client.Dialect(), 0x1234), pfkey.NoAcquire); err != nil {
		log.Fatal(err)
	}
	host.Inject(host.Seal(inbound(client.Dialect(), 0x1234), hello)).Expect(packet.Delivered)
	for _, sa := range host.SAs() {
		fmt.Println(sa.SAID, sa.State, "has carried", sa.Current.Bytes, "bytes")
	}
	// Output:
	// esp 0x1234 from 192.0.2.2 to 192.0.2.1 mature has carried 32 bytes
}

func ExampleHost_Policies() {
	for _, o := range [][]pfkeytest.HostOption{
		{pfkeytest.Kernel("illumos"),
			pfkeytest.Policy("{raddr 192.0.2.2 dir out} ipsec {encr_algs aes encr_auth_algs sha1}")},
		{pfkeytest.Kernel("linux"),
			pfkeytest.Policy("spdadd 0.0.0.0/0 192.0.2.2 any -P out ipsec esp/transport//require;")},
	} {
		host, err := pfkeytest.NewHost(o...)
		if err != nil {
			log.Fatal(err)
		}
		for _, p := range host.Policies() {
			fmt.Println(p.Direction == wire.KAMEDirOut, p.Dst.Addr, p.Templates[0].Proto)
		}
		host.Close()
	}
	// Output:
	// true 192.0.2.2 50
	// true 192.0.2.2 50
}

// A packet that the policy protects goes out when there are keys.
func ExampleHost_InjectOutbound() {
	host, err := pfkeytest.NewHost(
		pfkeytest.Policy("{raddr 192.0.2.2 dir out} ipsec {encr_algs aes encr_auth_algs sha1}"))
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	client := host.Client()
	sa := inbound(client.Dialect(), 0x1234)
	sa.Src, sa.Dst = sa.Dst, sa.Src
	if err := client.Add(context.Background(), sa, pfkey.NoAcquire); err != nil {
		log.Fatal(err)
	}
	pkt := host.InjectOutbound(pfkeytest.UDP("192.0.2.1:1000", "192.0.2.2:2000", "hello"))
	sealed, _ := pkt.Final()
	fmt.Println(pkt, sealed.Inner[9] == 50)
	// Output:
	// transmitted true
}

// A packet for which there is no security association.
func ExampleHost_Inject() {
	host, err := pfkeytest.NewHost(pfkeytest.Kernel("linux"))
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	fmt.Println(host.Inject(host.Seal(inbound(host.Engine().Dialect(), 0x1234), hello)).ExpectDropped(packet.NoSA))
	// Output:
	// dropped (no-sa, XfrmInNoStates)
}

// What another goroutine, or another program, brings about is waited for.
func ExamplePacket_Wait() {
	host, err := pfkeytest.NewHost()
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	client := host.Client()
	spi, err := client.GetSPI(context.Background(), pfkey.GetSPIParams{Type: wire.SATypeESP, Src: pfkey.Host(peer),
		Dst: pfkey.Host(own)})
	if err != nil {
		log.Fatal(err)
	}
	pkt := host.Inject(host.Seal(inbound(host.Engine().Dialect(), spi), hello))
	go func() { _ = client.Update(context.Background(), inbound(client.Dialect(), spi), pfkey.NoAcquire) }()
	v, err := pkt.Wait(context.Background())
	fmt.Println(v.Kind, err)
	// Output:
	// delivered <nil>
}

// A program that speaks PF_KEY itself gets a socket.
func ExampleHost_Open() {
	host, err := pfkeytest.NewHost(pfkeytest.Kernel("linux"))
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	_, errno := host.Open(pfkey.Cred{PID: 1234})
	fmt.Println(errno)
	sock, errno := host.Open(pfkey.Cred{PID: 1234, Privileged: true})
	fmt.Println(errno)
	sock.Close()
	// Output:
	// EPERM
	// OK
}

// The kernel lies: the first answer to a GET gets lost.
func ExampleHostile() {
	host, err := pfkeytest.NewHost(pfkeytest.Hostile("drop GET times 1"))
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	client := host.Client()
	sa := inbound(client.Dialect(), 0x1234)
	if err := client.Add(context.Background(), sa, pfkey.NoAcquire); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err = client.Get(ctx, sa.SAID)
	fmt.Println(err)
	_, err = client.Get(context.Background(), sa.SAID)
	fmt.Println(err)
	fmt.Println(host.Faults())
	// Output:
	// pfkey: receive GET: context deadline exceeded
	// <nil>
	// map[drop GET:1]
}

// A kernel that treats early packets wrongly, as real ones did, shows whether a test would notice.
func ExampleFault() {
	host, err := pfkeytest.NewHost(pfkeytest.Fault("larval-unlocked"))
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	fmt.Println(host.Engine().Status(0).Fault)
	// Output:
	// larval-unlocked
}

// The clock shows what it is told.
func ExampleStart() {
	host, err := pfkeytest.NewHost(pfkeytest.Start(time.Date(2005, 12, 1, 12, 0, 0, 0, time.UTC)))
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	host.Advance(time.Hour)
	fmt.Println(host.Now())
	// Output:
	// 2005-12-01 13:00:00 +0000 UTC
}
