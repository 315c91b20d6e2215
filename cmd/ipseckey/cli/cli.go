// Package cli is the command ipseckey on this machine: it gives package ipseckey its streams, files, names, clock and
// socket.
package cli

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/signal"
	"time"

	"golang.org/x/term"

	"github.com/pfkeyd/pfkeyd/cmd/internal/version"
	"github.com/pfkeyd/pfkeyd/cmd/internal/words"
	"github.com/pfkeyd/pfkeyd/ipseckey"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// protocolsFile has the names of IP protocols; without it they have none.
const protocolsFile = "/etc/protocols"

// Run runs the command with the words behind its name and returns the exit status. Interrupts do what they do to the
// original while it runs: they end a monitor, are ignored at the prompt, and end anything else.
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
		Supported:  supported,
		Version:    version.String(),
	}
	in, ok1 := stdin.(*os.File)
	out, ok2 := stdout.(*os.File)
	if ok1 && ok2 && p.Terminal.Stdin && p.Terminal.Stdout {
		if state, err := term.GetState(int(in.Fd())); err == nil {
			defer term.Restore(int(in.Fd()), state)
		}
		p.Editor = newEditor(in, out, openHistory(historyPath()))
	}
	ended := make(chan int, 1)
	go func() { ended <- p.Run(ctx, args) }() // may wait for input for ever: then it is left behind
	select {
	case code := <-ended:
		return code
	case <-ctx.Done():
	}
	select {
	case code := <-ended:
		return code
	case <-time.After(time.Second):
		return exitTerminated
	}
}

// exitTerminated is the status of a run that was terminated while it waited for input.
const exitTerminated = 128 + 15

// supported asks an engine what it has, over a socket of its own.
func supported(ctx context.Context, address string, t wire.SAType) (ipseckey.Supported, error) {
	c, err := pfkey.Dial(ctx, address)
	if err != nil {
		return ipseckey.Supported{}, err
	}
	defer c.Close()
	return ipseckey.Ask(ctx, c, t)
}

func dial(ctx context.Context, address string) (ipseckey.Conn, *wire.Dialect, error) {
	c, err := pfkey.Dial(ctx, address)
	if err != nil {
		return nil, nil, &words.Error{Err: err}
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
	return ok && term.IsTerminal(int(f.Fd()))
}
