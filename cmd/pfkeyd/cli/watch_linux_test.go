package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/cmd/internal/terminaltest"
	"github.com/pfkeyd/pfkeyd/cmd/pfkeyd/cli"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// On a terminal, also a narrow one, watch shows what happens while it runs, and no line is longer than the terminal is
// wide.
func TestWatchTerminal(t *testing.T) {
	for _, columns := range []uint16{80, 20, 5} {
		host := pfkeytest.New(t)
		client := host.Client()
		address := host.Serve()
		keyboard, terminal := terminaltest.Open(t)
		if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ,
			&unix.Winsize{Row: 24, Col: columns}); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(keyboard)
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		var told bytes.Buffer
		ended := make(chan int)
		go func() {
			ended <- cli.Run(ctx, []string{"watch", "--engine", address, "--color", "never"}, nil, terminal, &told)
		}()
		lines.Scan() // the history
		if err := client.Flush(t.Context(), wire.SATypeESP); err != nil {
			t.Fatal(err)
		}
		host.Advance(1e9)
		shown := []string{lines.Text()}
		for len(shown) < 5 && lines.Scan() { // the date, the socket, two messages, the clock
			shown = append(shown, lines.Text())
		}
		interrupt()
		if code := <-ended; code != command.ExitDone {
			t.Errorf("exit %d: %s", code, &told)
		}
		for _, line := range shown {
			if utf8.RuneCountInString(strings.TrimRight(line, "\r")) > int(columns) {
				t.Errorf("%d columns: %q", columns, line)
			}
		}
	}
}
