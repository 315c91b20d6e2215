package packetport_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"

	"github.com/pfkeyd/pfkeyd/packetport"
)

func Example() {
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
	srv := packetport.NewServer(&target{}, packetport.Options{Name: "illumos"}) // any engine
	done := make(chan error)
	go func() { done <- srv.Serve(ctx, l) }()

	c, err := packetport.Dial(ctx, path)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Inject(ctx, esp(0x1000), packetport.Inbound, ""); err != nil {
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
