// Pfkeyd is the key engine of an operating system as an ordinary process: it speaks PF_KEY v2 on a Unix socket, keeps
// the SA database, holds packets that arrive for LARVAL SAs, and processes real ESP and AH.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/pfkeyd/pfkeyd/cmd/pfkeyd/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
