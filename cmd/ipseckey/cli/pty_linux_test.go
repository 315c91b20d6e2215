package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/cmd/ipseckey/cli"
)

// openTerminal makes a terminal: what is written to the one end is typed at the other.
func openTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { terminal.Close() })
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 100}); err != nil {
		t.Fatal(err)
	}
	return keyboard, terminal
}

// screen collects what a terminal shows.
type screen struct {
	mu   sync.Mutex
	cond *sync.Cond
	text bytes.Buffer
	end  bool
}

func watch(r io.Reader) *screen {
	s := &screen{}
	s.cond = sync.NewCond(&s.mu)
	go func() { // ends with the terminal
		b := make([]byte, 4096)
		for {
			n, err := r.Read(b)
			s.mu.Lock()
			s.text.Write(b[:n])
			s.end = err != nil
			s.cond.Broadcast()
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return s
}

// expect waits until the terminal has shown a text, and forgets what was shown up to its end.
func (s *screen) expect(t *testing.T, want string) {
	t.Helper()
	late := time.AfterFunc(20*time.Second, func() {
		s.mu.Lock()
		s.end = true
		s.cond.Broadcast()
		s.mu.Unlock()
	})
	defer late.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if i := strings.Index(s.text.String(), want); i >= 0 {
			s.text.Next(i + len(want))
			return
		}
		if s.end {
			t.Fatalf("no %q in %q", want, s.text.String())
		}
		s.cond.Wait()
	}
}

// TestTerminal is a session at a real terminal: completion, an error that marks its word, colours, the history, and the end.
func TestTerminal(t *testing.T) {
	address := serve(t)
	keyboard, terminal := openTerminal(t)
	kept := filepath.Join(t.TempDir(), "history")
	t.Setenv("IPSECKEY_HISTORY", kept)
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	shown := watch(keyboard)
	ended := make(chan int, 1)
	go func() {
		ended <- cli.Run(t.Context(), []string{"--engine", address, "-n"}, terminal, terminal, terminal)
	}()
	enter := func(keys string) { io.WriteString(keyboard, keys) }
	shown.expect(t, "ipseckey> ")
	enter("hel\tad\t\r")
	shown.expect(t, "add\t - Add a new security association (SA)")
	shown.expect(t, "Tab completes them.")
	shown.expect(t, "ipseckey> ")
	enter("add esp spi 0x1000 src 192.0.2.2 dst 192.0.2.1 encr_a\taes-cb\tencrkye " + key + "\r")
	shown.expect(t, "\x1b[31m^^^^^^^ ^^^^")
	shown.expect(t, `encrkye: did you mean "encrkey"?`)
	shown.expect(t, "ipseckey> ")
	enter("add esp spi 0x1000 src 192.0.2.2 dst 192.0.2.1 encr_alg aes \\\r")
	shown.expect(t, "        > ")
	enter("encrkey " + key + "\r")
	shown.expect(t, "ipseckey> ")
	enter("getspi \x03")
	shown.expect(t, "^C\r\n")
	shown.expect(t, "ipseckey> ")
	enter("dump\r")
	shown.expect(t, "\x1b[36mEKY:\x1b[0m "+key)
	shown.expect(t, "Dump succeeded for SA type 0.")
	shown.expect(t, "0x1000  esp   mature")
	shown.expect(t, "ipseckey> ")
	enter("flus\t\r")
	shown.expect(t, "ipseckey> ")
	enter("\x1b[A\x1b[A\r") // dump again
	shown.expect(t, "Dump succeeded for SA type 0.\r\n")
	shown.expect(t, "ipseckey> ")
	enter("\x04")
	if code := <-ended; code != 0 {
		t.Errorf("exit %d", code)
	}
	b, err := os.ReadFile(kept)
	if err != nil || strings.Contains(string(b), key[:8]) || !strings.Contains(string(b), "encrkey XXXX") || !strings.Contains(string(b), "\nflush\n") {
		t.Errorf("history: %v, %q", err, b)
	}
}

// TestTerminated ends at once when it is terminated at the prompt.
func TestTerminated(t *testing.T) {
	address := serve(t)
	keyboard, terminal := openTerminal(t)
	t.Setenv("IPSECKEY_HISTORY", "")
	before, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	shown := watch(keyboard)
	ctx, terminate := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- cli.Run(ctx, []string{"--engine", address}, terminal, terminal, terminal) }()
	shown.expect(t, "ipseckey> ")
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
