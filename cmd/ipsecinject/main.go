// Command ipsecinject sends IP packets into an engine's packet port and prints what became of them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/pfkeyd/pfkeyd/cmd/ipsecinject/cli"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}
