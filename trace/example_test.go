package trace_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net/netip"
	"strings"

	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/trace"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Everything that a client and a kernel say to each other. Below the line of each message stand its fields, which are
// left out here; key bytes are zero in them.
func Example() {
	eng, err := kernel.New("illumos", kernel.Options{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	var text bytes.Buffer
	traced := trace.New(eng, &text, trace.Options{Now: eng.Now})

	cred := pfkey.Cred{PID: 1234, Privileged: true}
	sock, errno := traced.Open(cred, 3, 2) // SOCK_RAW, PF_KEY_V2; pfkey.NewServer(traced, ...) serves others
	if errno != wire.OK {
		log.Fatal(errno)
	}
	client := pfkey.NewClientOn(sock, eng.Dialect(), cred)
	_, err = client.GetSPI(context.Background(), pfkey.GetSPIParams{
		Type: wire.SATypeESP, Min: 0x1000, Max: 0x1000,
		Src: pfkey.Host(netip.MustParseAddr("192.0.2.2")), Dst: pfkey.Host(netip.MustParseAddr("192.0.2.1")),
	})
	if err != nil {
		log.Fatal(err)
	}
	client.Close()
	if err := traced.Close(context.Background()); err != nil { // everything is written now
		log.Fatal(err)
	}
	for line := range strings.Lines(text.String()) {
		if strings.Contains(line, "socket 1") {
			_, line, _ = strings.Cut(line, " ") // the time
			fmt.Print(line)
		}
	}
	// Output:
	// socket 1 process 1234 - opens
	// socket 1 process 1234 > GETSPI esp seq=1 pid=1234 src=192.0.2.2 dst=192.0.2.1 spirange=0x1000-0x1000
	// socket 1 process 1234 < GETSPI esp seq=1 pid=1234 src=192.0.2.2 dst=192.0.2.1 spi=0x1000 state=larval
	// socket 1 process 1234 - closes
}
