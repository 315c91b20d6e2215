package hostile_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/hostile"
	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A kernel that says once that there is no memory, and then forgets to tell which SPI it has chosen.
func Example() {
	eng, err := kernel.New("illumos", kernel.Options{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	script, err := hostile.Parse(strings.NewReader(`
full:    errno ENOMEM GETSPI times 1
empty:   strip SA GETSPI after 1
`), eng.Dialect())
	if err != nil {
		log.Fatal(err)
	}
	liar := hostile.New(eng, script)

	cred := pfkey.Cred{PID: 1234, Privileged: true}
	sock, errno := liar.Open(cred, 3, 2) // SOCK_RAW, PF_KEY_V2; pfkey.NewServer(liar, ...) serves others
	if errno != wire.OK {
		log.Fatal(errno)
	}
	client := pfkey.NewClientOn(sock, eng.Dialect(), cred)
	defer client.Close()
	for range 2 {
		_, err = client.GetSPI(context.Background(), pfkey.GetSPIParams{
			Type: wire.SATypeESP,
			Src:  pfkey.Host(netip.MustParseAddr("192.0.2.2")), Dst: pfkey.Host(netip.MustParseAddr("192.0.2.1")),
		})
		fmt.Println(err != nil, errors.Is(err, unix.ENOMEM))
	}
	fmt.Println(liar.Counters())
	// Output:
	// true true
	// true false
	// map[empty:1 full:1]
}

// A mistake in a script is named with its line.
func ExampleParse() {
	_, err := hostile.Parse(strings.NewReader("seed 7\ndrop EVERYTHING\n"), wire.Illumos())
	fmt.Println(err)
	// Output:
	// line 2: "EVERYTHING" is not the name of a message of illumos
}
