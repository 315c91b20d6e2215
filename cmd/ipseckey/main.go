// Ipseckey manipulates and lists the security associations of a key engine, in the language of ipseckey(8) of illumos.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/pfkeyd/pfkeyd/cmd/ipseckey/cli"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}
