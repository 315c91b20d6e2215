package cli_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/cmd/internal/terminaltest"
	"github.com/pfkeyd/pfkeyd/cmd/ipseckey/cli"
)

// TestTerminal is a session at a real terminal: completion, an error that marks its word, colours, the history, and the
// end.
func TestTerminal(t *testing.T) {
	address := serve(t)
	keyboard, terminal := terminaltest.Open(t)
	kept := filepath.Join(t.TempDir(), "history")
	t.Setenv("IPSECKEY_HISTORY", kept)
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	shown := terminaltest.Watch(keyboard)
	ended := make(chan int, 1)
	go func() {
		ended <- cli.Run(t.Context(), []string{"--engine", address, "-n"}, terminal, terminal, terminal)
	}()
	enter := func(keys string) { io.WriteString(keyboard, keys) }
	shown.Expect(t, "ipseckey> ")
	enter("hel\tad\t\r")
	shown.Expect(t, "add\t - Add a new security association (SA)")
	shown.Expect(t, "Tab completes them.")
	shown.Expect(t, "ipseckey> ")
	enter("add esp spi 0x1000 src 192.0.2.2 dst 192.0.2.1 encr_a\taes-cb\tencrkye " + key + "\r")
	shown.Expect(t, "\x1b[31m^^^^^^^ ^^^^")
	shown.Expect(t, `encrkye: did you mean "encrkey"?`)
	shown.Expect(t, "ipseckey> ")
	enter("add esp spi 0x1000 src 192.0.2.2 dst 192.0.2.1 encr_alg aes \\\r")
	shown.Expect(t, "        > ")
	enter("encrkey " + key + "\r")
	shown.Expect(t, "ipseckey> ")
	enter("getspi \x03")
	shown.Expect(t, "^C\r\n")
	shown.Expect(t, "ipseckey> ")
	enter("dump\r")
	shown.Expect(t, "\x1b[36mEKY:\x1b[0m "+key)
	shown.Expect(t, "Dump succeeded for SA type 0.")
	shown.Expect(t, "0x1000  esp   mature")
	shown.Expect(t, "ipseckey> ")
	enter("flus\t\r")
	shown.Expect(t, "ipseckey> ")
	enter("\x1b[A\x1b[A\r") // dump again
	shown.Expect(t, "Dump succeeded for SA type 0.\r\n")
	shown.Expect(t, "ipseckey> ")
	enter("\x04")
	if code := <-ended; code != 0 {
		t.Errorf("exit %d", code)
	}
	b, err := os.ReadFile(kept)
	if err != nil || strings.Contains(string(b), key[:8]) || !strings.Contains(string(b), "encrkey XXXX") ||
		!strings.Contains(string(b), "\nflush\n") {
		t.Errorf("history: %v, %q", err, b)
	}
}

// TestTerminated ends at once when it is terminated at the prompt.
func TestTerminated(t *testing.T) {
	address := serve(t)
	keyboard, terminal := terminaltest.Open(t)
	t.Setenv("IPSECKEY_HISTORY", "")
	before, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	shown := terminaltest.Watch(keyboard)
	ctx, terminate := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- cli.Run(ctx, []string{"--engine", address}, terminal, terminal, terminal) }()
	shown.Expect(t, "ipseckey> ")
	terminate()
	if code := <-ended; code != 128+15 {
		t.Errorf("exit %d", code)
	}
	after, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil || after.Lflag != before.Lflag {
		t.Errorf("the terminal is left with %o, it had %o, %v", after.Lflag, before.Lflag, err)
	}
	io.WriteString(keyboard, "\r") // so that the reader that was left behind ends
}
