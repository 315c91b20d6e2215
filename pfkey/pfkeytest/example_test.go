package pfkeytest_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// The race that gave this project its reason: the first packet of a tunnel arrives before IKE has installed the keys.
func Example() {
	ctx := context.Background()
	host, err := pfkeytest.NewHost(pfkeytest.Kernel("illumos"), pfkeytest.Addr("192.0.2.1")) // in a test: pfkeytest.New(t, ...)
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
	packet := host.Inject(seal(spi, 1, datagram("hello")))
	fmt.Println(packet)

	err = ike.Update(ctx, pfkey.SA{
		SAID: pfkey.SAID{Type: wire.SATypeESP, SPI: spi, Src: src, Dst: dst},
		Auth: wire.IllumosAuthSHA1HMAC, AuthKey: pfkey.NewKey(authKey),
		Encrypt: wire.IllumosEncAESCBC, EncryptKey: pfkey.NewKey(encryptKey),
	}, 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(packet)
	v, _ := packet.Final()
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
	if err := client.Add(ctx, sa, 0); err != nil {
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
	spi, err := host.Client().GetSPI(context.Background(), pfkey.GetSPIParams{Type: wire.SATypeESP, Src: pfkey.Host(peer), Dst: pfkey.Host(own)})
	if err != nil {
		log.Fatal(err)
	}
	packet := host.Inject(seal(spi, 1, datagram("hello")))
	host.Advance(time.Minute)
	fmt.Println(packet)
	v, ok := packet.Final()
	fmt.Println(ok, v.Kind == ipsec.Dropped, v.Reason == ipsec.LarvalGone)
	// Output:
	// queued, dropped (larval-gone, sadb_inlarval_timeout)
	// true true true
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
