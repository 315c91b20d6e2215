package packetport_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/packetport"
)

func Example() {
	eng, err := kernel.New("illumos", kernel.Options{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	dir, err := os.MkdirTemp("", "packetport")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := packetport.Path(filepath.Join(dir, "engine.sock"))
	l, err := net.Listen("unixpacket", path)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	srv := packetport.NewServer(eng, packetport.ServerOptions{Name: "illumos"})
	done := make(chan error)
	go func() { done <- srv.Serve(ctx, l) }()

	c, err := packetport.Dial(ctx, path)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	esp := []byte{ // from 192.0.2.2, with an SPI that the engine does not know
		0x45, 0, 0, 40, 0, 0, 0, 0, 64, 50, 0xf6, 0xa0, 192, 0, 2, 2, 192, 0, 2, 1,
		0, 0, 0x10, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	}
	if _, err := c.Inject(ctx, esp, packetport.Inbound, ""); err != nil {
		log.Fatal(err)
	}
	v, err := c.Recv(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("packet %d: %v (%s), spi %#x\n", v.ID, v.Kind, v.Reason, v.SPI)

	srv.Shutdown(ctx)
	fmt.Println("stopped:", <-done)
	// Output:
	// packet 1: dropped (no-sa), spi 0x1000
	// stopped: <nil>
}
