package control_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/control"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
)

func Example() {
	e, err := kernels.New("illumos", engine.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	dir, err := os.MkdirTemp("", "control")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := control.Path(filepath.Join(dir, "illumos.sock"))
	l, err := control.Listen(path)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	srv := control.NewServer(e, control.Options{})
	done := make(chan error)
	go func() { done <- srv.Serve(ctx, l) }()

	c := control.NewClient(path)
	clock, err := c.Advance(ctx, 8*time.Hour)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(clock.Now)

	c.Close()
	srv.Shutdown(ctx)
	fmt.Println("stopped:", <-done)
	// Output:
	// 2014-01-01 08:00:00 +0000 UTC
	// stopped: <nil>
}
