package words_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"testing"

	"github.com/pfkeyd/pfkeyd/cmd/internal/words"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"broken": "broken",
		"pfkey: dial: no engine at linux:/x: connect: connection refused": "no engine at linux:/x: connection refused",
		"kernel: kernel: linux: unknown tunable \"x\"":                    "linux: unknown tunable \"x\"",
		"--policy: kernel: x:1: unknown":                                  "--policy: x:1: unknown",
		"--kernel: unknown":                                               "--kernel: unknown",
		"dial unixpacket /run/e.sock.packets: connect: permission denied": "/run/e.sock.packets: permission denied",
		"listen unix /run/e: bind: address already in use":                "/run/e: address already in use",
	} {
		if got := words.Text(errors.New(text)); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	broken := errors.New("pfkey: broken")
	err := &words.Error{Err: fmt.Errorf("x: %w", broken)}
	if err.Error() != "x: broken" || !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

func TestReason(t *testing.T) {
	_, refused := net.Dial("unix", "/nonexistent/x")
	for want, err := range map[string]error{
		"no such file or directory": refused,
		"no answer in time":         fmt.Errorf("x: %w", context.DeadlineExceeded),
		"interrupted":               fmt.Errorf("x: %w", context.Canceled),
		"broken":                    errors.New("control: broken"),
	} {
		if got := words.Reason(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	if !errors.Is(refused, fs.ErrNotExist) {
		t.Error("the test is no test")
	}
}
