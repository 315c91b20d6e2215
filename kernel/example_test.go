package kernel_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

var (
	own  = netip.MustParseAddr("192.0.2.1")
	peer = netip.MustParseAddr("192.0.2.2")

	larval = pfkey.GetSPIParams{Type: wire.SATypeESP, Src: pfkey.Host(peer), Dst: pfkey.Host(own)}
)

// host makes an engine under a virtual clock, and a client of it.
func host(name string) (*kernel.Engine, *pfkey.Client) {
	eng, err := kernel.New(name, kernel.Options{Addrs: []netip.Addr{own}})
	if err != nil {
		log.Fatal(err)
	}
	cred := pfkey.Cred{PID: 1234, Privileged: true}
	sock, errno := eng.Open(cred, 3, 2) // SOCK_RAW, PF_KEY_V2
	if errno != wire.OK {
		log.Fatal(errno)
	}
	return eng, pfkey.NewClientOn(sock, eng.Dialect(), cred)
}

// The same packet comes too early, on each kernel.
func Example() {
	for _, name := range kernel.Names() {
		eng, client := host(name)
		spi, err := client.GetSPI(context.Background(), larval)
		if err != nil {
			log.Fatal(err)
		}
		aes, _ := eng.Dialect().EncryptByName("aes-cbc")
		sa := pfkey.SA{
			SAID: pfkey.SAID{Type: wire.SATypeESP, SPI: spi, Src: pfkey.Host(peer), Dst: pfkey.Host(own)},
			Auth: wire.AuthSHA1HMAC, AuthKey: pfkey.NewKey([]byte("twenty bytes of key.")),
			Encrypt: aes, EncryptKey: pfkey.NewKey([]byte("Sixteen byte key")),
		}
		hello, err := ipsec.MakeUDP(netip.AddrPortFrom(peer, 1000), netip.AddrPortFrom(own, 2000), []byte("hello"))
		if err != nil {
			log.Fatal(err)
		}
		sealed, err := eng.Seal(&sa, hello, 1, rand.Reader) // as the peer does
		if err != nil {
			log.Fatal(err)
		}
		verdict := func(_ *packet.Packet, v packet.Verdict) { fmt.Println(name, v.Kind) }
		eng.Inbound(&packet.Packet{Data: sealed, Done: verdict})
		if err := client.Update(context.Background(), sa, 0); err != nil {
			log.Fatal(err)
		}
		client.Close()
		eng.Close()
	}
	// Output:
	// freebsd dropped
	// illumos queued
	// illumos delivered
	// linux dropped
	// netbsd dropped
	// openbsd dropped
}

// Time passes when the engine is told so, and everything that is due happens on the way.
func ExampleNew() {
	eng, client := host("illumos")
	defer eng.Close()
	defer client.Close()
	_, err := client.GetSPI(context.Background(), larval)
	if err != nil {
		log.Fatal(err)
	}
	next, _ := eng.Next()
	fmt.Println(eng.Status(0).SACount, "SA, something is due in", next.Sub(eng.Now()))
	eng.Advance(eng.Now().Add(2 * time.Minute))
	fmt.Println(eng.Status(0).SACount, "SAs")
	// Output:
	// 1 SA, something is due in 1m36s
	// 0 SAs
}
