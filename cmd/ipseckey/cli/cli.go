// Package cli is the command ipseckey on this machine: it gives package ipseckey its streams, files, names, clock and socket.
package cli

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/signal"
	"time"

	"github.com/pfkeyd/pfkeyd/ipseckey"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// protocolsFile has the names of IP protocols; without it they have none.
const protocolsFile = "/etc/protocols"

// Run runs the command with the words behind its name and returns the exit status. Interrupts do what they do to the original
// while it runs: they end a monitor, are ignored at the prompt, and end anything else.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	interrupts, stop := watch()
	defer stop()
	p := &ipseckey.Program{
		Stdin: stdin, Stdout: stdout, Stderr: stderr,
		Terminal:   ipseckey.Terminal{Stdin: isTerminal(stdin), Stdout: isTerminal(stdout), Stderr: isTerminal(stderr)},
		Dial:       dial,
		Names:      &ipseckey.Resolver{Resolver: net.DefaultResolver, Protocols: protocols()},
		Files:      ipseckey.OSFiles{},
		Now:        time.Now,
		Location:   location(),
		PID:        uint32(os.Getpid()),
		UID:        os.Getuid(),
		Env:        os.LookupEnv,
		Syslog:     syslogNotice,
		Interrupts: interrupts,
	}
	return p.Run(ctx, args)
}

func dial(ctx context.Context, address string) (ipseckey.Conn, *wire.Dialect, error) {
	c, err := pfkey.Dial(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	return ipseckey.ClientConn(c), c.Dialect(), nil
}

// watch passes interrupts on until stop is called.
func watch() (c <-chan struct{}, stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	out := make(chan struct{}, 1)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() { // ends at stop
		defer close(ended)
		for {
			select {
			case <-signals:
				select {
				case out <- struct{}{}:
				default: // one is enough
				}
			case <-done:
				return
			}
		}
	}()
	return out, func() {
		signal.Stop(signals)
		close(done)
		<-ended
	}
}

func protocols() *ipseckey.Table {
	b, err := os.ReadFile(protocolsFile)
	if err != nil {
		return nil
	}
	return ipseckey.NewTable(nil, bytes.NewReader(b))
}

// location is the time zone that TZ says, else the machine's.
func location() *time.Location {
	if tz, ok := os.LookupEnv("TZ"); ok && tz != "" {
		if loc, ok := ipseckey.ParseTZ(tz); ok {
			return loc
		}
		return time.UTC
	}
	return time.Local
}

// isTerminal tells whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && terminal(f)
}
