package cli_test

import (
	"context"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/cmd/internal/terminaltest"
	"github.com/pfkeyd/pfkeyd/cmd/pfkeyd/cli"
)

// awaitRaw waits until a terminal passes on every key. Before that it may keep a key to itself.
func awaitRaw(t *testing.T, terminal *os.File) {
	t.Helper()
	for range 20_000 {
		mode, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if mode.Lflag&(unix.ICANON|unix.ISIG) == 0 {
			return
		}
		time.Sleep(time.Millisecond) // a terminal tells nobody that its mode has changed
	}
	t.Fatal("nobody waits for a key")
}

// TestDemoTerminal: at a terminal any key goes on, Ctrl-C and a signal end the demo, and the terminal is as it was.
func TestDemoTerminal(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	for _, tt := range []struct {
		name string
		end  func(keyboard io.Writer, signal func())
	}{
		{"Ctrl-C", func(keyboard io.Writer, _ func()) { io.WriteString(keyboard, "\x03") }},
		{"signal", func(_ io.Writer, signal func()) { signal() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tmp := emptyTemp(t)
			keyboard, terminal := terminaltest.Open(t)
			before, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			shown := terminaltest.Watch(keyboard)
			ctx, signal := context.WithCancel(t.Context())
			defer signal()
			ended := make(chan int, 1)
			go func() { ended <- cli.Run(ctx, []string{"demo", "--step"}, terminal, terminal, terminal) }()
			shown.Expect(t, "pfkeyd demo: RFC 2409 Quick Mode on an emulated illumos\r\n")
			for _, key := range []struct{ press, shows string }{
				{"x", "initiator 192.0.2.1, responder 192.0.2.2; ESP packets protected by Linux 6.1,\r\n"},
				{"\x1b[B", "capture esp-aes128cbc-sha1-tra4\r\n"}, // arrow down, three bytes
				{" ", "(a key shows what comes next, Ctrl-C ends)\r\n"},
				{"\r", "1. A packet comes before the keys do\r\n"},
				{"\x04", "initiator  message 1: HASH(1), SA, Ni\r\n"}, // the end of a file is a key, too
			} {
				awaitRaw(t, terminal)
				io.WriteString(keyboard, key.press)
				shown.Expect(t, key.shows)
			}
			awaitRaw(t, terminal)
			tt.end(keyboard, signal)
			if code := <-ended; code != 1 {
				t.Errorf("exit %d", code)
			}
			shown.Expect(t, "pfkeyd: interrupted\r\n")
			after, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
			if err != nil || *after != *before {
				t.Errorf("the terminal is left with %+v, it had %+v, %v", after, before, err)
			}
			checkEmpty(t, tmp)
			io.WriteString(keyboard, "\r") // so that a reader that was left behind ends
		})
	}
}
